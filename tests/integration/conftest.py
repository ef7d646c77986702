"""Stores for the engine's tests: the reference, the embedded one on a real file, and one on a real server."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.engine_harness import LEASE
from windlass.core.model import Settings
from windlass.store.memory import MemoryStore
from windlass.store.port import Store
from windlass.store.redis import RedisStore
from windlass.store.sqlite import SQLiteStore


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
