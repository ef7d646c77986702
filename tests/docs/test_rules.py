"""The pages that name tests name tests that exist."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = ["docs/reference/rules.md", "docs/explanation/threats.md"]


def _named(page: str) -> list[tuple[str, str]]:
    return re.findall(r"`((?:tests|src)/[\w/]+\.py)::(\w+)`", (ROOT / page).read_text())


def _defined(path: str) -> set[str]:
    if not (ROOT / path).exists():
        return set()
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in ast.walk(ast.parse((ROOT / path).read_text())) if isinstance(node, functions)}


@pytest.mark.parametrize("page", PAGES)
def test_every_named_test_exists(page: str) -> None:
    defined = {path: _defined(path) for path, _ in _named(page)}
    assert defined
    assert [f"{path}::{name}" for path, name in _named(page) if name not in defined[path]] == []


@pytest.mark.parametrize("page", PAGES)
def test_every_row_names_a_test(page: str) -> None:
    rows = re.findall(r"^\| (?!-)(.+) \|$", (ROOT / page).read_text(), re.MULTILINE)
    heads = ("the attempt", "rule")
    assert [row for row in rows if "::" not in row and not row.startswith(heads)] == []
