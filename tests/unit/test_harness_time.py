"""A harness lets days pass in milliseconds."""

import time
from datetime import UTC, datetime, timedelta

import pytest

from windlass import App, InvalidOption, JobCancelled, Retry, Snooze
from windlass.core.clock import MINUTE
from windlass.core.records import Limit, LimitScope, Rate
from windlass.testing import Harness, VirtualClock

app = App("memory://")
calls: list[str] = []


@app.task
async def note(word: str) -> None:
    calls.append(word)


@app.task(retry=Retry(attempts=4, delay=60, factor=2, jitter=0))
async def fails_until(good: int) -> int:
    calls.append("attempt")
    if len(calls) < good:
        raise ConnectionError(len(calls))
    return len(calls)


@app.task
async def snoozes() -> None:
    calls.append("snooze")
    if len(calls) < 3:
        raise Snooze(86400)


@app.task
async def again_in(minutes: int) -> None:
    calls.append("tick")
    await again_in.options(delay=60 * minutes).enqueue(minutes)


@pytest.fixture(autouse=True)
def _forget() -> None:
    calls.clear()


async def test_a_delay_of_a_day() -> None:
    with Harness(app) as harness:
        job = await note.options(delay=timedelta(days=1)).enqueue("late")
        begun = time.monotonic()
        assert await harness.run_for(hours=23) == []
        assert len(await harness.run_for(hours=1)) == 1
        assert time.monotonic() - begun < 60
        info = await job.info()
        assert info.finished_at is not None
        assert timedelta(days=1) <= info.finished_at - info.enqueued_at < timedelta(days=1, minutes=1)


async def test_an_absolute_time_of_the_real_clock() -> None:
    with Harness(app) as harness:
        await note.options(at=datetime.now(UTC)).enqueue("now")
        await note.options(at=datetime.now(UTC) + timedelta(hours=1)).enqueue("then")
        assert len(await harness.run()) == 1
        assert len(await harness.run_for(hours=1)) == 1


async def test_retries_and_their_back_off() -> None:
    with Harness(app) as harness:
        job = await fails_until.enqueue(3)
        assert [one.outcome for one in await harness.run()] == ["retry"]
        assert await harness.run_for(seconds=50) == []
        assert [one.outcome for one in await harness.run_for(seconds=10)] == ["retry"]
        assert await harness.run_for(seconds=110) == []
        assert [one.outcome for one in await harness.run_for(seconds=10)] == ["succeeded"]
        assert await job.result() == 3


async def test_until_idle_spends_every_retry() -> None:
    with Harness(app) as harness:
        await fails_until.enqueue(100)
        with pytest.raises(ConnectionError, match="4"):
            await harness.run_until_idle()
        assert [one.outcome for one in harness.attempts] == ["retry", "retry", "retry", "dead"]


async def test_until_idle_waits_for_snoozes() -> None:
    with Harness(app) as harness:
        before = harness.clock.now()
        await snoozes.enqueue()
        assert [one.outcome for one in await harness.run_until_idle()] == ["snoozed", "snoozed", "succeeded"]
        assert harness.clock.now() - before >= timedelta(days=2)


async def test_things_happen_in_the_order_of_their_times() -> None:
    with Harness(app) as harness:
        await again_in.enqueue(20)
        await note.options(delay=30 * 60).enqueue("note")
        await harness.run_for(hours=1)
        assert calls == ["tick", "tick", "note", "tick", "tick"]


async def test_a_job_expires_where_no_worker_runs() -> None:
    with Harness(app) as harness:
        job = await note.options(expires=60).enqueue("never")
        harness.clock.advance(minutes=2)
        assert await harness.run() == []
        with pytest.raises(JobCancelled, match="expired"):
            await job.result()
        in_time = await note.options(expires=60).enqueue("in time")
        await harness.run_for(minutes=2)
        assert await in_time.status() == "succeeded"


async def test_a_job_of_a_paused_queue_expires_while_time_passes() -> None:
    with Harness(app) as harness:
        store = await app.store()
        await store.pause(LimitScope.QUEUE, "default", paused=True)
        job = await note.options(expires=60).enqueue("never")
        assert await harness.run_for(minutes=2) == []
        assert await job.status() == "cancelled"


async def test_a_rate_limit_is_waited_for() -> None:
    with Harness(app) as harness:
        store = await app.store()
        await store.put_limit(Limit(scope=LimitScope.QUEUE, name="default", rate=Rate(1, per=MINUTE)))
        await app.enqueue_many(note.bind("limited") for _ in range(5))
        assert len(await harness.run()) == 1
        assert len(await harness.run_for(minutes=2)) == 2
        assert len(await harness.run_until_idle()) == 2


async def test_enqueueing_after_a_long_time() -> None:
    with Harness(app) as harness:
        for _ in range(3):
            await note.enqueue("x")
            harness.clock.advance(hours=5)
        assert len(await harness.run()) == 3


async def test_results_outlive_their_retention() -> None:
    with Harness(app) as harness:
        job = await note.options(result_ttl=300).enqueue("x")
        await harness.run_for(days=30)
        assert await job.result() is None


@pytest.mark.parametrize("span", [{}, {"hours": -1}, {"seconds": float("nan")}, {"days": 1e9}, {"minutes": "3"}])
async def test_no_span_of_time(span: dict[str, float]) -> None:
    with Harness(app) as harness:
        with pytest.raises(InvalidOption, match="a span of"):
            await harness.run_for(**span)
        with pytest.raises(InvalidOption, match="a span of"):
            harness.clock.advance(**span)


@app.task
async def passes_on(left: int) -> None:
    calls.append("passed")
    if left:
        await passes_on.options(at=datetime.now(UTC)).enqueue(left - 1)


async def test_what_a_job_enqueues_for_the_real_now_runs_in_the_same_run() -> None:
    with Harness(app) as harness:
        await passes_on.enqueue(3)
        assert len(await harness.run()) == 4


def test_the_clock_stands_while_jobs_run_and_catches_up(monkeypatch: pytest.MonkeyPatch) -> None:
    real = [1_800_000_000]
    monkeypatch.setattr(time, "time_ns", lambda: real[0] * 10**9)
    clock = VirtualClock()
    with clock.standing():
        with clock.standing():
            real[0] += 5
        assert clock() == 1_800_000_000_000_000
        clock.advance(seconds=60)
        assert clock() == 1_800_000_060_000_000
    assert clock() == 1_800_000_065_000_000


def test_the_clock_follows_what_stops_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = VirtualClock()
    monkeypatch.setattr(time, "time_ns", lambda: 1_800_000_000 * 10**9)
    assert clock.now() == datetime(2027, 1, 15, 8, tzinfo=UTC)
    clock.advance(hours=1)
    assert clock.now() == datetime(2027, 1, 15, 9, tzinfo=UTC)
    clock.move_to(clock() - 5)
    assert clock.now() == datetime(2027, 1, 15, 9, tzinfo=UTC)
