"""The public door: sorted, complete, and cheap to open."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import windlass

SOURCE = Path(windlass.__file__).read_text()


def names_for_type_checkers() -> list[str]:
    block = next(node for node in ast.parse(SOURCE).body if isinstance(node, ast.If))
    ours = [n for n in block.body if isinstance(n, ast.ImportFrom) and str(n.module).startswith("windlass.")]
    return [alias.name for node in ours for alias in node.names]


def test_all_is_sorted_and_is_what_is_exported() -> None:
    assert windlass.__all__ == sorted(windlass.__all__)
    assert sorted(names_for_type_checkers()) == windlass.__all__
    for name in windlass.__all__:
        assert name in ("RunStatus", "Status", "Trigger") or getattr(windlass, name).__name__ == name
    assert set(windlass.__all__) <= set(dir(windlass))


def test_every_error_is_exported() -> None:
    from windlass.core import errors

    classes = {name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, Exception)}
    assert classes <= set(windlass.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"module 'windlass' has no attribute 'Nothing'"):
        windlass.Nothing  # noqa: B018


@pytest.mark.parametrize("module", ["typing", "asyncio", "msgspec", "sqlite3", "pathlib", "windlass.core"])
def test_import_windlass_loads_next_to_nothing(module: str) -> None:
    code = f"import sys, windlass; assert {module!r} not in sys.modules"
    subprocess.run(
        [sys.executable, "-S", "-c", code], check=True, env={"PYTHONPATH": str(Path(windlass.__file__).parents[1])}
    )


def test_an_app_loads_neither_adapter_nor_worker() -> None:
    code = """
import sys
from windlass import App
App("sqlite:///x.db").task(name="t")(lambda: None)
drivers = {"sqlite3", "redis", "asyncpg"}
costly = {"windlass.engine.worker", "rich", "uvloop", "pydantic", "pathlib", "importlib.metadata"}
loaded = (drivers | costly) & set(sys.modules)
assert not loaded, loaded
"""
    path = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    subprocess.run([sys.executable, "-S", "-c", code], check=True, env=path)  # without what .pth files import
