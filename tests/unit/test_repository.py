"""The repository's own promises: what a newcomer and a release rely on."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_lock_holds_exact_versions_and_no_addresses() -> None:
    lines = (ROOT / "requirements-dev.lock").read_text().splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert pins
    for pin in pins:
        assert re.fullmatch(r"[a-z0-9-]+==[0-9][^ ]*( ; .+)?", pin), f"neither a pin nor a comment: {pin!r}"


def test_the_lock_holds_every_declared_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    declared = [
        *project["project"]["dependencies"],
        *(line for extra in project["project"]["optional-dependencies"].values() for line in extra),
        *(line for group in project["dependency-groups"].values() for line in group),
        *project["build-system"]["requires"],
    ]
    names = {re.match(r"[A-Za-z0-9-]+", line).group().lower() for line in declared}  # type: ignore[union-attr]
    locked = {line.split("==")[0] for line in (ROOT / "requirements-dev.lock").read_text().splitlines()}
    assert names - locked == set(), "run `make lock LOCK_ARGS=--keep`"


def test_every_decision_record_is_in_the_index() -> None:
    folder = ROOT / "docs/decisions"
    records = sorted(path.name for path in folder.glob("[0-9]*.md") if not path.name.startswith("0000"))
    index = (folder / "README.md").read_text()
    assert [name for name in records if f"({name})" not in index] == []


def test_make_help_explains_every_public_target() -> None:
    text = (ROOT / "Makefile").read_text()
    declared = set(re.search(r"^\.PHONY: (.+)$", text, re.MULTILINE).group(1).split())  # type: ignore[union-attr]
    explained = set(re.findall(r"^([a-z-]+):.*## ", text, re.MULTILINE))
    assert declared - explained == {"venv", "venv-runtime"}
    assert explained - declared == set()


def test_every_planted_fault_can_still_be_planted() -> None:
    command = [sys.executable, "scripts/mutants.py", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, f"change what these replace, in scripts/planted_faults.py:\n{done.stdout}{done.stderr}"
