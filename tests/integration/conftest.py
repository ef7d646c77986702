"""Stores for the engine's tests: the reference, and the embedded one on a real file."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.engine_harness import LEASE
from windlass.core.model import Settings
from windlass.store.memory import MemoryStore
from windlass.store.port import Store
from windlass.store.sqlite import SQLiteStore


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """A store with a lease of one second."""
    settings = Settings(lease=LEASE)
    memory = request.param == "memory"
    made: Store = MemoryStore("", settings) if memory else SQLiteStore(tmp_path / "w.db", settings)
    await made.connect()
    yield made
    await made.aclose()
