"""Every store against every check of `windlass.testing.conformance`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from windlass.core.clock import DAY, HOUR, SECOND, Span
from windlass.core.model import Settings
from windlass.store.memory import MemoryStore
from windlass.store.port import Store
from windlass.store.sqlite import SQLiteStore
from windlass.testing.conformance import Check, Env, checks
from windlass.testing.duel import ManualClock

MakeStore = Callable[[Path, Callable[[], int]], Store]

OTHER_SETTINGS = Settings(lease=18 * SECOND, keep=2 * HOUR, keep_dead=3 * DAY, max_lost=3)

STORES: dict[str, MakeStore] = {
    "memory": lambda _folder, clock: MemoryStore(clock=clock),
    # No check may count on the defaults, and no store may forget what it was told instead.
    "memory-otherwise": lambda _folder, clock: MemoryStore(settings=OTHER_SETTINGS, clock=clock),
    "sqlite": lambda folder, clock: SQLiteStore(folder / "store.db", clock=clock),
}


CASES = [
    pytest.param(make, check, id=f"{name}-{check.name}")
    for name, make in STORES.items()
    for check in checks()
    if check.needs in make(Path("nowhere"), ManualClock()).capabilities
]


@pytest.mark.parametrize(("make", "check"), CASES)
async def test_store_keeps_its_contract(make: MakeStore, check: Check, tmp_path: Path) -> None:
    clock = ManualClock()
    store = make(tmp_path, clock)

    async def move_clock(by: Span) -> None:
        clock.move(by)

    env = Env(store, move_clock)
    try:
        await check.run(env)
    finally:
        await env.close()
