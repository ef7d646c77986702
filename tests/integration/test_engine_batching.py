"""Natural batching, the buffer rule, and the janitor's part in an ordinary day."""

import asyncio
import sys
import time
from pathlib import Path

import pytest

from tests.integration.engine_harness import (
    Running,
    State,
    Switch,
    all_in,
    enqueue,
    eventually,
    new_job,
    record,
    running,
    spec,
)
from windlass.core.clock import SECOND
from windlass.core.records import Limit, LimitScope, Rate
from windlass.store.port import Store
from windlass.store.sqlite import SQLiteStore


async def test_claims_and_settlements_travel_in_batches_that_grow_by_themselves(store: Store) -> None:
    async def noop() -> None: ...

    switch = Switch(store)
    await enqueue(store, *(new_job("noop") for _ in range(5000)))
    async with running(switch, spec(noop), concurrency=100) as worker:  # type: ignore[arg-type]
        await worker.settled(5000)
        settles = switch.named("settle")
        claims = len(switch.named("claim")) + sum(len(args) > 2 and args[2] is not None for args in settles)
    assert len(settles) < 250, "20 jobs a trip at least"
    assert claims < 250


async def test_an_idle_job_waits_for_nothing(store: Store) -> None:
    async def noop() -> None: ...

    async with running(store, spec(noop)) as worker:
        await worker.signals.wait_for("idle")
        began = time.monotonic()
        await enqueue(store, new_job("noop"))
        await worker.settled(1)
        assert time.monotonic() - began < 0.5, "the poll comes only each second"


async def test_the_end_of_a_quick_job_goes_with_the_next_claim_and_not_after_it(store: Store) -> None:
    async def noop() -> None: ...

    switch = Switch(store)
    async with running(switch, spec(noop)) as worker:  # type: ignore[arg-type]
        await worker.signals.wait_for("idle")
        await enqueue(store, new_job("noop"))
        await worker.settled(1)
        trips = [name for name, _ in switch.calls if name in ("claim", "settle")]
    settle = trips.index("settle")
    assert trips[:settle].count("claim") <= 3, (
        "two that found nothing while it came to rest, and the one that brought the job"
    )
    (args,) = switch.named("settle")
    assert args[2] is not None, "and the look for more came along"


async def test_a_worker_is_back_when_a_rate_lets_the_next_job_start(store: Store) -> None:
    async def noop() -> None: ...

    await store.put_limit(Limit(scope=LimitScope.QUEUE, name="default", rate=Rate(count=20)))
    await enqueue(store, *(new_job("noop") for _ in range(12)))
    began = time.monotonic()
    async with running(store, spec(noop)) as worker:
        await worker.settled(12)
    took = time.monotonic() - began
    assert 0.5 < took < 4, "twelve at twenty a second; a poll for each would take eleven seconds"


async def test_a_slow_lane_is_never_claimed_ahead_beside_a_fast_one(store: Store) -> None:
    async def fast() -> None: ...

    async def slow() -> None:
        await asyncio.sleep(0.2)

    await enqueue(store, *(new_job("slow", queue="slow") for _ in range(40)))
    await enqueue(store, *(new_job("fast", queue="fast") for _ in range(3000)))
    most: int = 0
    async with running(store, spec(fast), spec(slow), queues={"fast": 1, "slow": 1}, concurrency=8) as worker:
        while worker.signals.counts["settled"] < 3040:
            for queue in await store.queues():
                if queue.name == "slow":
                    most = max(most, queue.running)
            await asyncio.sleep(0.01)
    assert 0 < most <= 8, "never more held than there are slots"


async def test_a_buffer_that_cannot_start_goes_back_within_seconds_uncounted(store: Store) -> None:
    gate = asyncio.Event()

    async def sometimes(slow: bool = False) -> None:
        if slow:
            await gate.wait()

    async with running(store, spec(sometimes), concurrency=4) as worker:
        await enqueue(store, *(new_job("sometimes") for _ in range(200)))
        await worker.settled(200)  # the lane is fast now
        slow = await enqueue(store, *(new_job("sometimes", {"slow": True}) for _ in range(4)))
        ids = await enqueue(store, *(new_job("sometimes") for _ in range(50)))
        await worker.settled(200 + 1)  # something was given back
        await eventually(lambda: all_in(store, ids, State.READY))
        jobs = [await record(store, job_id) for job_id in ids]
        assert {(job.state, job.attempt) for job in jobs} == {(State.READY, 0)}
        gate.set()
        await eventually(lambda: all_in(store, [*slow, *ids], State.SUCCEEDED))
        assert {(await record(store, job_id)).attempt for job_id in ids} == {1}


async def test_delayed_jobs_start_when_they_are_due_not_at_the_next_poll(store: Store) -> None:
    started: list[float] = []

    async def note() -> None:
        started.append(time.monotonic())

    async with running(store, spec(note)) as worker:
        await worker.signals.wait_for("renewed")
        began = time.monotonic()
        await enqueue(store, new_job("note", delay=3 * SECOND // 10))
        await worker.settled(1)
    assert 0.3 <= started[0] - began < 0.3 + 0.15


async def test_a_paused_queue_gives_nothing_until_it_is_resumed(store: Store) -> None:
    async def noop() -> None: ...

    await store.pause(LimitScope.QUEUE, "default", paused=True)
    async with running(store, spec(noop)) as worker:
        (job_id,) = await enqueue(store, new_job("noop"))
        await worker.signals.wait_for("idle", 2)
        assert (await record(store, job_id)).state is State.READY
        await store.pause(LimitScope.QUEUE, "default", paused=False)
        await worker.settled(1)


async def make_fast(store: Store, worker: Running, task: str, queue: str) -> None:
    """Run jobs, until the worker claims 20 ahead; on a busy machine what does nothing may take its time."""
    while worker.worker._lanes.of("").ahead(queue, time.monotonic()) < 20:
        done = worker.signals.counts["settled"]
        await enqueue(store, *(new_job(task, queue=queue) for _ in range(40)))
        await worker.settled(done + 40)


@pytest.mark.parametrize("scope", [LimitScope.QUEUE, LimitScope.TASK])
async def test_what_waits_for_a_slot_goes_back_at_once_when_it_is_paused(
    store: Store, monkeypatch: pytest.MonkeyPatch, scope: LimitScope
) -> None:
    monkeypatch.setattr("windlass.engine.runner.BUFFER_PATIENCE", 3600.0)  # nothing else gives it back
    gate = asyncio.Event()

    async def sometimes(slow: bool = False) -> None:
        if slow:
            await gate.wait()

    async def other() -> None: ...

    name = "default" if scope is LimitScope.QUEUE else "sometimes"
    queues = {"default": 1, "other": 1}
    async with running(store, spec(sometimes), spec(other), queues=queues, concurrency=4) as worker:
        await make_fast(store, worker, "sometimes", "default")
        await make_fast(store, worker, "other", "other")
        slow = await enqueue(store, *(new_job("sometimes", {"slow": True}) for _ in range(4)))
        await eventually(lambda: all_in(store, slow, State.RUNNING))
        ids = await enqueue(store, *(new_job("sometimes") for _ in range(20)))
        others = await enqueue(store, *(new_job("other", queue="other") for _ in range(20)))
        await eventually(lambda: all_in(store, [*ids, *others], State.RUNNING))
        began = time.monotonic()
        await store.pause(scope, name, paused=True)
        await eventually(lambda: all_in(store, ids, State.READY))
        assert time.monotonic() - began < 1
        assert await all_in(store, slow, State.RUNNING), "what runs goes on"
        assert await all_in(store, others, State.RUNNING), "what is not paused stays where it is"
        assert {(await record(store, job_id)).attempt for job_id in ids} == {0}, "uncounted"
        gate.set()
        await eventually(lambda: all_in(store, [*slow, *others], State.SUCCEEDED))
        assert await all_in(store, ids, State.READY)
        await store.pause(scope, name, paused=False)
        await eventually(lambda: all_in(store, ids, State.SUCCEEDED))


async def test_a_pause_from_another_process_is_heard_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("windlass.engine.runner.BUFFER_PATIENCE", 3600.0)
    gate = asyncio.Event()

    async def sometimes(slow: bool = False) -> None:
        if slow:
            await gate.wait()

    store = SQLiteStore(tmp_path / "w.db")
    await store.connect()
    async with running(store, spec(sometimes), concurrency=4) as worker:
        await make_fast(store, worker, "sometimes", "default")
        slow = await enqueue(store, *(new_job("sometimes", {"slow": True}) for _ in range(4)))
        await eventually(lambda: all_in(store, slow, State.RUNNING))
        ids = await enqueue(store, *(new_job("sometimes") for _ in range(20)))
        await eventually(lambda: all_in(store, ids, State.RUNNING))
        command = [sys.executable, "-m", "windlass", "queues", "pause", "default", "--url", store.url]
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.DEVNULL)
        assert await process.wait() == 0
        began = time.monotonic()
        await eventually(lambda: all_in(store, ids, State.READY))
        assert time.monotonic() - began < 1
        gate.set()
        await eventually(lambda: all_in(store, slow, State.SUCCEEDED))
    await store.aclose()


async def test_a_claim_whose_answer_comes_after_the_pause_goes_back_too(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("windlass.engine.runner.BUFFER_PATIENCE", 3600.0)
    gate = asyncio.Event()

    async def sometimes(slow: bool = False) -> None:
        if slow:
            await gate.wait()

    switch = Switch(store)
    async with running(switch, spec(sometimes), concurrency=4) as worker:  # type: ignore[arg-type]
        await make_fast(store, worker, "sometimes", "default")
        slow = await enqueue(store, *(new_job("sometimes", {"slow": True}) for _ in range(4)))
        await eventually(lambda: all_in(store, slow, State.RUNNING))
        switch.hold = asyncio.Event()
        ids = await enqueue(store, *(new_job("sometimes") for _ in range(20)))
        await eventually(lambda: all_in(store, ids, State.RUNNING))  # in the store; the answer is on its way
        await store.pause(LimitScope.QUEUE, "default", paused=True)
        switch.hold.set()

        async def are_back() -> bool:
            # A hint may be lost: then all goes back for having waited, which this test puts off.
            await store.pause(LimitScope.QUEUE, "default", paused=True)
            return await all_in(store, ids, State.READY)

        await eventually(are_back)
        gate.set()


async def test_a_limited_queue_runs_no_more_than_it_may_at_once(store: Store) -> None:
    now = most = 0

    async def busy() -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.01)
        now -= 1

    await store.put_limit(Limit(scope=LimitScope.QUEUE, name="default", concurrency=3))
    async with running(store, spec(busy)) as worker:
        await enqueue(store, *(new_job("busy") for _ in range(60)))
        await worker.settled(60)
    assert most == 3
