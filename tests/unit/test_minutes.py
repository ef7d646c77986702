"""What a worker counts of each minute, and writes down."""

from windlass.core.clock import MINUTE, SECOND, Instant
from windlass.core.lifecycle import Outcome
from windlass.core.model import ClaimedJob, Settled, Settlement
from windlass.engine.minutes import Minute, Minutes, read_minutes
from windlass.store.memory import MemoryStore
from windlass.testing.clock import ManualClock


def claimed(enqueued_at: Instant, attempt: int = 1) -> ClaimedJob:
    return ClaimedJob(
        id=bytes(16), token=1, task="t", payload=b"{}", options=None, queue="q", requires="", priority=5,
        attempt=attempt, failures=0, snoozes=0, enqueued_at=enqueued_at, undeliverable_for=0, limit_key=None,
    )  # fmt: skip


def ended(outcome: Outcome) -> Settlement:
    return Settlement(bytes(16), 1, outcome)


async def test_a_minute_has_what_was_started_and_what_ended() -> None:
    clock = ManualClock()
    store = MemoryStore(clock=clock)
    minutes = Minutes(store, lambda: b"s" * 16, clock)
    begun = clock() // MINUTE * MINUTE
    clock.move(begun + MINUTE - clock())
    minutes.claimed([claimed(clock() - 3 * SECOND), claimed(clock() - SECOND), claimed(clock() - MINUTE, attempt=2)])
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


async def test_nothing_is_written_where_nothing_happens() -> None:
    clock = ManualClock()
    store = MemoryStore(clock=clock)
    minutes = Minutes(store, lambda: b"s" * 16, clock)
    await minutes.write()
    minutes.claimed([claimed(clock(), attempt=2)])
    await minutes.write()
    assert await store.list_documents("minute") == []
    minutes.settled([ended(Outcome.SUCCEEDED)], [Settled.APPLIED])
    await minutes.write()
    await minutes.write()
    [document] = await store.list_documents("minute")
    assert document.version == 1
