"""Settlements and the claim that travels with them, carried out at the same time on two connections."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from tests.servers.database import Database
from windlass.core.errors import StoreUnavailable
from windlass.core.ids import new_id
from windlass.core.lifecycle import Outcome, State
from windlass.core.model import ClaimRequest, Lane, NewJob, Parent, Session, Settled, Settlement
from windlass.core.records import Limit, LimitScope
from windlass.store.postgres import beside
from windlass.store.postgres.store import PostgresStore

MANY = beside.FEWEST + 10


class Worker:
    """A session, and what it holds."""

    def __init__(self, store: PostgresStore) -> None:
        self.store = store
        self.session = new_id()
        self.number = 0

    def request(self, limit: int = MANY) -> ClaimRequest:
        self.number += 1
        return ClaimRequest(self.number, (Lane("default", "", limit),))

    async def put(self, jobs: int, **more: Any) -> list[bytes]:
        batch = [NewJob(id=new_id(), task="t", payload=b"{}", **more) for _ in range(jobs)]
        await self.store.enqueue(batch, first_sent=await self.store.now())
        return [job.id for job in batch]

    async def claim(self) -> list[Settlement]:
        """Claim, and have it succeed; answers what is to be settled."""
        answer = await self.store.claim(self.session, self.request())
        return [Settlement(job.id, job.token, Outcome.SUCCEEDED, b"1") for job in answer.jobs]


@pytest.fixture
async def worker(postgres_database: Database) -> AsyncIterator[Worker]:
    store = postgres_database.store()
    made = Worker(store)
    await store.open(Session(id=made.session, node="n", pid=1))
    yield made
    await store.aclose()


@pytest.fixture
async def admin(postgres_database: Database) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(postgres_database.url)
    yield connection
    await connection.close()


async def test_a_claim_does_not_wait_for_settlements_of_which_it_is_independent(worker: Worker, admin: Any) -> None:
    await worker.put(MANY)
    held = await worker.claim()
    next_ids = await worker.put(MANY)
    async with admin.transaction():
        await admin.execute("LOCK TABLE windlass.done IN ACCESS EXCLUSIVE MODE")  # which settling writes
        trip = asyncio.create_task(worker.store.settle(worker.session, held, worker.request()))
        while await admin.fetchval("SELECT count(*) FROM windlass.jobs WHERE state = 3") < 2 * MANY:
            assert not trip.done()
            await asyncio.sleep(0.01)
    result = await trip
    assert set(result.answers) == {Settled.APPLIED}
    assert result.claim is not None
    assert [job.id for job in result.claim.jobs] == next_ids


async def test_under_a_limit_a_claim_sees_the_places_that_its_settlements_free(worker: Worker) -> None:
    await worker.store.put_limit(Limit(scope=LimitScope.QUEUE, name="default", concurrency=MANY))
    await worker.put(3 * MANY)
    held = await worker.claim()
    assert len(held) == MANY
    for _ in range(2):  # the second time the store knows before it asks
        result = await worker.store.settle(worker.session, held, worker.request())
        assert set(result.answers) == {Settled.APPLIED}
        assert result.claim is not None
        assert len(result.claim.jobs) == MANY
        held = [Settlement(job.id, job.token, Outcome.SUCCEEDED, b"1") for job in result.claim.jobs]


async def test_lines_are_served_after_settlements(worker: Worker) -> None:
    await worker.store.put_limit(Limit(scope=LimitScope.KEY, name="k", concurrency=MANY))
    await worker.put(2 * MANY, limit_key="k")
    held = await worker.claim()
    assert len(held) == MANY
    result = await worker.store.settle(worker.session, held, worker.request())
    assert result.claim is not None
    assert len(result.claim.jobs) == MANY


async def test_who_settled_what_others_waited_for_hears_that_there_may_be_more(worker: Worker) -> None:
    parents = await worker.put(MANY)
    held = await worker.claim()
    assert {one.id for one in held} == set(parents)
    await worker.put(1, parents=(Parent(parents[0]),))
    result = await worker.store.settle(worker.session, held, worker.request())
    assert result.claim is not None
    assert result.claim.jobs or result.claim.more
    if not result.claim.jobs:
        assert len(await worker.claim()) == 1


async def test_a_settlement_that_fails_leaves_a_claim_to_be_given_back(worker: Worker, admin: Any) -> None:
    await worker.put(MANY)
    held = await worker.claim()
    next_ids = await worker.put(MANY)
    await admin.execute("""
        CREATE FUNCTION public.fail() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN RAISE 'injected' USING ERRCODE = '57P03'; END $$;
        CREATE TRIGGER fail BEFORE INSERT ON windlass.done FOR EACH STATEMENT EXECUTE FUNCTION public.fail();
    """)
    try:
        with pytest.raises(StoreUnavailable, match="injected"):
            await worker.store.settle(worker.session, held, worker.request())
    finally:
        await admin.execute("DROP FUNCTION public.fail CASCADE")
    await worker.store.unclaim(worker.session, worker.number)
    assert {record and record.state for record in await worker.store.get_jobs(next_ids)} == {State.READY}
    result = await worker.store.settle(worker.session, held)
    assert set(result.answers) == {Settled.APPLIED}
    assert [one.id for one in await worker.claim()] == next_ids
