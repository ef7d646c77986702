"""What a worker carries to the store: each job once, whatever happened before."""

from collections.abc import AsyncIterator

import pytest

from tests.integration.engine_harness import enqueue, new_job, new_session, record
from windlass.core.ids import to_text
from windlass.core.lifecycle import Outcome, State
from windlass.core.model import ClaimedJob, ClaimRequest, Lane, Settlement
from windlass.engine.holding import Holding
from windlass.engine.pump import Pump
from windlass.engine.signals import SILENT
from windlass.store.memory import MemoryStore


class Trips:
    """A session, and a pump that carries for it and claims nothing."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.holding = Holding()
        self.pump = Pump(self.store, lambda: self.holding, lambda: None, SILENT)

    async def open(self) -> None:
        session = new_session()
        self.holding.session = session.id
        await self.store.open(session)

    async def claim(self) -> ClaimedJob:
        request = ClaimRequest(self.holding.next_number(), (Lane("default", until=1),))
        (job,) = (await self.store.claim(self.holding.session, request)).jobs
        self.holding.held[job.id] = job.token
        return job

    def ends(self, job: ClaimedJob, outcome: Outcome, result: bytes | None = None) -> None:
        self.pump.outbox.add(Settlement(job.id, job.token, outcome, result))


@pytest.fixture
async def trips() -> AsyncIterator[Trips]:
    made = Trips()
    await made.open()
    yield made
    await made.store.aclose()


async def test_of_a_job_that_ended_twice_the_first_end_counts(trips: Trips, caplog: pytest.LogCaptureFixture) -> None:
    ids = await enqueue(trips.store, new_job("t"), new_job("t"))
    twice, other = await trips.claim(), await trips.claim()
    trips.ends(twice, Outcome.SUCCEEDED, b"1")
    trips.ends(other, Outcome.SUCCEEDED, b"3")
    trips.ends(twice, Outcome.DEAD)
    await trips.pump.trip()
    assert [(await record(trips.store, job_id)).result for job_id in ids] == [b"1", b"3"]
    assert (trips.pump.outbox.waiting, trips.holding.held) == ([], {})
    assert [line.levelname for line in caplog.records] == ["ERROR"]
    assert f"job {to_text(twice.id)} ended twice in this worker: SUCCEEDED (token 1) and DEAD (1)" in caplog.text


async def test_the_end_of_a_newer_claim_counts_more_than_that_of_an_older_one(trips: Trips) -> None:
    (job_id,) = await enqueue(trips.store, new_job("t"))
    old = await trips.claim()
    await trips.store.unclaim(trips.holding.session, trips.holding.sent)
    new = await trips.claim()
    trips.ends(old, Outcome.SUCCEEDED, b"old")
    trips.ends(new, Outcome.SUCCEEDED, b"new")
    await trips.pump.trip()
    assert (await record(trips.store, job_id)).result == b"new"


async def test_a_late_end_of_an_older_claim_does_not_let_go_of_the_newer_one(trips: Trips) -> None:
    (job_id,) = await enqueue(trips.store, new_job("t"))
    old = await trips.claim()
    await trips.store.unclaim(trips.holding.session, trips.holding.sent)
    new = await trips.claim()
    trips.ends(old, Outcome.SUCCEEDED)
    await trips.pump.trip()
    assert trips.holding.held == {job_id: new.token}, "what it names as held is what the store leaves to it"
    assert (await record(trips.store, job_id)).state is State.RUNNING
