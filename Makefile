# Every target makes .venv ready by itself; `make` alone explains them.

SHELL := bash
PY := .venv/bin/python
SEED ?=
MINUTES ?=
PYTEST_ARGS ?=
WORKERS ?= 2

.DEFAULT_GOAL := help
.PHONY: help demo test lint format types layers docs docs-examples mutants bench soak wheel-check lock clean venv venv-runtime servers

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: venv-runtime ## index the standard library with a few workers: the quickest look at Windlass
	@$(PY) examples/stdlib_index/demo.py

test: venv servers ## the whole test suite (PYTEST_ARGS="-k name" for a part, WORKERS=0 for one process)
	@$(PY) -m pytest -n $(WORKERS) --dist worksteal $(PYTEST_ARGS)

lint: venv ## ruff: rules and format, nothing changed
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .

format: venv ## ruff: repair what can be repaired, and format
	@$(PY) -m ruff check --fix .
	@$(PY) -m ruff format .

types: venv ## mypy, strict
	@$(PY) -m mypy

layers: venv ## import-linter: imports point down only
	@.venv/bin/lint-imports --no-logo

docs: venv ## build the documentation site into build/site; a warning is an error
	@$(PY) -m sphinx -q -E -W --keep-going -b html docs build/site

docs-examples: venv ## run every example of the documentation
	@$(PY) -m pytest tests/docs $(PYTEST_ARGS)

mutants: venv servers ## break the code in known ways and see that a test notices (slow)
	@$(PY) scripts/mutants.py

bench: venv ## measure against a hand-driven floor on the same store, in the same run
	@$(PY) -m bench $(BENCH_ARGS)

soak: venv servers ## the long tests; SEED=n repeats a run, MINUTES=n is how long each mix of faults goes on
	@$(PY) -m pytest -m soak --timeout=1800 $(if $(SEED),--seed=$(SEED)) $(if $(MINUTES),--minutes=$(MINUTES)) $(PYTEST_ARGS)

wheel-check: venv ## build the wheel, install it into an empty venv and run one job from there
	@$(PY) scripts/wheel_check.py

lock: venv ## renew requirements-dev.lock (LOCK_ARGS=--keep only adds what is missing)
	@scripts/lock.sh $(LOCK_ARGS)

clean: ## remove .venv, caches and build results
	@rm -rf .venv .bootstrap.lock .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis build dist
	@find . -path ./.git -prune -o -name __pycache__ -type d -exec rm -rf {} +

venv:
	@scripts/bootstrap.sh dev

servers: ## install Redis, PostgreSQL and Prometheus (Debian, Ubuntu) for the tests, and start neither
	@scripts/servers.sh

venv-runtime:
	@scripts/bootstrap.sh runtime
