"""Beside a stranger's transaction that keeps an old snapshot, so that nothing that dies can be cleaned up."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from tests.servers.database import Database
from windlass.core.ids import new_id
from windlass.core.lifecycle import Outcome
from windlass.core.model import ClaimAnswer, ClaimRequest, Lane, NewJob, Session, Settlement
from windlass.store.postgres import floors
from windlass.store.postgres.store import PostgresStore

LOOKED_AT: list[int] = []
"""Entries of the index, claim by claim."""


class Worker:
    """A session that claims until nothing is left."""

    def __init__(self, store: PostgresStore) -> None:
        self.store = store
        self.session = new_id()
        self.request = 0

    async def claim(self, limit: int = 50) -> ClaimAnswer:
        self.request += 1
        return await self.store.claim(self.session, ClaimRequest(self.request, (Lane("default", "", limit),)))

    async def claim_some(self, limit: int = 50) -> list[Any]:
        """Claim, and again where the store says that there may be more."""
        while True:
            answer = await self.claim(limit)
            if answer.jobs or not answer.more:
                return answer.jobs

    async def end(self, jobs: list[Any], outcome: Outcome = Outcome.SUCCEEDED) -> None:
        await self.store.settle(self.session, [Settlement(job.id, job.token, outcome) for job in jobs])


@pytest.fixture
async def worker(postgres_database: Database, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Worker]:
    monkeypatch.setattr(floors, "_FEW", 50)
    monkeypatch.setattr(floors, "_SLACK", 0.05)
    monkeypatch.setattr(floors, "_EVERY", 0.5)
    learn = floors.Floors.learn

    def look(self: Any, rows: Any, looked_at: int, *rest: Any) -> bool:
        LOOKED_AT.append(looked_at)
        return learn(self, rows, looked_at, *rest)

    LOOKED_AT.clear()
    monkeypatch.setattr(floors.Floors, "learn", look)
    store = postgres_database.store()
    stranger = await asyncpg.connect(postgres_database.url)
    await stranger.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class")
    made = Worker(store)
    await store.open(Session(id=made.session, node="n", pid=1))
    yield made
    await stranger.close()
    await store.aclose()


async def put(worker: Worker, jobs: int, **more: Any) -> list[bytes]:
    ids: list[bytes] = []
    for _ in range(0, jobs, 500):
        batch = [NewJob(id=new_id(), task="t", payload=b"{}", **more) for _ in range(min(500, jobs))]
        await worker.store.enqueue(batch, first_sent=await worker.store.now())
        ids += [job.id for job in batch]
    return ids


async def drain(worker: Worker, jobs: int) -> list[bytes]:
    done: list[bytes] = []
    while len(done) < jobs and (some := await worker.claim_some()):
        await worker.end(some)
        done += [job.id for job in some]
    return done


async def test_every_job_is_found_once_and_few_that_are_gone_are_looked_at(worker: Worker) -> None:
    ids = await put(worker, 3000)
    assert await drain(worker, 2000) == ids[:2000]
    await asyncio.sleep(0)
    LOOKED_AT.clear()
    assert await drain(worker, 1000) == ids[2000:]
    assert len(LOOKED_AT) >= 20
    # How many went by within the slack depends on how fast the machine is; all that ever was is at least those before.
    assert sorted(LOOKED_AT)[len(LOOKED_AT) // 2] < 2000
    assert await worker.claim_some() == []


async def test_what_was_given_back_and_what_comes_first_is_found(worker: Worker) -> None:
    await put(worker, 2000)
    await drain(worker, 1500)
    given_back = await worker.claim_some(5)
    rest = await drain(worker, 300)
    await worker.end(given_back, Outcome.RELEASED)
    urgent = await put(worker, 3, priority=9)
    left = await drain(worker, 1000)
    assert set(left) >= {job.id for job in given_back} | set(urgent)
    assert len(rest) + len(left) == 503
    assert set((await worker.store.counts()).values()) == {2003}


async def test_jobs_of_transactions_that_take_their_time_are_found(worker: Worker, postgres_database: Database) -> None:
    """Stored with an earlier sequence than others that are claimed already."""
    await put(worker, 2000)
    await drain(worker, 1000)
    slow = await asyncpg.connect(postgres_database.url)
    try:
        async with slow.transaction():
            late = await slow.fetchval("SELECT windlass.enqueue('t')")
            await put(worker, 500)
            assert len(await drain(worker, 1500)) == 1500
            assert await worker.claim_some() == []
        assert [job.id for job in await worker.claim_some()] == [late.bytes]
    finally:
        await slow.close()
