"""Store-wide figures: names, bounds, and what they say of a store."""

from typing import Any

from prometheus_client.core import Metric

from windlass.core.clock import MINUTE, SECOND
from windlass.core.lifecycle import State
from windlass.core.model import Lane
from windlass.core.records import LimitScope
from windlass.engine.minutes import Minute, Minutes
from windlass.metrics.figures import MOST_QUEUES, OTHERS, families, read
from windlass.store.memory import MemoryStore
from windlass.testing.clock import ManualClock
from windlass.testing.conformance import Env


def env() -> Env:
    clock = ManualClock()

    async def move(by: int) -> None:
        clock.move(by)

    return Env(MemoryStore(clock=clock), move)


async def figures(found: Env) -> dict[str, dict[tuple[str, ...], float]]:
    """Values by metric and labels."""
    metrics: list[Metric] = list(families(await read(found.store)))
    return {one.name: {tuple(s.labels.values()): s.value for s in one.samples} for one in metrics}


async def test_a_store_that_cannot_be_read_is_down_and_says_nothing_else() -> None:
    assert [(one.name, [s.value for s in one.samples]) for one in families(None)] == [("windlass_up", [0])]


async def test_jobs_are_counted_by_queue_and_state() -> None:
    store = env()
    await store.put_all([*store.jobs(3, queue="a"), store.job(queue="a", delay=MINUTE), store.job(queue="b")])
    await store.put_in(State.DEAD, queue="b")
    found = await figures(store)
    assert found["windlass_up"] == {(): 1}
    jobs = found["windlass_jobs"]
    assert {key: value for key, value in jobs.items() if value} == {
        ("a", "ready"): 3,
        ("a", "scheduled"): 1,
        ("b", "ready"): 1,
        ("b", "dead"): 1,
    }
    assert len(jobs) == 2 * len(State), "no state of a queue comes and goes"


async def test_what_waits_how_long_and_for_whom() -> None:
    store = env()
    await store.put(queue="a")
    await store.advance(30 * SECOND)
    await store.put_all([*store.jobs(2, queue="a", requires="gpu=1"), store.job(queue="b")])
    await store.store.pause(LimitScope.QUEUE, "b", paused=True)
    await store.worker(lanes=(Lane("a"), Lane("b")), slots=7, offer="cpu=2")
    found = await figures(store)
    assert found["windlass_queue_oldest_ready_seconds"] == {("a",): 30, ("b",): 0}
    assert found["windlass_queue_paused"] == {("a",): 0, ("b",): 1}
    assert found["windlass_unserved_jobs"] == {("a",): 2, ("b",): 0}
    assert found["windlass_worker_slots"] == {(): 7}


async def test_workers_by_state_and_what_the_dead_hold() -> None:
    store = env()
    await store.put_all(store.jobs(3))
    silent = await store.worker(slots=4)
    await silent.claim(2)
    await store.advance(store.settings.lease)
    busy, draining = await store.worker(slots=4), await store.worker(slots=4)
    await busy.claim(1)
    await store.store.command(draining.id, "drain")
    found: dict[str, Any] = await figures(store)
    assert found["windlass_workers"] == {
        ("live",): 1, ("draining",): 1, ("stopping",): 0, ("silent",): 1, ("revoked",): 0,
    }  # fmt: skip
    assert found["windlass_worker_slots"] == {(): 4}
    assert found["windlass_worker_slots_used"] == {(): 1}
    assert found["windlass_lost_jobs"] == {(): 2}


async def test_many_queues_make_no_more_figures() -> None:
    store = env()
    await store.put_all([store.job(queue=f"q{number}") for number in range(MOST_QUEUES + 50)])
    await store.put_all(store.jobs(5, queue="last"))
    found = await figures(store)
    for name in ("windlass_jobs", "windlass_queue_oldest_ready_seconds", "windlass_queue_paused"):
        assert len({labels[0] for labels in found[name]}) == MOST_QUEUES + 1
    assert found["windlass_jobs"]["last", "ready"] == 5, "the longest has figures of its own"
    assert found["windlass_jobs"][OTHERS, "ready"] == 51


async def test_what_was_done_in_the_last_whole_minute() -> None:
    store = env()
    for start, minute in (
        (0, Minute(started=2, wait=3.0, longest_wait=2.5, succeeded=5, failed=1)),
        (0, Minute(started=2, wait=1.0, longest_wait=1.0, succeeded=1, dead=2)),
        (MINUTE, Minute(succeeded=99)),
    ):
        at = await store.now() // MINUTE * MINUTE + start
        minutes = Minutes(store.store, lambda at=at: at)  # type: ignore[misc]
        minutes._of(at).add(minute)
        await minutes.write()
    await store.advance(MINUTE)
    found = await figures(store)
    assert found["windlass_last_minute_attempts"] == {
        ("succeeded",): 6,
        ("failed",): 1,
        ("dead",): 2,
        ("cancelled",): 0,
    }
    assert found["windlass_last_minute_wait_seconds"] == {("mean",): 1.0, ("longest",): 2.5}
