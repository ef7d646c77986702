"""Stores against the reference, under interleavings and faults: see `windlass.testing.machine`.

``make test`` runs few and always the same histories; ``make soak`` runs many, from a seed that it prints
(``--seed=n`` repeats it). On failure hypothesis prints the shortest history that fails, as a program, and the machine
what was done and answered in it. Finding that history can take minutes: WINDLASS_NO_SHRINK=1 does without.
"""

import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

import windlass.store.memory.cascade
import windlass.store.memory.settle
import windlass.store.postgres.store
import windlass.store.redis.store
import windlass.store.sqlite.edges
import windlass.store.sqlite.settle
from tests.property.killing import kill_at_every_statement
from tests.servers.database import Database
from windlass.core.model import Settings
from windlass.core.redis_url import RedisURL
from windlass.store.memory import MemoryStore
from windlass.store.redis import RedisStore
from windlass.store.sqlite import SQLiteStore
from windlass.testing.duel import MakeStore
from windlass.testing.machine import store_machine

_names = itertools.count()


def always(histories: int) -> settings:
    """The same histories each time, on every machine."""
    return settings(
        max_examples=histories,
        stateful_step_count=50,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate] if os.environ.get("WINDLASS_NO_SHRINK") else [Phase.generate, Phase.shrink],
    )


def soak(histories: int) -> settings:
    """New histories for each seed, and longer ones."""
    return settings(always(histories), stateful_step_count=100, derandomize=False, print_blob=True)


def run(machine: type[RuleBasedStateMachine], profile: settings, from_seed: int = 0) -> None:
    run_state_machine_as_test(seed(from_seed)(machine), settings=profile)


def make_memory(settings: Settings, clock: Callable[[], int]) -> MemoryStore:
    return MemoryStore(f"machine-{next(_names)}", settings, clock)


@pytest.fixture
def make_sqlite() -> Iterator[MakeStore]:
    """SQLite stores, each on a file of its own; in memory where there is such a place, as there are thousands."""
    shared = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="windlass-machine-", dir=shared if shared.is_dir() else None))
    yield lambda settings, clock: SQLiteStore(folder / f"{next(_names)}.db", settings, clock)
    shutil.rmtree(folder)


@pytest.fixture
def make_redis(redis_url: RedisURL) -> MakeStore:
    """Redis stores, each in a namespace of its own."""

    def make(settings: Settings, clock: Callable[[], int]) -> RedisStore:
        url = msgspec.structs.replace(redis_url, namespace=f"{redis_url.namespace}-{next(_names)}")
        return RedisStore(url, settings, clock)

    return make


@pytest.fixture
def make_postgres(postgres_database: Database) -> MakeStore:
    """PostgreSQL stores, one after the other."""
    return postgres_database.store


@pytest.fixture
def one_edge_per_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """One edge per call in place of 256, so that small graphs meet the cursors."""
    for module in (windlass.store.memory.cascade, windlass.store.sqlite.edges):
        monkeypatch.setattr(module.Cascade.__init__, "__defaults__", (1,))
    for module in (windlass.store.memory.settle, windlass.store.sqlite.settle, windlass.store.postgres.store):
        monkeypatch.setattr(module, "MAX_EDGES_PER_CALL", 1)
    monkeypatch.setattr(windlass.store.redis.store, "MAX_EDGES_PER_CALL", 1)


@pytest.mark.timeout(120)
def test_memory_changes_nothing_when_a_call_is_repeated() -> None:
    run(store_machine(make_memory, make_memory), always(80))


@pytest.mark.timeout(120)
@pytest.mark.usefixtures("one_edge_per_call")
def test_memory_is_sound_while_edges_wait_behind_cursors() -> None:
    run(store_machine(make_memory, None, drains=False), always(80))


@pytest.mark.timeout(180)
def test_sqlite_agrees_with_memory(make_sqlite: MakeStore) -> None:
    run(store_machine(make_sqlite, make_memory), always(120))


@pytest.mark.timeout(180)
def test_sqlite_killed_inside_a_verb_has_done_it_or_not(make_sqlite: MakeStore) -> None:
    run(store_machine(make_sqlite, make_memory, interrupt=kill_at_every_statement), always(30))


@pytest.mark.timeout(120)
@pytest.mark.usefixtures("one_edge_per_call")
def test_sqlite_is_sound_while_edges_wait_behind_cursors(make_sqlite: MakeStore) -> None:
    run(store_machine(make_sqlite, None, drains=False), always(80))


@pytest.mark.timeout(180)
def test_redis_agrees_with_memory(make_redis: MakeStore) -> None:
    run(store_machine(make_redis, make_memory), always(100))


@pytest.mark.timeout(180)
def test_postgres_agrees_with_memory(make_postgres: MakeStore) -> None:
    run(store_machine(make_postgres, make_memory), always(40))


@pytest.mark.timeout(120)
@pytest.mark.usefixtures("one_edge_per_call")
def test_redis_is_sound_while_edges_wait_behind_cursors(make_redis: MakeStore) -> None:
    run(store_machine(make_redis, None, drains=False), always(60))


@pytest.mark.timeout(120)
@pytest.mark.usefixtures("one_edge_per_call")
def test_postgres_is_sound_while_edges_wait_behind_cursors(make_postgres: MakeStore) -> None:
    run(store_machine(make_postgres, None, drains=False), always(20))


@pytest.mark.soak
def test_soak_memory(pytestconfig: pytest.Config) -> None:
    run(store_machine(make_memory, make_memory), soak(3_000), pytestconfig.option.seed)


@pytest.mark.soak
def test_soak_sqlite(pytestconfig: pytest.Config, make_sqlite: MakeStore) -> None:
    run(store_machine(make_sqlite, make_memory), soak(1_500), pytestconfig.option.seed)


@pytest.mark.soak
def test_soak_redis(pytestconfig: pytest.Config, make_redis: MakeStore) -> None:
    run(store_machine(make_redis, make_memory), soak(1_500), pytestconfig.option.seed)


@pytest.mark.soak
def test_soak_postgres(pytestconfig: pytest.Config, make_postgres: MakeStore) -> None:
    run(store_machine(make_postgres, make_memory), soak(400), pytestconfig.option.seed)


@pytest.mark.soak
def test_soak_killed(pytestconfig: pytest.Config, make_sqlite: MakeStore) -> None:
    machine = store_machine(make_sqlite, make_memory, interrupt=kill_at_every_statement)
    run(machine, soak(300), pytestconfig.option.seed)


@pytest.mark.soak
@pytest.mark.usefixtures("one_edge_per_call")
@pytest.mark.parametrize("store", ["memory", "sqlite", "redis", "postgres"])
def test_soak_cursors(pytestconfig: pytest.Config, store: str, request: pytest.FixtureRequest) -> None:
    make: MakeStore = make_memory if store == "memory" else request.getfixturevalue(f"make_{store}")
    run(store_machine(make, None, drains=False), soak(1_000), pytestconfig.option.seed)
