"""Stores for the engine's tests: the reference, the embedded one on a real file, and one on a real server. A browser
for those of the site."""

import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import skip_or_fail
from tests.integration.engine_harness import LEASE
from windlass.core.model import Settings
from windlass.store.memory import MemoryStore
from windlass.store.port import Store
from windlass.store.redis import RedisStore
from windlass.store.sqlite import SQLiteStore

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(params=["memory", "sqlite", "redis"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """A store with a lease of one second."""
    settings = Settings(lease=LEASE)
    made: Store
    if request.param == "memory":
        made = MemoryStore("", settings)
    elif request.param == "sqlite":
        made = SQLiteStore(tmp_path / "w.db", settings)
    else:
        made = RedisStore(request.getfixturevalue("redis_url"), settings)
    await made.connect()
    yield made
    await made.aclose()


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    """The system's Chromium, without a window."""
    from playwright.sync_api import sync_playwright

    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        skip_or_fail("there is no chromium here")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield opened
        opened.close()
