"""Whom a PostgreSQL store tells of a job: of many that are idle as few as there are jobs, and one more."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import asyncpg
import psycopg
import pytest

from tests.integration.engine_harness import (
    LEASE,
    Running,
    Switch,
    enqueue,
    eventually,
    new_job,
    new_session,
    running,
    spec,
)
from tests.servers.database import Database, migrated
from tests.servers.postgres import PostgresServer
from windlass.core.clock import SECOND
from windlass.core.lifecycle import Outcome
from windlass.core.model import ClaimRequest, Lane, Parent, Settings, Settlement, Unique
from windlass.core.records import Limit, LimitScope, Rate
from windlass.core.requirements import Offer
from windlass.core.task import TaskSpec
from windlass.engine import worker as worker_module
from windlass.store.postgres import link
from windlass.store.postgres.store import PostgresStore
from windlass.store.postgres.wake import Listener

ANYBODY = "default"
"""A hint that names nobody."""


@pytest.fixture(scope="module")
def database() -> Iterator[Database]:
    with migrated(PostgresServer(fsync="off", synchronous_commit="off", max_connections="300")) as made:
        yield made


@pytest.fixture
async def store(database: Database, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[PostgresStore]:
    """A store on which nobody polls."""
    monkeypatch.setattr(worker_module, "POLL", 3600.0)
    made = database.store(Settings(lease=LEASE))
    await made.connect()
    yield made
    await made.aclose()


@pytest.fixture
async def admin(store: PostgresStore, database: Database) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(database.url)
    yield connection
    await connection.close()


class Hints:
    """What the server says of jobs that are ready."""

    def __init__(self) -> None:
        self.said: asyncio.Queue[str] = asyncio.Queue()

    def hear(self, _connection: object, _pid: int, _channel: str, said: object) -> None:
        self.said.put_nowait(str(said))

    async def next(self) -> str:
        async with asyncio.timeout(10):
            return await self.said.get()


@pytest.fixture
async def hints(admin: Any) -> Hints:
    made = Hints()
    await admin.add_listener("windlass/windlass/ready", made.hear)
    return made


class Ends:
    """A task that tells when it runs."""

    def __init__(self) -> None:
        self._ends: asyncio.Queue[None] = asyncio.Queue()

        @spec
        async def tell() -> None:
            self._ends.put_nowait(None)

        self.task: TaskSpec = tell

    async def reach(self, count: int = 1) -> None:
        async with asyncio.timeout(10):
            for _ in range(count):
                await self._ends.get()


@pytest.fixture
def ends() -> Ends:
    return Ends()


async def idle_worker(stack: AsyncExitStack, store: Any, *tasks: TaskSpec, **config: Any) -> Running:
    worker = await stack.enter_async_context(running(store, *tasks, **config))
    await worker.signals.wait_for("idle")
    return worker


class Waiting:
    """A session that has a connection for hints, and looks when it is told to by the test."""

    def __init__(self, store: PostgresStore) -> None:
        self.store = store.twin()
        self.session = new_session()
        self.woken = asyncio.Event()
        self._number = 0

    async def open(self) -> None:
        await self.store.connect()
        await self.store.open(self.session)
        self.subscription = self.store.subscribe(["ready/default"], self.woken.set)

    async def look(self, *lanes: Lane) -> list[bytes]:
        self._number += 1
        request = ClaimRequest(self._number, lanes or (Lane("default", "", 1),))
        return [job.id for job in (await self.store.claim(self.session.id, request)).jobs]

    @property
    def name(self) -> str:
        """As it stands in hints."""
        listener = self.store._link.listener
        assert listener is not None
        return f"{listener._key:x}"


@pytest.fixture
async def crowd(store: PostgresStore) -> AsyncIterator[list[Waiting]]:
    """Five sessions that have found nothing."""
    waiting = [Waiting(store) for _ in range(5)]
    for one in waiting:
        await one.open()
    for one in waiting:
        assert await one.look() == []
    yield waiting
    for one in waiting:
        await one.store.aclose()


async def standing(admin: Any) -> int:
    return int(await admin.fetchval("SELECT count(*) FROM windlass.idle"))


# ------------------------------------------------------------------------------------------------ workers


async def test_a_job_wakes_two_of_many(store: PostgresStore, ends: Ends) -> None:
    calls = Switch(store)
    async with AsyncExitStack() as stack:
        workers = [await idle_worker(stack, calls, ends.task) for _ in range(20)]
        for worker in workers[:3]:  # who came before there was a crowd looks again: here nobody polls
            worker.worker._claimer.hint()
            await worker.signals.wait_for("idle", 2)
        for jobs in (1, 3):
            before = len(calls.named("claim"))
            await enqueue(store, *(new_job("tell") for _ in range(jobs)))
            await ends.reach(jobs)
            await asyncio.sleep(0.2)  # whoever else was told has looked by now
            looks = len(calls.named("claim")) - before
            # Each that was told looks; who found something looks once more, and so does who found another in between.
            assert jobs <= looks <= 3 * (jobs + 1)


async def test_a_job_that_needs_something_wakes_who_has_it(store: PostgresStore, ends: Ends) -> None:
    """Were idle workers told by queue alone, two of those that cannot run it might be."""
    needy = replace(ends.task, requires="gpu=1")
    async with AsyncExitStack() as stack:
        for _ in range(6):
            await idle_worker(stack, store, ends.task)
        worker = await idle_worker(stack, store, needy, offer=Offer.of({"gpu": 1}))
        for _ in range(10):
            await enqueue(store, new_job("tell", requires="gpu=1"))
            await ends.reach()
            await worker.signals.wait_for("idle")


async def test_who_is_full_is_told_of_nothing(store: PostgresStore, ends: Ends) -> None:
    """A hint that nobody can follow is a job that waits."""
    held: asyncio.Queue[None] = asyncio.Queue()
    let_go = asyncio.Event()

    @spec
    async def hold() -> None:
        held.put_nowait(None)
        await let_go.wait()

    async with AsyncExitStack() as stack:
        for _ in range(6):
            await idle_worker(stack, store, hold, ends.task, concurrency=1)
        for _ in range(5):
            await enqueue(store, new_job("hold"))
            async with asyncio.timeout(10):
                await held.get()
        for _ in range(10):
            await enqueue(store, new_job("tell"))
            await ends.reach()
        let_go.set()


async def test_a_worker_of_the_layout_before_is_woken_too(
    store: PostgresStore, ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stands nowhere, and knows nothing of names behind the queue's."""

    class Older(Listener):
        def hears(self, queues: object) -> None:
            return None

        def _hear(self, _connection: object, _pid: int, channel: str, said: object) -> None:
            kind = channel.rpartition("/")[2]
            if kind == "ready":
                for name in str(said).split(" "):
                    for one in list(self._channels.get(f"ready/{name}", ())):
                        if one.armed:
                            one.wake()
            else:
                super()._hear(_connection, _pid, channel, said)

    async with AsyncExitStack() as stack:
        idlers = [Waiting(store) for _ in range(5)]
        for one in idlers:
            await one.open()
            await one.look()
            stack.push_async_callback(one.store.aclose)
        monkeypatch.setattr(link, "Listener", Older)
        worker = await idle_worker(stack, store.twin(), ends.task)
        for _ in range(2):  # while two of five are named who never take it
            await enqueue(store, new_job("tell"))
            await ends.reach()
            await worker.signals.wait_for("idle")


async def test_a_place_that_becomes_free_is_told(store: PostgresStore) -> None:
    """Who found nothing because of a limit stands there, and nobody stores a job when it ends."""
    held: asyncio.Queue[asyncio.Event] = asyncio.Queue()

    @spec
    async def hold() -> None:
        let_go = asyncio.Event()
        held.put_nowait(let_go)
        await let_go.wait()

    await store.put_limit(Limit(scope=LimitScope.TASK, name="hold", concurrency=1))
    async with AsyncExitStack() as stack:
        for _ in range(6):
            await idle_worker(stack, store, hold, concurrency=1)
        await enqueue(store, *(new_job("hold") for _ in range(4)))
        for _ in range(4):
            async with asyncio.timeout(10):
                (await held.get()).set()


async def test_what_a_rate_allows_again_is_found(store: PostgresStore, ends: Ends) -> None:
    """By who looked in vain, though nobody tells it; the others are not needed."""
    await store.put_limit(Limit(scope=LimitScope.TASK, name="tell", rate=Rate(count=1, per=SECOND // 5, burst=1)))
    async with AsyncExitStack() as stack:
        for _ in range(6):
            await idle_worker(stack, store, ends.task)
        await enqueue(store, *(new_job("tell") for _ in range(3)))
        await ends.reach(3)


async def test_the_end_of_a_pause_is_told(store: PostgresStore, ends: Ends) -> None:
    async with AsyncExitStack() as stack:
        for _ in range(6):
            await idle_worker(stack, store, ends.task)
        await store.pause(LimitScope.QUEUE, "default", paused=True)
        await enqueue(store, *(new_job("tell") for _ in range(3)))
        await store.pause(LimitScope.QUEUE, "default", paused=False)
        await ends.reach(3)


# ------------------------------------------------------------------------------------------------ sessions


async def test_who_is_named_is_woken_and_others_are_not(
    store: PostgresStore, crowd: list[Waiting], hints: Hints, admin: Any
) -> None:
    await enqueue(store, new_job("tell"))
    queue, *named = (await hints.next()).split(" #")
    assert queue == "default"
    assert len(set(named)) == 2
    assert set(named) < {one.name for one in crowd}
    later = [asyncio.Event() for _ in crowd]
    for one, event in zip(crowd, later, strict=True):
        one.store.subscribe(["limits"], event.set)
    await admin.execute('NOTIFY "windlass/windlass/limits"')
    async with asyncio.timeout(10):
        for event in later:
            await event.wait()
    assert {one.name for one in crowd if one.woken.is_set()} == set(named)


async def test_a_hint_is_used_up(store: PostgresStore, crowd: list[Waiting], hints: Hints, admin: Any) -> None:
    """Who was told and does not come is not told again; where too few are left, all are."""
    told: list[str] = []
    for _ in range(2):
        await enqueue(store, new_job("tell"))
        told += (await hints.next()).split(" #")[1:]
    assert len(set(told)) == 4
    assert await standing(admin) == 1
    await enqueue(store, new_job("tell"))
    assert await hints.next() == ANYBODY


async def test_a_connection_that_was_killed_swallows_no_hint(
    store: PostgresStore, crowd: list[Waiting], hints: Hints, admin: Any
) -> None:
    """Three of five; whoever else is named can come."""
    for one in crowd[:3]:
        await _kill(one, admin)
    await enqueue(store, new_job("tell"))
    assert set((await hints.next()).split(" #")[1:]) == {one.name for one in crowd[3:]}


async def test_who_has_a_new_connection_is_told_by_it(
    store: PostgresStore, crowd: list[Waiting], hints: Hints, admin: Any
) -> None:
    """Whoever was cut off is woken when it hears again, and what it left behind goes when it has looked."""
    await _kill(crowd[0], admin)
    async with asyncio.timeout(10):
        await crowd[0].woken.wait()
    await crowd[0].look()
    assert await standing(admin) == 5
    await enqueue(store, *(new_job("tell") for _ in range(4)))
    assert set((await hints.next()).split(" #")[1:]) == {one.name for one in crowd}


async def _kill(one: Waiting, admin: Any) -> None:
    """Its connection for hints, which it opens anew."""
    listener = one.store._link.listener
    assert listener is not None
    assert listener._connection is not None
    pid = listener._connection.get_server_pid()
    await admin.execute("SELECT pg_terminate_backend($1)", pid)
    await eventually(lambda: _is_gone(admin, pid))


async def _is_gone(admin: Any, pid: int) -> bool:
    return not await admin.fetchval("SELECT count(*) FROM pg_stat_activity WHERE pid = $1", pid)


async def test_who_closes_its_session_waits_for_nothing(store: PostgresStore, crowd: list[Waiting], admin: Any) -> None:
    assert await standing(admin) == 5
    await crowd[0].store.close(crowd[0].session.id)
    assert await standing(admin) == 4


async def test_who_is_reaped_waits_for_nothing(database: Database, admin: Any) -> None:
    now = 1_800_000_000_000_000
    store = PostgresStore(database.url, Settings(lease=LEASE), lambda: now)
    crowd = [Waiting(store) for _ in range(4)]
    for one in crowd:
        await one.open()
    for one in crowd:
        await one.look()
    assert await standing(admin) == 4
    now += 2 * LEASE
    await store.reap(await store.observe())
    assert await standing(admin) == 0
    for one in crowd:
        await one.store.aclose()
    await store.aclose()


async def test_who_takes_a_job_or_asks_elsewhere_stands_there_no_more(
    store: PostgresStore, crowd: list[Waiting], admin: Any
) -> None:
    lanes = "SELECT count(*) FROM windlass.idle WHERE session = $1"
    one = crowd[0]
    await one.look(Lane("default", "", 1), Lane("default", "gpu=1", 1))
    assert await admin.fetchval(lanes, one.session.id.hex()) == 2
    await one.look(Lane("default", "gpu=1", 1))
    assert await admin.fetchval(lanes, one.session.id.hex()) == 1
    await enqueue(store, new_job("tell", requires="gpu=1"))
    assert len(await one.look(Lane("default", "gpu=1", 1))) == 1
    assert await admin.fetchval(lanes, one.session.id.hex()) == 0


async def test_who_does_without_hints_stands_nowhere(crowd: list[Waiting], admin: Any) -> None:
    crowd[0].subscription.disarm()
    await crowd[0].look()
    assert await standing(admin) == 4


async def test_three_are_no_crowd(store: PostgresStore, admin: Any, hints: Hints) -> None:
    few = [Waiting(store) for _ in range(3)]
    for one in few:
        await one.open()
    for one in few:
        await one.look()
    assert await standing(admin) == 0
    await enqueue(store, new_job("tell"))
    assert await hints.next() == ANYBODY
    for one in few:
        await one.store.aclose()


# ------------------------------------------------------------------------------------------------ who tells


@pytest.mark.parametrize("jobs", [1, 4])
async def test_jobs_that_are_stored_one_by_one_are_told_together(
    store: PostgresStore, crowd: list[Waiting], hints: Hints, jobs: int
) -> None:
    await enqueue(store, *(new_job("tell", unique=Unique(f"{number}")) for number in range(jobs)))
    assert len((await hints.next()).split(" #")) == 1 + jobs + 1


async def test_more_than_there_are_idle_are_told_to_all(
    store: PostgresStore, crowd: list[Waiting], hints: Hints
) -> None:
    await enqueue(store, *(new_job("tell") for _ in range(5)))
    assert await hints.next() == ANYBODY


async def test_jobs_beyond_the_first_hundred_in_a_second_are_told_to_few_as_well(
    store: PostgresStore, crowd: list[Waiting], hints: Hints
) -> None:
    while store._link.ready.may_go_along():
        pass
    await enqueue(store, new_job("tell"))
    assert len((await hints.next()).split(" #")) == 3


async def test_what_a_parent_or_a_release_makes_ready_is_told_to_few(
    store: PostgresStore, crowd: list[Waiting], hints: Hints
) -> None:
    (parent,) = await enqueue(store, new_job("tell"))
    assert len((await hints.next()).split(" #")) == 3
    await enqueue(store, new_job("tell", parents=(Parent(parent),)))
    await hints.next()  # of the parent, which was locked for a moment
    (job,) = (await crowd[0].store.claim(crowd[0].session.id, ClaimRequest(2, (Lane("default", "", 1),)))).jobs
    for one in crowd[1:]:
        await one.look()
    await store.settle(crowd[0].session.id, [Settlement(job.id, job.token, Outcome.SUCCEEDED, b"1")])
    assert len((await hints.next()).split(" #")) == 3


async def test_a_stranger_tells_everybody_and_holds_nobody(
    store: PostgresStore, crowd: list[Waiting], hints: Hints, admin: Any, database: Database
) -> None:
    async with await psycopg.AsyncConnection.connect(database.url) as stranger:
        await stranger.execute("SELECT windlass.enqueue('tell')")
        # None of the rows is locked: who comes meanwhile has the choice of all.
        assert len(await admin.fetch("SELECT FROM windlass.idle FOR UPDATE SKIP LOCKED")) == 5
        await enqueue(store, new_job("tell"))
        assert len((await hints.next()).split(" #")) == 3
        await stranger.commit()
        assert await hints.next() == ANYBODY
        await store.enqueue_in(stranger, [new_job("tell")])
        await stranger.commit()
        assert await hints.next() == ANYBODY


async def test_a_rollback_leaves_nothing(crowd: list[Waiting], hints: Hints, admin: Any) -> None:
    transaction = admin.transaction()
    await transaction.start()
    await admin.execute("SET LOCAL search_path = windlass")
    await admin.execute("SELECT tell_lane(lane, 'default', 2) FROM idle LIMIT 1")
    assert await standing(admin) == 2
    await transaction.rollback()
    assert await standing(admin) == 5
    await admin.execute("NOTIFY \"windlass/windlass/ready\", 'after'")
    assert await hints.next() == "after"


async def test_who_is_told_by_one_is_not_waited_for_by_another(
    store: PostgresStore, crowd: list[Waiting], hints: Hints, admin: Any
) -> None:
    """Not by who tells, nor by who looks."""
    async with admin.transaction():
        await admin.execute("SET LOCAL search_path = windlass")
        await admin.execute("SELECT tell_lane(lane, 'default', 2) FROM idle LIMIT 1")
        await enqueue(store, new_job("tell"))
        for one in crowd:
            await one.look()


async def test_where_nobody_sweeps_all_are_told(
    store: PostgresStore, crowd: list[Waiting], hints: Hints, admin: Any
) -> None:
    await admin.execute("INSERT INTO windlass.idle SELECT 1, 1, gen_random_uuid(), 1 FROM generate_series(1, 60000)")
    await enqueue(store, new_job("tell"))
    assert await hints.next() == ANYBODY


async def test_who_subscribed_before_the_connection_listened_looks_again(store: PostgresStore) -> None:
    """What was said in between was said to nobody."""
    twin = store.twin()
    woken = asyncio.Event()
    try:
        twin.subscribe(["limits"], woken.set)  # nothing has connected yet
        async with asyncio.timeout(10):
            await woken.wait()
    finally:
        await twin.aclose()
