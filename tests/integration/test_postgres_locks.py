"""In which order calls lock what they share: nobody waits in a circle, and nobody's end is overlooked."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from tests.servers.database import Database
from windlass.core.ids import new_id
from windlass.core.lifecycle import Outcome, State
from windlass.core.model import ClaimRequest, Lane, NewJob, Parent, Session, Settlement, SettleResult
from windlass.store.postgres.store import PostgresStore


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
