"""What a worker counts of each minute, and writes down."""

from collections.abc import Sequence

import pytest

from windlass.core.clock import MINUTE, SECOND, Instant
from windlass.core.documents import NewDocument
from windlass.core.lifecycle import Outcome
from windlass.core.model import ClaimedJob, Settled, Settlement
from windlass.engine.minutes import MOST, Minute, Minutes, read_minutes
from windlass.store.memory import MemoryStore
from windlass.testing.clock import ManualClock
from windlass.testing.faulty import Fault, FaultyStore, Outage, Script


@pytest.fixture
def clock() -> ManualClock:
    clock = ManualClock()
    clock.move(MINUTE - clock() % MINUTE)  # a minute begins
    return clock


@pytest.fixture
def store(clock: ManualClock) -> MemoryStore:
    return MemoryStore(clock=clock)


def claimed(enqueued_at: Instant, token: int = 1) -> ClaimedJob:
    return ClaimedJob(
        id=bytes(16), token=token, task="t", payload=b"{}", options=None, queue="q", requires="", priority=5,
        attempt=1, failures=0, snoozes=0, enqueued_at=enqueued_at, undeliverable_for=0, limit_key=None,
    )  # fmt: skip


def ended(outcome: Outcome) -> Settlement:
    return Settlement(bytes(16), 1, outcome)


async def test_a_minute_has_what_was_started_and_what_ended(clock: ManualClock, store: MemoryStore) -> None:
    minutes = Minutes(store, clock)
    begun = clock() // MINUTE * MINUTE
    clock.move(begun + MINUTE - clock())
    minutes.claimed([claimed(clock() - 3 * SECOND), claimed(clock() - SECOND), claimed(clock() - MINUTE, token=2)])
    minutes.claimed([claimed(clock() + SECOND)])  # a clock that is ahead
    ends = [Outcome.SUCCEEDED, Outcome.SUCCEEDED, Outcome.RETRY, Outcome.DEAD, Outcome.CANCELLED, Outcome.RELEASED]
    minutes.settled([ended(one) for one in ends], [Settled.APPLIED] * len(ends))
    minutes.settled([ended(Outcome.SUCCEEDED), ended(Outcome.DEAD)], [Settled.LOST, Settled.ALREADY])
    await minutes.write()
    first = Minute(started=3, wait=4.0, longest_wait=3.0, succeeded=2, failed=1, dead=1, cancelled=1)
    assert await read_minutes(store, begun) == {begun + MINUTE: first}
    clock.move(MINUTE)
    minutes.settled([ended(Outcome.SUCCEEDED)], [Settled.APPLIED])
    await minutes.write()
    assert await read_minutes(store, begun) == {begun + MINUTE: first, begun + 2 * MINUTE: Minute(succeeded=1)}
    assert await read_minutes(store, begun + 2 * MINUTE) == {begun + 2 * MINUTE: Minute(succeeded=1)}


async def test_nothing_is_written_where_nothing_happens(clock: ManualClock, store: MemoryStore) -> None:
    minutes = Minutes(store, clock)
    await minutes.write()
    minutes.claimed([claimed(clock(), token=2)])
    await minutes.write()
    assert await store.list_documents("minute") == []
    minutes.settled([ended(Outcome.SUCCEEDED)], [Settled.APPLIED])
    await minutes.write()
    await minutes.write()
    [document] = await store.list_documents("minute")
    assert document.version == 1


async def test_the_end_of_a_minute_is_written_after_it(clock: ManualClock, store: MemoryStore) -> None:
    """A worker writes every few seconds, and not when a minute ends."""
    minutes = Minutes(store, clock)
    for second in range(180):
        minutes.settled([ended(Outcome.SUCCEEDED)], [Settled.APPLIED])
        clock.move(SECOND)
        if second % 10 == 3:
            await minutes.write()
    await minutes.write()
    assert [minute.succeeded for minute in (await read_minutes(store, 0)).values()] == [60, 60, 60]


async def test_two_workers_count_for_themselves(clock: ManualClock, store: MemoryStore) -> None:
    for _ in range(2):
        minutes = Minutes(store, clock)
        minutes.settled([ended(Outcome.SUCCEEDED)], [Settled.APPLIED])
        await minutes.write()
        await minutes.write()
    assert [minute.succeeded for minute in (await read_minutes(store, 0)).values()] == [2]


@pytest.mark.parametrize("fault", [Fault.CRASH, Fault.LOST])
async def test_what_could_not_be_written_is_written_later(clock: ManualClock, store: MemoryStore, fault: Fault) -> None:
    plan = Script()
    minutes = Minutes(FaultyStore(store, plan), clock)
    minutes.settled([ended(Outcome.SUCCEEDED)], [Settled.APPLIED])
    plan.then(fault)
    await minutes.write()
    clock.move(MINUTE)  # and nothing happens any more
    await minutes.write()
    assert [minute.succeeded for minute in (await read_minutes(store, 0)).values()] == [1]


async def test_what_comes_while_it_is_written_is_written_too(clock: ManualClock, store: MemoryStore) -> None:
    class Slow(MemoryStore):
        async def put_documents(self, documents: Sequence[NewDocument]) -> list[int | None]:
            stored = await store.put_documents(documents)
            if not self.met:
                self.met = True
                minutes.settled([ended(Outcome.DEAD)], [Settled.APPLIED])
            return stored

        met = False

    minutes = Minutes(Slow(), clock)
    minutes.settled([ended(Outcome.SUCCEEDED)], [Settled.APPLIED])
    await minutes.write()
    await minutes.write()
    assert list((await read_minutes(store, 0)).values()) == [Minute(succeeded=1, dead=1)]


async def test_a_store_that_is_away_for_long_costs_no_memory(clock: ManualClock, store: MemoryStore) -> None:
    plan = Outage()
    minutes = Minutes(FaultyStore(store, plan), clock)
    plan.down = True
    for _ in range(MOST + 30):
        minutes.settled([ended(Outcome.SUCCEEDED)], [Settled.APPLIED])
        await minutes.write()
        clock.move(MINUTE)
    plan.down = False
    await minutes.write()
    assert len(await read_minutes(store, 0)) == MOST
