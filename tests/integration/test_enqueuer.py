"""The enqueuer: natural batches, one caller's trouble kept from the others, and what is known after a lost answer."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from windlass.core.clock import SECOND, Instant
from windlass.core.errors import EnqueueUnknown, StaleEnqueue, StoreFull, StoreUnavailable, UsageError
from windlass.core.ids import new_id, to_text
from windlass.core.model import MAX_BATCH, STALE_AFTER, Edge, Enqueued, EnqueueResult, NewJob, Unique
from windlass.core.records import JobFilter
from windlass.engine.enqueuer import RETRY_FOR, Enqueuer
from windlass.store.port import Store
from windlass.testing.faulty import Fault, FaultyStore, Script


def job(**fields: Any) -> NewJob:
    return NewJob(id=new_id(), task="demo.task", payload=b"{}", **fields)


class Clock:
    """Time that passes only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        await asyncio.sleep(0)


class Watched(FaultyStore):
    """Remembers what came by, can hold calls back, and can dislike a job."""

    def __init__(self, inner: Store, plan: Script) -> None:
        super().__init__(inner, plan)
        self.batches: list[int] = []
        self.first_sent: list[Instant] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.held = asyncio.Event()
        """A call stands at the closed gate."""
        self.disliked: bytes | None = None
        self.full = False
        self.ahead: Instant = 0

    async def enqueue(
        self, jobs: Sequence[NewJob], edges: Sequence[Edge] = (), *, first_sent: Instant
    ) -> EnqueueResult:
        self.batches.append(len(jobs))
        self.first_sent.append(first_sent)
        if not self.gate.is_set():
            self.held.set()
        await self.gate.wait()
        if self.full:
            raise StoreFull("no room")
        if any(one.id == self.disliked for one in jobs):
            raise UsageError("I do not like it")
        return await super().enqueue(jobs, edges, first_sent=first_sent)

    async def now(self) -> Instant:
        return await super().now() + self.ahead


class Bench:
    """An enqueuer over a watched store."""

    def __init__(self, store: Store) -> None:
        self.script = Script()
        self.store = Watched(store, self.script)
        self.clock = Clock()
        self.enqueuer = Enqueuer(self.store, clock=self.clock, sleep=self.clock.sleep)

    async def one(self, new: NewJob | None = None) -> Enqueued:
        return (await self.enqueuer.enqueue([new or job()], 2))[0].status

    async def stored(self) -> int:
        return len((await self.store.inner.list_jobs(JobFilter(), limit=MAX_BATCH)).jobs)


@pytest.fixture
async def bench(store: Store) -> AsyncIterator[Bench]:
    made = Bench(store)
    yield made
    await made.enqueuer.aclose()


async def test_what_arrives_during_a_flush_goes_with_the_next_one(bench: Bench) -> None:
    await bench.one()
    bench.store.gate.clear()
    first = asyncio.create_task(bench.one())
    await bench.store.held.wait()
    others = [asyncio.create_task(bench.one()) for _ in range(50)]
    await asyncio.sleep(0)
    bench.store.gate.set()
    await asyncio.gather(first, *others)
    assert bench.store.batches == [1, 1, 50]
    assert await bench.stored() == 52


async def test_a_batch_is_bounded_in_jobs_and_bytes(bench: Bench) -> None:
    chunks = [[job() for _ in range(600)] for _ in range(3)]
    await asyncio.gather(*(bench.enqueuer.submit(chunk, 1200) for chunk in chunks))
    assert bench.store.batches == [600, 600, 600]
    bench.store.batches.clear()
    await asyncio.gather(*(bench.enqueuer.submit([job()], 1_500_000) for _ in range(5)))
    assert bench.store.batches == [2, 2, 1]


async def test_each_caller_gets_its_own_answers(bench: Bench) -> None:
    holder = job(unique=Unique("k"))
    rival = job(unique=Unique("k"))
    await bench.one(holder)
    plain, duplicate, both = await asyncio.gather(
        bench.one(),
        bench.enqueuer.enqueue([rival], 2),
        bench.enqueuer.enqueue([job(), rival], 4),
    )
    assert plain is Enqueued.STORED
    assert [answer.holder for answer in duplicate] == [holder.id]
    assert [answer.status for answer in both] == [Enqueued.STORED, Enqueued.DUPLICATE]


async def test_a_job_that_the_store_refuses_does_not_fail_its_neighbours(bench: Bench) -> None:
    bad = job()
    bench.store.disliked = bad.id
    answers = await asyncio.gather(bench.one(), bench.one(bad), bench.one(), return_exceptions=True)
    assert [answers[0], answers[2]] == [Enqueued.STORED, Enqueued.STORED]
    assert isinstance(answers[1], UsageError)
    assert await bench.stored() == 2


async def test_a_full_store_is_told_to_every_caller_of_the_batch_and_the_next_batch_tries_anew(bench: Bench) -> None:
    bench.store.full = True
    answers = await asyncio.gather(bench.one(), bench.one(), return_exceptions=True)
    assert [type(answer) for answer in answers] == [StoreFull, StoreFull]
    bench.store.full = False
    assert await bench.one() is Enqueued.STORED


@pytest.mark.parametrize("fault", [Fault.CRASH, Fault.LOST, Fault.LATE, Fault.REPEATED])
async def test_a_lost_answer_is_asked_for_again_with_the_same_ids_and_the_same_first_time(
    bench: Bench, fault: Fault
) -> None:
    await bench.one()
    bench.store.first_sent.clear()
    bench.script.then(fault, Fault.NONE)
    assert await bench.one() is Enqueued.STORED
    for _ in range(len(bench.store.late)):
        await bench.store.deliver()
    assert len(set(bench.store.first_sent)) == 1
    assert await bench.stored() == 2


async def test_a_repeated_unique_job_is_not_its_own_duplicate(bench: Bench) -> None:
    await bench.one()
    bench.script.then(Fault.LOST)
    assert await bench.one(job(unique=Unique("k"))) is Enqueued.STORED


async def test_after_thirty_seconds_nobody_knows_and_the_ids_say_which(bench: Bench) -> None:
    await bench.one()
    bench.script.then(Fault.LOST, *[Fault.CRASH] * 100)
    began = bench.clock.now
    mine, theirs = [job()], [job(), job()]
    answers = await asyncio.gather(
        bench.enqueuer.submit(mine, 2), bench.enqueuer.submit(theirs, 4), return_exceptions=True
    )
    assert [type(answer) for answer in answers] == [EnqueueUnknown, EnqueueUnknown]
    for answer, jobs in zip(answers, (mine, theirs), strict=True):
        assert isinstance(answer, EnqueueUnknown)
        assert answer.ids == tuple(to_text(one.id) for one in jobs)
    assert RETRY_FOR - 2 < bench.clock.now - began <= RETRY_FOR
    assert await bench.stored() == 4


async def test_those_who_waited_behind_an_outage_were_never_sent_and_learn_that(bench: Bench) -> None:
    await bench.one()
    bench.script.then(*[Fault.CRASH] * 200)
    bench.store.gate.clear()
    first = asyncio.create_task(bench.one())
    await bench.store.held.wait()
    behind = asyncio.create_task(bench.one())
    await asyncio.sleep(0)
    bench.store.gate.set()
    answers = await asyncio.gather(first, behind, return_exceptions=True)
    assert [type(answer) for answer in answers] == [EnqueueUnknown, StoreUnavailable]


async def test_a_store_that_was_never_reached_is_unavailable_not_unknown(bench: Bench) -> None:
    bench.script.then(*[Fault.CRASH] * 200)  # the clock cannot be read either
    with pytest.raises(StoreUnavailable):
        await bench.one()
    assert bench.store.batches == []


async def test_a_full_store_after_a_lost_answer_leaves_doubt(bench: Bench) -> None:
    await bench.one()
    bench.script.then(Fault.LOST)

    async def fill_up(seconds: float) -> None:
        bench.store.full = True
        await bench.clock.sleep(seconds)

    bench.enqueuer._sleep = fill_up
    with pytest.raises(EnqueueUnknown, match="no room"):
        await bench.one()


async def test_a_store_whose_clock_jumped_forward_is_asked_again(bench: Bench) -> None:
    bench.store.ahead = -2 * STALE_AFTER
    with pytest.raises(StaleEnqueue):
        await bench.one()  # what is believed of its clock now is eight minutes old
    bench.store.ahead = 0
    bench.store.batches.clear()
    assert await bench.one() is Enqueued.STORED
    assert len(bench.store.batches) == 2


async def test_a_store_that_finds_everything_stale_says_so(bench: Bench) -> None:
    bench.store.ahead = -2 * STALE_AFTER
    with pytest.raises(StaleEnqueue):
        await bench.one()
    assert len(bench.store.batches) == 2


async def test_the_first_time_is_the_stores_own_and_never_ahead_of_it(bench: Bench) -> None:
    before = await bench.store.now()
    await bench.one()
    bench.clock.now += 20
    await bench.one()
    first, second = bench.store.first_sent
    assert before <= first <= await bench.store.now()
    assert second - first == 20 * SECOND


async def test_a_cancelled_caller_takes_nobody_along(bench: Bench) -> None:
    """Neither those in the same batch, nor those who came while it sent its own jobs."""
    await bench.one()
    bench.store.gate.clear()
    first = bench.enqueuer.submit([job()], 2)
    await bench.store.held.wait()
    leaves, stays = asyncio.create_task(bench.one()), asyncio.create_task(bench.one())
    await asyncio.sleep(0)
    leaves.cancel()
    bench.store.gate.set()
    assert await stays is Enqueued.STORED
    assert (await first)[0].status is Enqueued.STORED
    assert leaves.cancelled()


async def test_a_caller_that_is_cancelled_while_it_sends_leaves_the_turn_to_the_others(bench: Bench) -> None:
    await bench.one()
    bench.store.gate.clear()
    leads = asyncio.create_task(bench.one())
    await bench.store.held.wait()
    stays = [asyncio.create_task(bench.one()) for _ in range(3)]
    await asyncio.sleep(0)
    leads.cancel()
    bench.store.gate.set()
    assert await asyncio.gather(*stays) == [Enqueued.STORED] * 3
    assert leads.cancelled()
    assert await bench.one() is Enqueued.STORED


def test_when_the_loop_goes_callers_hear_of_it(tmp_path: Any) -> None:
    from windlass.core.model import Settings
    from windlass.store.sqlite import SQLiteStore

    async def main() -> Enqueuer:
        store = Watched(SQLiteStore(tmp_path / "w.db", Settings()), Script())
        store.gate.clear()
        enqueuer = Enqueuer(store)
        waiting = enqueuer.submit([job()], 2)
        await store.held.wait()
        flusher = enqueuer._flusher
        assert flusher is not None
        flusher.cancel()
        with pytest.raises(EnqueueUnknown, match="the event loop ended"):
            await waiting
        await store.aclose()
        return enqueuer

    asyncio.run(main())
