"""The pytest plugin: fixtures. Every pytest session loads it, and it imports nothing until one of them is used."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from windlass.app import App
    from windlass.testing.harness import Harness

_HOW = """say which app to test, in one of two ways:

  in pyproject.toml     [tool.pytest.ini_options]
                        windlass_app = "shop.tasks:app"

  in conftest.py        @pytest.fixture
                        def windlass_app():
                            return app"""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini("windlass_app", "the Windlass app under test, as module:attribute")


@pytest.fixture
def windlass_app(pytestconfig: pytest.Config) -> App:
    """The Windlass app under test: as the ini-file says (``windlass_app = "shop.tasks:app"``), or your own fixture."""
    from windlass.app import App

    place = pytestconfig.getini("windlass_app")
    if not place:
        pytest.fail(f"windlass_app: {_HOW}", pytrace=False)
    said = f"windlass_app = {place!r}"
    module, _, attribute = place.partition(":")
    if not module or not attribute:
        pytest.fail(f"{said}: expected module:attribute, such as shop.tasks:app", pytrace=False)
    try:
        found = resolve_name(place)
    except (ImportError, AttributeError, ValueError) as error:
        pytest.fail(f"{said}: {type(error).__name__}: {error}", pytrace=False)
    if not isinstance(found, App):
        pytest.fail(f"{said}: it is of type {type(found).__name__}, not an App", pytrace=False)
    return found


@pytest.fixture
def windlass_harness(windlass_app: App) -> Iterator[Harness]:
    """A `windlass.testing.Harness` of the app: in this test its jobs are in memory, and run when the test says so."""
    from windlass.app import App
    from windlass.testing.harness import Harness

    if not isinstance(windlass_app, App):
        gave = f"the fixture windlass_app gave an object of type {type(windlass_app).__name__}"
        pytest.fail(f"{gave}, not an App; {_HOW}", pytrace=False)
    with Harness(windlass_app) as harness:
        yield harness


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, None]:
    """Show the jobs of a test that failed."""
    outcome = yield
    harness = getattr(item, "funcargs", {}).get("windlass_harness")
    if harness is not None:
        report = outcome.get_result()
        if report.when == "call" and report.failed:
            report.sections.append(("Windlass jobs", harness.describe()))
