"""Sessions, leases, lost answers, outages: what happens when something goes wrong around an attempt. Lease: 1 s."""

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvloop

from tests.integration.engine_harness import (
    LEASE,
    State,
    Switch,
    all_in,
    enqueue,
    eventually,
    new_job,
    new_session,
    record,
    running,
    spec,
)
from windlass.context import current
from windlass.core.clock import SECOND
from windlass.core.model import ClaimRequest, Lane, Settings
from windlass.core.records import JobRecord
from windlass.engine import suspects
from windlass.store.port import Store
from windlass.store.sqlite import SQLiteStore

ANY = (Lane("default"),)


@contextmanager
def another_worker(store: Store) -> Iterator[None]:
    """Run a worker with no tasks in a thread and a loop of its own: somebody who would reap."""
    stop = threading.Event()
    ready = threading.Event()

    async def work() -> None:
        twin = store.twin()
        async with running(twin, queues={"elsewhere": 1}):
            ready.set()
            await asyncio.to_thread(stop.wait)
        await twin.aclose()

    thread = threading.Thread(target=lambda: asyncio.run(work()))
    thread.start()
    assert ready.wait(10)
    try:
        yield
    finally:
        stop.set()
        thread.join(20)


async def claim_and_vanish(store: Store, *, times: int = 1) -> None:
    """Be a worker that claims everything and dies, so many times, reaped by hand each time."""
    for _ in range(times):
        session = new_session()
        await store.open(session)
        assert (await store.claim(session.id, ClaimRequest(1, ANY))).jobs
        await store.close(session.id)


async def test_jobs_of_a_dead_worker_are_run_by_another_within_two_leases(store: Store) -> None:
    async def work() -> int:
        return 1

    session = new_session()
    await store.open(session)
    (job_id,) = await enqueue(store, new_job("work"))
    await store.claim(session.id, ClaimRequest(1, ANY))
    began = time.monotonic()
    async with running(store, spec(work)) as worker:
        await worker.signals.wait_for("reaped", 1)
        await worker.settled(1)
        job = await record(store, job_id)
    assert time.monotonic() - began < 5, "15 s of a lease of 9 is 1.7 of a lease of 1, and this machine is slow"
    assert (job.state, job.attempt, job.losses, job.failures) == (State.SUCCEEDED, 2, 1, 0)


async def test_a_blocked_loop_is_not_robbed(store: Store) -> None:
    async def blocks() -> int:
        time.sleep(3 * LEASE / SECOND)  # noqa: ASYNC251 - the point of the test
        return 1

    async with running(store, spec(blocks)) as worker:
        with another_worker(store):
            (job_id,) = await enqueue(store, new_job("blocks"))
            await worker.settled(1)
            job = await record(store, job_id)
    assert (job.state, job.attempt, job.losses) == (State.SUCCEEDED, 1, 0)


def test_who_runs_beside_a_blocked_loop_goes_on(tmp_path: Path) -> None:
    """The lease was renewed all the while, by the heartbeat's thread; the loop hears of it only when it turns again.
    That it does not take the lease for over first depends on the kind of loop: workers run on this one."""

    async def blocks() -> None:
        time.sleep(2 * LEASE / SECOND)  # noqa: ASYNC251 - the point of the test

    async def waits() -> None:
        await asyncio.sleep(2.5 * LEASE / SECOND)

    async def both() -> tuple[JobRecord, bool]:
        store = SQLiteStore(tmp_path / "w.db", Settings(lease=LEASE))
        async with running(store, spec(blocks), spec(waits)) as worker:
            (job_id,) = await enqueue(store, new_job("waits"))
            await worker.signals.wait_for("claimed")
            await enqueue(store, new_job("blocks"))
            await worker.settled(2)
            job = await record(store, job_id)
        await store.aclose()
        return job, bool(worker.signals.counts["lease-over"])

    job, lease_was_over = uvloop.run(both())
    assert (job.state, job.attempt, job.failures, job.losses) == (State.SUCCEEDED, 1, 0, 0)
    assert not lease_was_over


async def test_a_hung_loop_gives_its_lease_up_and_says_so(store: Store) -> None:
    hung = threading.Event()

    async def hangs() -> None:
        time.sleep(4 * LEASE / SECOND)  # noqa: ASYNC251 - the point of the test

    async with running(store, spec(hangs, timeout=SECOND // 5), grace=0.2, on_hung=hung.set, stop_grace=0) as worker:
        await worker.signals.wait_for("renewed")
        with another_worker(store):
            (job_id,) = await enqueue(store, new_job("hangs"))
            await worker.settled(1)
            assert hung.is_set()
            job = await record(store, job_id)
    assert (job.losses, job.failures) == (1, 0), "the other worker took it back; the late outcome was refused"


async def test_a_lost_claim_answer_is_unclaimed_and_the_job_runs_once(store: Store) -> None:
    runs: list[int] = []

    async def work() -> None:
        runs.append(1)

    switch = Switch(store)
    ids = await enqueue(store, *(new_job("work") for _ in range(20)))
    switch.lose.append("claim")
    async with running(switch, spec(work)) as worker:  # type: ignore[arg-type]
        await worker.signals.wait_for("unclaimed")
        await worker.settled(20)
        jobs = [await record(store, job_id) for job_id in ids]
    assert len(runs) == 20
    assert {(job.state, job.token, job.attempt) for job in jobs} == {(State.SUCCEEDED, 2, 1)}


async def test_a_lost_settle_answer_is_settled_again_without_a_claim_and_counts_once(store: Store) -> None:
    async def work() -> int:
        return 5

    switch = Switch(store)
    async with running(switch, spec(work)) as worker:  # type: ignore[arg-type]
        await worker.signals.wait_for("idle")
        switch.lose.append("settle")
        (job_id,) = await enqueue(store, new_job("work"))
        await worker.settled(1)
        job = await record(store, job_id)
    assert (job.state, job.token, job.failures) == (State.SUCCEEDED, 1, 0)
    settles = switch.named("settle")
    assert len(settles) >= 2
    assert settles[0][1] == settles[1][1], "the same settlements"
    assert settles[0][2] is not None, "a claim went with the lost answer"
    assert switch.named("unclaim"), "it was given back"
    assert settles[1][2] is None, "none goes with a settle that is repeated"


async def test_an_outage_longer_than_the_lease_cancels_attempts_and_loses_nothing(store: Store) -> None:
    cancelled: asyncio.Future[float] = asyncio.get_running_loop().create_future()
    runs: list[int] = []
    away = asyncio.Event()

    async def work() -> None:
        runs.append(1)
        if len(runs) == 1:
            away.set()
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                cancelled.set_result(time.monotonic())
                raise

    switch = Switch(store)
    async with running(switch, spec(work)) as worker:  # type: ignore[arg-type]
        (job_id,) = await enqueue(store, new_job("work"))
        await asyncio.wait_for(away.wait(), 10)
        await worker.signals.wait_for("renewed", worker.signals.counts["renewed"] + 1)
        began = time.monotonic()
        switch.away = True
        await worker.signals.wait_for("lease-over")
        assert await cancelled - began < 2 * LEASE / SECOND, "at the lease's end, counted from the last good renewal"
        switch.away = False
        await worker.settled(2)
        job = await record(store, job_id)
    assert len(runs) == 2
    assert (job.state, job.failures) == (State.SUCCEEDED, 0)


async def test_a_revoked_worker_cancels_its_attempts_and_goes_on_in_a_new_session(store: Store) -> None:
    cancelled = asyncio.Event()

    async def waits() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async def fine() -> None: ...

    async with running(store, spec(waits), spec(fine)) as worker:
        await enqueue(store, new_job("waits", queue="default", priority=0))
        await worker.signals.wait_for("claimed", 1)
        (session,) = await store.sessions()
        await store.close(session.session.id)
        await asyncio.wait_for(cancelled.wait(), 10)
        await worker.signals.wait_for("opened", 2)
        (job_id,) = await enqueue(store, new_job("fine", priority=9))
        await eventually(lambda: all_in(store, [job_id], State.SUCCEEDED))
        assert [found.session.id for found in await store.sessions()] != [session.session.id]


async def test_a_suspect_runs_alone_and_its_neighbours_wait(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suspects, "PATIENCE", 0.3)
    beside: list[int] = []
    now_running = 0

    async def work(suspect: bool = False) -> None:
        nonlocal now_running
        now_running += 1
        await asyncio.sleep(0.05)
        if suspect:
            beside.append(now_running)
        now_running -= 1

    (job_id,) = await enqueue(store, new_job("work", {"suspect": True}))
    await lose_twice(store)
    assert (await record(store, job_id)).suspect
    others = await enqueue(store, *(new_job("work") for _ in range(30)))
    async with running(store, spec(work), concurrency=5) as worker:
        await worker.settled(31, timeout=30)
        states = {(await record(store, other)).state for other in [job_id, *others]}
    assert states == {State.SUCCEEDED}
    assert beside == [1]


async def lose_twice(store: Store) -> None:
    """Let two sessions that claimed everything run out and be reaped."""
    for _ in range(2):
        session = new_session()
        await store.open(session)
        answer = await store.claim(session.id, ClaimRequest(1, ANY))
        assert answer.jobs
        async with asyncio.timeout(10):
            while True:
                signs = [sign for sign in await store.observe() if sign.id == session.id and sign.lease_left < 0]
                if signs and (await store.reap(signs)).done:
                    break
                await asyncio.sleep(0.05)


async def test_stop_finishes_what_fits_and_gives_back_what_does_not(store: Store) -> None:
    started = asyncio.Event()

    async def quick() -> None:
        started.set()
        await asyncio.sleep(0.3)

    async def slow() -> None:
        await asyncio.sleep(60)

    ids = await enqueue(store, new_job("quick"), new_job("slow"), new_job("slow"))
    async with running(store, spec(quick), spec(slow), concurrency=2) as worker:
        await asyncio.wait_for(started.wait(), 10)
        await worker.worker.stop(1.0)
        quick_job, slow_job, never = [await record(store, job_id) for job_id in ids]
        assert await store.sessions() == []
    assert quick_job.state is State.SUCCEEDED
    assert (slow_job.state, slow_job.failures, slow_job.attempt) == (State.READY, 0, 1)
    assert (never.state, never.attempt) == (State.READY, 0)
    assert slow_job.sequence is not None
    assert never.sequence is not None
    assert slow_job.sequence < never.sequence, "back at its old position"


async def test_a_claim_under_way_when_the_worker_stops_is_given_back_at_once(store: Store) -> None:
    async def work() -> None: ...

    switch = Switch(store)
    async with running(switch, spec(work)) as worker:  # type: ignore[arg-type]
        await worker.signals.wait_for("idle")
        switch.hold = asyncio.Event()
        (job_id,) = await enqueue(store, new_job("work"))
        await eventually(lambda: is_state(store, job_id, State.RUNNING))
        began = time.monotonic()
        stopping = asyncio.ensure_future(worker.worker.stop(20))
        await asyncio.sleep(0)
        switch.hold.set()
        await stopping
        assert time.monotonic() - began < 5, "it did not sit out its grace time for a job that never started"
        job = await record(store, job_id)
    assert (job.state, job.attempt) == (State.READY, 0)


async def is_state(store: Store, job_id: bytes, state: State) -> bool:
    return (await record(store, job_id)).state is state


async def test_a_second_stop_hurries_the_first(store: Store) -> None:
    async def slow() -> None:
        await asyncio.sleep(60)

    (job_id,) = await enqueue(store, new_job("slow"))
    async with running(store, spec(slow)) as worker:
        await worker.signals.wait_for("claimed")
        began = time.monotonic()
        await asyncio.gather(worker.worker.stop(30), worker.worker.stop(0))
        assert time.monotonic() - began < 10
        job = await record(store, job_id)
    assert (job.state, job.failures) == (State.READY, 0)


async def test_a_stuck_thread_is_given_back_at_the_end_of_the_grace(store: Store) -> None:
    release = threading.Event()

    def stuck() -> None:
        release.wait(30)

    (job_id,) = await enqueue(store, new_job("stuck"))
    async with running(store, spec(stuck)) as worker:
        await worker.signals.wait_for("claimed")
        await worker.worker.stop(0.1)
        job = await record(store, job_id)
        release.set()
    assert (job.state, job.failures, job.losses) == (State.READY, 0, 0)


async def test_commands_reach_the_worker_through_the_store(store: Store) -> None:
    async with running(store) as worker:
        (session,) = await store.sessions()
        assert await store.command(session.session.id, "stop")
        await asyncio.wait_for(worker.worker.wait(), 10)


async def test_a_stop_that_is_cancelled_stops_the_worker_all_the_same(store: Store) -> None:
    async def slow() -> None:
        await asyncio.sleep(60)

    (job_id,) = await enqueue(store, new_job("slow"))
    async with running(store, spec(slow)) as worker:
        await worker.signals.wait_for("claimed")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await worker.worker.stop(30)
        job = await record(store, job_id)
        assert await store.sessions() == []
        await worker.worker.stop(0)
    assert (job.state, job.failures) == (State.READY, 0)


async def test_nobody_closes_the_store_under_a_worker(store: Store) -> None:
    async def work() -> None: ...

    shared = store.twin()
    async with running(shared, spec(work)) as worker:
        await shared.aclose()
        await enqueue(store, new_job("work"))
        await worker.settled(1)


@pytest.mark.parametrize("kind", ["coroutine", "function"])
async def test_what_a_task_raises_because_the_worker_stops_is_no_failure(store: Store, kind: str) -> None:
    async def coroutine() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            raise ConnectionError("my client library turns cancellation into this") from None

    def function() -> None:
        current().wait_cancelled(60)
        raise RuntimeError("I was asked to end")

    (job_id,) = await enqueue(store, new_job(kind))
    async with running(store, spec(coroutine), spec(function)) as worker:
        await worker.signals.wait_for("claimed")
        await worker.worker.stop(0)
        job = await record(store, job_id)
    assert (job.state, job.failures, job.attempt) == (State.READY, 0, 1)


async def test_more_dead_sessions_than_one_call_may_name_are_all_reaped(store: Store) -> None:
    async def work() -> None: ...

    ids = await enqueue(store, *(new_job("work") for _ in range(1100)))
    for _ in range(1100):
        session = new_session()
        await store.open(session)
        await store.claim(session.id, ClaimRequest(1, (Lane("default", until=1),)))
    async with running(store, spec(work)) as worker:
        await worker.signals.wait_for("reaped", 1100, timeout=30)
        await eventually(lambda: all_in(store, ids[:1000], State.SUCCEEDED), timeout=20)


async def test_a_heartbeat_that_fails_begins_anew(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None: ...

    failures = 2
    renew = type(store).renew

    async def shaky(self: Store, *args: Any) -> Any:
        nonlocal failures
        if failures:
            failures -= 1
            raise OSError("too many open files")
        return await renew(self, *args)

    monkeypatch.setattr(type(store), "renew", shaky)
    async with running(store, spec(work)) as worker:
        await worker.signals.wait_for("renewed")
        await enqueue(store, new_job("work"))
        await worker.settled(1)
    assert failures == 0
