"""Waiting for results: hints may be lost, the store may be away, the job may go; and nobody asks more than needed."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Sequence

import pytest

from windlass.core.errors import JobNotFound, ResultTimeout, StoreUnavailable
from windlass.core.ids import new_id
from windlass.core.lifecycle import Outcome, State
from windlass.core.model import ClaimRequest, Lane, NewJob, Session, Settlement
from windlass.core.records import JobResult
from windlass.engine.waiting import FIRST_POLL, LONGEST_POLL, PATIENCE, ResultWaiter
from windlass.store.port import Store, Subscription
from windlass.testing.faulty import FaultyStore, Outage

SOON = 10.0


class Deaf:
    """A subscription that hears nothing."""

    def arm(self) -> None: ...

    def disarm(self) -> None: ...

    def close(self) -> None: ...


class Watched(FaultyStore):
    """Counts the questions; can be deaf; says when it was asked."""

    def __init__(self, inner: Store, plan: Outage) -> None:
        super().__init__(inner, plan)
        self.asked: list[int] = []
        self.deaf = False
        self.subscribed = 0
        self.was_asked = asyncio.Event()

    async def results(self, ids: Sequence[bytes]) -> list[JobResult | None]:
        self.asked.append(len(ids))
        try:
            return await super().results(ids)
        finally:
            self.was_asked.set()

    def subscribe(self, channels: Collection[str], wake: Callable[[], None]) -> Subscription:
        self.subscribed += 1
        return Deaf() if self.deaf else super().subscribe(channels, wake)


class Bench:
    def __init__(self, store: Store) -> None:
        self.outage = Outage()
        self.store = Watched(store, self.outage)
        self.skew = 0.0
        self.waiter = ResultWaiter(self.store, clock=lambda: asyncio.get_running_loop().time() + self.skew)
        self.session = new_id()
        self.claims = 0

    async def enqueue(self, count: int = 1) -> list[bytes]:
        jobs = [NewJob(id=new_id(), task="demo.task", payload=b"{}") for _ in range(count)]
        await self.store.inner.enqueue(jobs, first_sent=await self.store.inner.now())
        return [job.id for job in jobs]

    async def finish_all(self) -> None:
        """Run everything that is ready, by hand."""
        await self.store.inner.open(Session(id=self.session, node="here", pid=1))
        ends = None
        while ends != []:  # a store may bound what one claim brings
            self.claims += 1
            answer = await self.store.inner.claim(self.session, ClaimRequest(self.claims, (Lane("default"),)))
            ends = [Settlement(job.id, job.token, Outcome.SUCCEEDED, b"1") for job in answer.jobs]
            await self.store.inner.settle(self.session, ends)


@pytest.fixture
async def bench(store: Store) -> AsyncIterator[Bench]:
    made = Bench(store)
    yield made
    await made.waiter.aclose()


async def test_a_hint_brings_the_result_at_once(bench: Bench) -> None:
    [job] = await bench.enqueue()
    waiting = asyncio.create_task(bench.waiter.wait(job, SOON))
    await bench.store.was_asked.wait()
    await bench.finish_all()
    result = await waiting
    assert (result.id, result.state, result.result) == (job, State.SUCCEEDED, b"1")


async def test_without_hints_a_look_now_and_then_finds_it(bench: Bench) -> None:
    bench.store.deaf = True
    [job] = await bench.enqueue()
    waiting = asyncio.create_task(bench.waiter.wait(job, SOON))
    await bench.store.was_asked.wait()
    await bench.finish_all()
    assert (await waiting).state is State.SUCCEEDED
    assert len(bench.store.asked) <= 4


async def test_looks_grow_rarer(bench: Bench) -> None:
    bench.store.deaf = True
    [job] = await bench.enqueue()
    with pytest.raises(ResultTimeout):
        await bench.waiter.wait(job, 5 * FIRST_POLL)
    assert len(bench.store.asked) <= 4
    assert LONGEST_POLL >= 10 * FIRST_POLL


async def test_jobs_awaited_together_are_asked_for_together_at_most_a_thousand_at_once(bench: Bench) -> None:
    jobs = [*await bench.enqueue(1000), *await bench.enqueue(500)]
    await bench.finish_all()
    results = await asyncio.gather(*(bench.waiter.wait(job, SOON) for job in jobs))
    assert [result.id for result in results] == jobs
    assert bench.store.asked[0] == 1000
    assert len(bench.store.asked) <= 6  # late hints may make it ask again


async def test_one_job_awaited_by_many_is_subscribed_once(bench: Bench) -> None:
    [job] = await bench.enqueue()
    await bench.finish_all()
    results = await asyncio.gather(*(bench.waiter.wait(job, SOON) for _ in range(50)))
    assert {result.id for result in results} == {job}
    assert bench.store.subscribed == 1
    assert set(bench.store.asked) == {1}
    assert len(bench.store.asked) <= 2  # a late hint may make it ask again


async def test_an_unknown_job_is_found_out_while_others_wait_on(bench: Bench) -> None:
    [job] = await bench.enqueue()
    waiting = asyncio.create_task(bench.waiter.wait(job, SOON))
    with pytest.raises(JobNotFound):
        await bench.waiter.wait(new_id(), None)
    assert not waiting.done()
    await bench.finish_all()
    await waiting


async def test_an_outage_is_borne_for_a_while(bench: Bench) -> None:
    [job] = await bench.enqueue()
    bench.outage.down = True
    waiting = asyncio.create_task(bench.waiter.wait(job, SOON))
    await bench.store.was_asked.wait()
    await bench.finish_all()
    bench.outage.down = False
    assert (await waiting).state is State.SUCCEEDED


async def test_an_outage_is_not_borne_for_ever(bench: Bench) -> None:
    [job] = await bench.enqueue()
    bench.outage.down = True
    waiting = asyncio.create_task(bench.waiter.wait(job, None))
    await bench.store.was_asked.wait()
    bench.skew = PATIENCE + LONGEST_POLL
    with pytest.raises(StoreUnavailable):
        await asyncio.wait_for(waiting, SOON)
    bench.outage.down = False
    await bench.finish_all()
    assert (await bench.waiter.wait(job, SOON)).state is State.SUCCEEDED


async def test_closing_tells_those_who_wait(bench: Bench) -> None:
    [job] = await bench.enqueue()
    waiting = asyncio.create_task(bench.waiter.wait(job, None))
    await bench.store.was_asked.wait()
    await bench.waiter.aclose()
    with pytest.raises(StoreUnavailable, match="closed"):
        await waiting


async def test_when_nobody_waits_nobody_asks(bench: Bench) -> None:
    [job] = await bench.enqueue()
    waiting = asyncio.create_task(bench.waiter.wait(job, None))
    await bench.store.was_asked.wait()
    waiting.cancel()
    await asyncio.wait({waiting})
    asked = len(bench.store.asked)
    for _ in range(3):
        await asyncio.sleep(0)
    assert bench.waiter._looker is None
    assert len(bench.store.asked) == asked
