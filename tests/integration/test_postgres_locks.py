"""In which order calls lock what they share: nobody waits in a circle, and nobody's end is overlooked."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from tests.servers.database import Database
from windlass.core.graph import EdgePolicy
from windlass.core.ids import new_id
from windlass.core.lifecycle import Outcome, State
from windlass.core.model import ClaimRequest, Edge, Lane, NewJob, Parent, Session, Settled, Settlement, SettleResult
from windlass.store.postgres import pool
from windlass.store.postgres.store import PostgresStore

Verb = Callable[["Bench", bytes, bytes, bytes], Awaitable[object]]
"""Something that wants a job that waits, another one, and the one that runs for which the first waits."""


class Bench:
    """Store objects with connections of their own, and somebody who locks rows by hand."""

    def __init__(self, url: str, admin: Any, watcher: Any) -> None:
        self.stores = [PostgresStore(url) for _ in range(3)]
        self.store, self.other, self.third = self.stores
        self.admin = admin
        self._watcher = watcher
        self._held: dict[bytes, tuple[bytes, int]] = {}

    async def put(self, *parents: bytes, id: bytes | None = None, **more: Any) -> bytes:
        job = NewJob(id=id or new_id(), task="t", payload=b"{}", parents=tuple(map(Parent, parents)), **more)
        await self.store.enqueue([job], first_sent=await self.store.now())
        return job.id

    async def claim_all(self) -> None:
        """Claim, in a session of its own."""
        session = Session(id=new_id(), node="n", pid=1)
        await self.store.open(session)
        answer = await self.store.claim(session.id, ClaimRequest(1, (Lane("default"),)))
        self._held |= {job.id: (session.id, job.token) for job in answer.jobs}

    async def settle(self, store: PostgresStore, outcome: Outcome, *ids: bytes) -> SettleResult:
        """End jobs that were claimed together."""
        return await store.settle(self._held[ids[0]][0], [Settlement(one, self._held[one][1], outcome) for one in ids])

    async def state(self, job: bytes) -> State:
        (record,) = await self.store.get_jobs([job])
        assert record is not None
        return record.state

    async def purge_at(self, job: bytes) -> int | None:
        (record,) = await self.store.get_jobs([job])
        assert record is not None
        return record.purge_at

    async def drain(self) -> None:
        while (await self.store.release_edges()).more:
            pass

    @asynccontextmanager
    async def locked(self, job: bytes) -> AsyncIterator[None]:
        async with self.admin.transaction():
            # A new version of the row, then its lock: as a claim, and the end of what it took, do.
            await self.admin.execute("UPDATE windlass.jobs SET linked = linked WHERE id = $1", UUID(bytes=job))
            await self.admin.execute("SELECT FROM windlass.jobs WHERE id = $1 FOR UPDATE", UUID(bytes=job))
            yield

    async def waiting(self, calls: int, event: str = "%") -> None:
        """Return when so many calls wait for a lock."""
        end = time.monotonic() + 20
        while True:
            found = await self._watcher.fetchval(
                "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND wait_event LIKE $1", event
            )
            if found == calls:
                return
            assert time.monotonic() < end, f"waited in vain for {calls} calls that wait for a lock: {found} do"
            await asyncio.sleep(0.01)

    @asynccontextmanager
    async def stopped_at_commit(self, table: str) -> AsyncIterator[None]:
        """Whoever stores a row in a table commits only when the block has ended."""
        await self.admin.execute(f"""
            CREATE FUNCTION public.stop() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                PERFORM pg_advisory_xact_lock_shared(4711);
                RETURN NULL;
            END $$;
            CREATE CONSTRAINT TRIGGER stop AFTER INSERT ON windlass.{table} DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW EXECUTE FUNCTION public.stop();
        """)
        try:
            await self._watcher.execute("SELECT pg_advisory_lock(4711)")
            try:
                yield
            finally:
                await self._watcher.execute("SELECT pg_advisory_unlock(4711)")
        finally:
            await self.admin.execute("DROP FUNCTION public.stop CASCADE")


@pytest.fixture
async def bench(postgres_database: Database) -> AsyncIterator[Bench]:
    await asyncio.to_thread(postgres_database.store)  # empty
    url = postgres_database.url
    admin, watcher = await asyncpg.connect(url), await asyncpg.connect(url)
    bench = Bench(url, admin, watcher)
    yield bench
    for store in bench.stores:
        await store.aclose()
    await admin.close()
    await watcher.close()


@pytest.fixture
def repeated(monkeypatch: pytest.MonkeyPatch) -> list[BaseException]:
    """What calls ended with that would be done again otherwise: the server found a circle."""
    found: list[BaseException] = []
    monkeypatch.setattr(pool, "may_be_repeated", found.append)
    return found


# ------------------------------------------------------------------------------------------------------ rows


async def _store(bench: Bench, *parents: bytes) -> None:
    job = NewJob(id=new_id(), task="t", payload=b"{}", parents=tuple(Parent(one, EdgePolicy.DONE) for one in parents))
    await bench.other.enqueue([job], first_sent=await bench.third.now())


async def _store_after(bench: Bench, *wanted: bytes) -> None:
    await _store(bench, *wanted)


async def _store_after_a_finished_one_too(bench: Bench, *wanted: bytes) -> None:
    """One by one, therefore."""
    finished = await bench.put(queue="other")
    await bench.third.cancel([finished])
    await _store(bench, finished, *wanted)


async def _add_edges(bench: Bench, child: bytes, gate: bytes, parent: bytes) -> None:
    await bench.other.enqueue([], [Edge(parent, child), Edge(parent, gate)], first_sent=await bench.third.now())


async def _cancel(bench: Bench, *wanted: bytes) -> None:
    await bench.other.cancel(wanted)


@pytest.mark.parametrize("verb", [_store_after, _store_after_a_finished_one_too, _add_edges, _cancel])
async def test_who_ends_a_job_does_not_wait_for_who_waits_for_another(
    bench: Bench, repeated: list[BaseException], verb: Verb
) -> None:
    child, gate, parent = sorted(new_id() for _ in range(3))
    await bench.put(id=parent)
    await bench.put(parent, id=child)
    await bench.claim_all()
    await bench.put(await bench.put(queue="other"), id=gate)
    async with bench.locked(gate):
        wanting = asyncio.create_task(verb(bench, child, gate, parent))
        await bench.waiting(1)
        async with asyncio.timeout(5):
            await bench.settle(bench.store, Outcome.DEAD, parent)
    await wanting
    await bench.drain()
    assert repeated == []
    assert await bench.state(child) is State.CANCELLED


async def test_a_repeated_settlement_waits_for_the_first(bench: Bench, repeated: list[BaseException]) -> None:
    ids = sorted([await bench.put() for _ in range(3)])
    await bench.claim_all()
    async with bench.locked(ids[1]):
        first = asyncio.create_task(bench.settle(bench.store, Outcome.SUCCEEDED, *ids))
        await bench.waiting(1)
        again = asyncio.create_task(bench.settle(bench.other, Outcome.SUCCEEDED, *reversed(ids)))
        await bench.waiting(2)
    assert (await first).answers == [Settled.APPLIED] * 3
    assert (await again).answers == [Settled.ALREADY] * 3
    assert repeated == []


async def test_two_who_end_jobs_with_common_dependants_wait_in_no_circle(
    bench: Bench, repeated: list[BaseException]
) -> None:
    """What one cancels on the way is a dependant of what the other ended."""
    one, two, three, four = [await bench.put() for _ in range(4)]
    await bench.claim_all()
    first, gate = await bench.put(four), await bench.put(two)
    last = await bench.put(one, first)
    await bench.store.enqueue([], [Edge(three, first)], first_sent=await bench.store.now())
    async with bench.locked(gate):
        settling = asyncio.create_task(bench.settle(bench.store, Outcome.DEAD, one, two, three))
        await bench.waiting(1)
        beside = asyncio.create_task(bench.settle(bench.other, Outcome.DEAD, four))
        await bench.waiting(2)
    await settling
    await beside
    await bench.drain()
    assert repeated == []
    assert {await bench.state(job) for job in (first, gate, last)} == {State.CANCELLED}


async def test_what_follows_a_cancelled_dependant_is_left_to_the_cursor_while_another_has_it(bench: Bench) -> None:
    parent = await bench.put()
    child = await bench.put(parent)
    grandchild = await bench.put(child)
    await bench.claim_all()
    async with bench.locked(grandchild), asyncio.timeout(5):
        result = await bench.settle(bench.store, Outcome.DEAD, parent)
        assert result.more_edges
        assert await bench.state(child) is State.CANCELLED
    assert await bench.state(grandchild) is State.WAITING
    await bench.drain()
    assert await bench.state(grandchild) is State.CANCELLED
    assert await bench.purge_at(grandchild) is not None


# ------------------------------------------------------------------------------------------------------ limits


async def test_who_waits_for_a_row_does_not_hold_the_lock_of_limits(bench: Bench) -> None:
    parent = await bench.put(limit_key="a")
    child = await bench.put(parent, limit_key="a")
    await bench.claim_all()
    async with bench.locked(child):
        settling = asyncio.create_task(bench.settle(bench.store, Outcome.SUCCEEDED, parent))
        await bench.waiting(1)
        async with asyncio.timeout(5):
            await bench.other.enqueue(
                [NewJob(id=new_id(), task="t", payload=b"{}", limit_key="b")], first_sent=await bench.third.now()
            )
    await settling
    await bench.claim_all()
    assert await bench.state(child) is State.RUNNING


async def test_a_claim_that_comes_with_settlements_finds_the_lines_as_they_leave_them(bench: Bench) -> None:
    """The line of a key that was at its limit, too."""
    session = Session(id=new_id(), node="n", pid=1)
    await bench.store.open(session)
    parent = await bench.put(limit_key="a")
    child = await bench.put(parent, limit_key="a")
    lanes = (Lane("default"),)
    (job,) = (await bench.store.claim(session.id, ClaimRequest(1, lanes))).jobs
    result = await bench.store.settle(
        session.id, [Settlement(job.id, job.token, Outcome.SUCCEEDED)], ClaimRequest(2, lanes)
    )
    assert result.claim is not None
    assert [one.id for one in result.claim.jobs] == [child]


# ------------------------------------------------------------------------------------------------------ retention


async def test_of_two_who_end_the_last_dependants_of_a_job_one_starts_its_retention(bench: Bench) -> None:
    parent = await bench.put()
    await bench.claim_all()
    children = [await bench.put(parent) for _ in range(2)]
    await bench.settle(bench.store, Outcome.SUCCEEDED, parent)
    await bench.claim_all()
    async with bench.stopped_at_commit("done"):
        ends = [
            asyncio.create_task(bench.settle(store, Outcome.SUCCEEDED, child))
            for store, child in zip(bench.stores[:2], children, strict=True)
        ]
        await bench.waiting(2, "advisory")
        assert await bench.purge_at(parent) is None
    results = await asyncio.gather(*ends)
    assert sorted(result.more_edges for result in results) == [False, True]
    await bench.drain()
    assert None not in [await bench.purge_at(job) for job in (parent, *children)]


async def test_a_dependant_that_is_stored_while_the_last_one_ends_keeps_its_parent(bench: Bench) -> None:
    parent = await bench.put()
    await bench.claim_all()
    child = await bench.put(parent)
    await bench.settle(bench.store, Outcome.SUCCEEDED, parent)
    await bench.claim_all()
    async with bench.stopped_at_commit("bodies"):
        storing = asyncio.create_task(
            bench.other.enqueue(
                [NewJob(id=new_id(), task="t", payload=b"{}", parents=(Parent(parent),))],
                first_sent=await bench.store.now(),
            )
        )
        await bench.waiting(1, "advisory")
        ending = asyncio.create_task(bench.settle(bench.store, Outcome.SUCCEEDED, child))
        await bench.waiting(2)
    await storing
    await ending
    await bench.drain()
    assert await bench.purge_at(parent) is None


async def test_retention_that_nobody_started_starts_when_a_dependant_goes(postgres_database: Database) -> None:
    """So it was left by calls of versions before; whoever ended its last dependants took it for another's."""
    now = [1_000_000_000_000_000]
    await asyncio.to_thread(postgres_database.store)  # empty
    store = PostgresStore(postgres_database.url, clock=lambda: now[0])
    admin = await asyncpg.connect(postgres_database.url)
    try:
        parent = NewJob(id=new_id(), task="t", payload=b"{}")
        child = NewJob(id=new_id(), task="t", payload=b"{}", parents=(Parent(parent.id),))
        await store.enqueue([parent, child], first_sent=now[0])
        await store.cancel([parent.id])
        await admin.execute("UPDATE windlass.done SET purge_at = NULL WHERE id = $1", UUID(bytes=parent.id))
        now[0] += store.settings.keep
        assert (await store.purge()).done == 1
        (record,) = await store.get_jobs([parent.id])
        assert record is not None
        assert record.purge_at == now[0] + store.settings.keep
        now[0] += store.settings.keep
        await store.purge()
        assert await store.get_jobs([parent.id, child.id]) == [None, None]
    finally:
        await admin.close()
        await store.aclose()


# ------------------------------------------------------------------------------------------------------ all at once


class _Crowd:
    """Some who store a random graph, and some who run it, a fifth of the jobs failing."""

    def __init__(self, first: list[bytes], seconds: float) -> None:
        self._ids = first
        self._chance = random.Random(7)
        self._end = time.monotonic() + seconds

    def _job(self, batch: list[NewJob]) -> NewJob:
        chance = self._chance
        near = [job.id for job in batch] + chance.sample(self._ids[-60:], 5)
        parents = [Parent(one, EdgePolicy(chance.randint(0, 2))) for one in chance.sample(near, chance.randint(0, 3))]
        key = f"k{chance.randint(0, 3)}" if chance.random() < 0.2 else None
        return NewJob(id=new_id(), task="t", payload=b"{}", parents=tuple(parents), limit_key=key)

    def _edge(self) -> Edge:
        parent, child = sorted(self._chance.sample(self._ids[-150:], 2))
        return Edge(parent, child, EdgePolicy(self._chance.randint(0, 2)))

    async def produce(self, store: PostgresStore) -> None:
        while time.monotonic() < self._end:
            batch: list[NewJob] = []
            for _ in range(self._chance.randint(1, 8)):
                batch.append(self._job(batch))
            await store.enqueue(batch, first_sent=await store.now())
            await store.enqueue([], [self._edge() for _ in range(4)], first_sent=await store.now())
            self._ids += [job.id for job in batch]

    async def work(self, store: PostgresStore) -> None:
        session = Session(id=new_id(), node="n", pid=1)
        await store.open(session)
        number = idle = 0
        outcomes = [Outcome.SUCCEEDED] * 4 + [Outcome.DEAD]
        while time.monotonic() < self._end or idle < 20:
            number += 1
            claimed = await store.claim(session.id, ClaimRequest(number, (Lane("default", "", 20),)))
            ends = [Settlement(job.id, job.token, self._chance.choice(outcomes)) for job in claimed.jobs]
            if ends:
                idle = 0
                await store.settle(session.id, ends)
            else:
                idle += 1
                await store.release_edges()
                await asyncio.sleep(0.01)


async def test_a_dense_graph_with_failures_ends_without_a_deadlock(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    deadlocks: list[str] = []
    repeatable = pool.may_be_repeated

    def may_be_repeated(error: BaseException) -> bool:
        if isinstance(error, asyncpg.DeadlockDetectedError):
            deadlocks.append(str(error))
        return repeatable(error)

    monkeypatch.setattr(pool, "may_be_repeated", may_be_repeated)
    crowd = _Crowd([await bench.put() for _ in range(40)], seconds=4)
    bench.stores += [bench.store.twin(), bench.store.twin()]
    await asyncio.gather(*map(crowd.produce, bench.stores[:3]), *map(crowd.work, bench.stores[3:]))
    await bench.drain()
    assert deadlocks == []
    left = await bench.admin.fetchval("SELECT count(*) FROM windlass.jobs")
    kept = await bench.admin.fetchval("SELECT count(*) FROM windlass.done WHERE purge_at IS NULL")
    assert (left, kept) == (0, 0)
