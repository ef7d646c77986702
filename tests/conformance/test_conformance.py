"""Every store against every check of `windlass.testing.conformance`."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import TypeAlias

import pytest

from tests.conftest import skip_or_fail
from tests.servers.redis import ValkeyServer
from windlass.core.clock import DAY, HOUR, SECOND, Span
from windlass.core.model import Settings
from windlass.core.redis_url import RedisURL
from windlass.store.memory import MemoryStore
from windlass.store.port import Store
from windlass.store.postgres.store import PostgresStore
from windlass.store.redis import RedisStore
from windlass.store.sqlite import SQLiteStore
from windlass.testing.conformance import Check, Env, checks
from windlass.testing.duel import ManualClock

MakeStore: TypeAlias = Callable[[pytest.FixtureRequest, Callable[[], int]], Store]

OTHER_SETTINGS = Settings(lease=18 * SECOND, keep=2 * HOUR, keep_dead=3 * DAY, max_lost=3)

STORES: dict[str, tuple[Store, MakeStore]] = {
    "memory": (MemoryStore(), lambda _, clock: MemoryStore(clock=clock)),
    # No check may count on the defaults, and no store may forget what it was told instead.
    "memory-otherwise": (MemoryStore(), lambda _, clock: MemoryStore(settings=OTHER_SETTINGS, clock=clock)),
    "sqlite": (
        SQLiteStore("nowhere"),
        lambda request, clock: SQLiteStore(request.getfixturevalue("tmp_path") / "store.db", clock=clock),
    ),
    "redis": (
        RedisStore(RedisURL(host="nowhere")),
        lambda request, clock: RedisStore(request.getfixturevalue("redis_url"), clock=clock),
    ),
    "redis-otherwise": (
        RedisStore(RedisURL(host="nowhere")),
        lambda request, clock: RedisStore(request.getfixturevalue("redis_url"), OTHER_SETTINGS, clock),
    ),
    "postgres": (
        PostgresStore("postgresql://nowhere"),
        lambda request, clock: request.getfixturevalue("postgres_database").store(clock=clock),
    ),
}
if shutil.which(ValkeyServer.program):
    STORES["valkey"] = (
        RedisStore(RedisURL(host="nowhere")),
        lambda request, clock: RedisStore(request.getfixturevalue("valkey_url"), clock=clock),
    )
"""One of each, to be asked for its capabilities, and what makes one that is empty."""


CASES = [
    pytest.param(make, check, id=f"{name}-{check.name}")
    for name, (example, make) in STORES.items()
    for check in checks()
    if check.needs in example.capabilities
]


@pytest.mark.parametrize(("make", "check"), CASES)
async def test_store_keeps_its_contract(make: MakeStore, check: Check, request: pytest.FixtureRequest) -> None:
    clock = ManualClock()
    store = make(request, clock)

    async def move_clock(by: Span) -> None:
        clock.move(by)

    env = Env(store, move_clock)
    try:
        await check.run(env)
    finally:
        await env.close()


def test_valkey_is_among_them() -> None:
    """One line for all its cases, where it is missing; and a failure only where it could have been installed."""
    if "valkey" in STORES:
        return
    reason = "valkey-server is not installed"
    if ValkeyServer.is_to_be_had():
        skip_or_fail(f"{reason} (apt-get install valkey-server; scripts/servers.sh does it)")
    pytest.skip(f"{reason}, and this distribution has no such package")
