"""`windlass.testing` is a public door of its own: sorted, complete, documented, and cheap to open."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import windlass.testing

ROOT = Path(__file__).parents[2]


def test_all_is_sorted_and_is_what_is_exported() -> None:
    assert windlass.testing.__all__ == sorted(windlass.testing.__all__)
    for name in windlass.testing.__all__:
        assert getattr(windlass.testing, name).__name__ == name
    assert set(windlass.testing.__all__) <= set(dir(windlass.testing))


def test_the_reference_has_every_name_once() -> None:
    page = (ROOT / "docs/reference/testing.md").read_text()
    named = re.findall(r"^\.\. auto(?:class|function|exception):: (\w+)$", page, re.MULTILINE)
    assert sorted(named) == windlass.testing.__all__


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"module 'windlass.testing' has no attribute 'Nothing'"):
        windlass.testing.Nothing  # noqa: B018


@pytest.mark.parametrize("module", ["asyncio", "msgspec", "hypothesis", "pytest", "windlass.app"])
def test_opening_it_loads_next_to_nothing(module: str) -> None:
    code = f"import sys, windlass.testing; assert {module!r} not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("module", ["hypothesis", "pytest"])
@pytest.mark.parametrize("door", ["windlass.testing.harness", "windlass.testing.conformance"])
def test_harness_and_checks_need_no_test_framework(door: str, module: str) -> None:
    code = f"import sys; sys.modules[{module!r}] = None; import {door}"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_machine_says_what_it_needs() -> None:
    code = "import sys; sys.modules['hypothesis'] = None; import windlass.testing.machine"
    ended = subprocess.run([sys.executable, "-c", code], check=False, stderr=subprocess.PIPE, text=True)
    assert "windlass.testing.machine needs hypothesis: pip install windlass[testing]" in ended.stderr
