"""The children of a worker: how many there are, what they are given, and when they are replaced."""

import asyncio
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import pytest_asyncio

from tests.system import process_app as tasks
from tests.system.process_app import app
from tests.system.supervised import wait_until
from windlass import ChildProcesses, Job, ProcessDied
from windlass.core.ids import new_id, to_text
from windlass.core.model import NewJob
from windlass.engine.lanes import BUFFER_PATIENCE

TIMEOUT = 20
MIB = 2**20


@pytest_asyncio.fixture(autouse=True)
async def closed(process_url: str) -> AsyncIterator[None]:
    yield
    await app.aclose()


def worker(slots: int = 1, grace: float = 0, **children: Any) -> Any:
    return app.worker(["processes"], grace=grace, children=ChildProcesses(slots=slots, **children))


async def results(jobs: list[Job[Any]]) -> list[Any]:
    return [await job.result(timeout=TIMEOUT) for job in jobs]


async def until(job: Job[Any], status: str) -> None:
    """Wait until a job is in this state, which nobody announces."""
    async with asyncio.timeout(TIMEOUT):
        while await job.status() != status:  # noqa: ASYNC110 - the store is asked
            await asyncio.sleep(0.01)


def children() -> set[int]:
    """The process ids of all children of this process that are what this is about."""
    return {
        process.pid
        for process in psutil.Process().children()
        if process.status() != psutil.STATUS_ZOMBIE and "process_pool" in " ".join(process.cmdline())
    }


# ----------------------------------------------------------------------------------------------- how many


async def test_none_is_started_before_there_is_work_and_none_stays_behind(tmp_path: Path) -> None:
    async with worker(slots=4):
        assert await (await tasks.pid_here.enqueue()).result(timeout=TIMEOUT)
        assert not children()
        first = await (await tasks.pid.enqueue()).result(timeout=TIMEOUT)
        assert children() == {first}, "one job needs one"
        at_once = set(await results(await app.enqueue_many(tasks.meet.bind(str(tmp_path), 4) for _ in range(6))))
        assert children() == at_once
        assert len(at_once) == 4
    assert not children()


async def test_one_that_dies_with_nothing_to_do_is_replaced() -> None:
    async with worker():
        first = await (await tasks.pid.enqueue()).result(timeout=TIMEOUT)
        os.kill(first, signal.SIGKILL)
        second = await (await tasks.pid.enqueue()).result(timeout=TIMEOUT)
        assert second != first


async def test_a_job_that_a_dying_process_never_read_is_not_blamed() -> None:
    async with worker():
        first = await (await tasks.pid.enqueue()).result(timeout=TIMEOUT)
        os.kill(first, signal.SIGSTOP)
        job = await tasks.pid.enqueue()
        await until(job, "running")
        os.kill(first, signal.SIGKILL)
        assert await job.result(timeout=TIMEOUT) != first
        info = await job.info()
    assert (info.attempt, info.failures) == (1, 0)


async def test_a_result_that_was_sent_before_the_process_died_counts() -> None:
    """The worker learns of both at once: its loop stands still meanwhile."""
    async with worker():
        child = await (await tasks.pid.enqueue()).result(timeout=TIMEOUT)
        job = await tasks.pid.enqueue(0.2)
        await until(job, "running")
        await asyncio.sleep(0.05)
        time.sleep(0.5)  # noqa: ASYNC251 - that is what it is about
        os.kill(child, signal.SIGKILL)
        wait_until(lambda: psutil.Process(child).status() == psutil.STATUS_ZOMBIE, "it to die")
        time.sleep(0.1)  # noqa: ASYNC251 - until the thread that waits for its end has said so
        assert await job.result(timeout=TIMEOUT) == child
        info = await job.info()
    assert (info.attempt, info.failures) == (1, 0)


async def test_an_attempt_finds_everything_as_it_should_be_whatever_the_one_before_did(tmp_path: Path) -> None:
    """In one process: streams closed and replaced, handlers reset."""
    async with worker():
        spoilt = {await (await task.enqueue()).result(timeout=TIMEOUT) for task in (tasks.close_standard, tasks.spoil)}
        speech = await tasks.speak.enqueue()
        spoilt.add(await speech.result(timeout=TIMEOUT))
        assert len(spoilt) == 1
        log = (await speech.info()).log
        assert all(line in log for line in ("by print", "to stderr", "by write", "by C", "by a program")), log
        mark = tmp_path / "mark"
        with pytest.raises(TimeoutError):
            await (await tasks.nap.options(timeout=0.5).enqueue(str(mark))).result(timeout=TIMEOUT)
        assert mark.read_text() == "cleaned up"


# -------------------------------------------------------------------------------------------- replacements


async def test_a_child_is_replaced_after_so_many_jobs() -> None:
    async with worker(slots=2, max_jobs=5):
        pids = Counter(await results(await app.enqueue_many(tasks.pid.bind() for _ in range(60))))
    assert max(pids.values()) <= 5
    assert len(pids) >= 12


async def test_one_job_for_each_child_if_somebody_wants_that() -> None:
    async with worker(max_jobs=1):
        assert len(set(await results(await app.enqueue_many(tasks.pid.bind() for _ in range(6))))) == 6


async def test_a_child_is_replaced_when_it_has_grown_too_large() -> None:
    async with worker(max_memory=150 * MIB):
        small = {await (await tasks.pid.enqueue()).result(timeout=TIMEOUT) for _ in range(3)}
        assert len(small) == 1
        await (await tasks.gorge.enqueue(200, keep=True)).result(timeout=TIMEOUT)
        after = {await (await tasks.pid.enqueue()).result(timeout=TIMEOUT) for _ in range(3)}
        assert len(after) == 1
        assert not after & small


async def test_beyond_its_limit_a_task_gets_a_memory_error_and_the_child_goes_on() -> None:
    async with worker(memory_limit=1024 * MIB):
        before = await (await tasks.pid.enqueue()).result(timeout=TIMEOUT)
        with pytest.raises(MemoryError) as caught:
            await (await tasks.gorge.enqueue(2048)).result(timeout=TIMEOUT)
        assert "in gorge" in str(getattr(caught.value, "traceback", ""))
        with pytest.raises(MemoryError):
            await (await tasks.nibble.enqueue()).result(timeout=TIMEOUT)
        assert await (await tasks.pid.enqueue()).result(timeout=TIMEOUT) == before


# ------------------------------------------------------------------------------------------ what they get


async def held() -> int:
    store = await app.store()
    return sum(record.running for record in await store.sessions())


async def test_a_worker_holds_no_more_than_it_has_processes_for_and_others_pass() -> None:
    """Long process jobs in front: the ordinary ones behind them in the same queue run, and no process job is held
    that could run elsewhere."""
    async with worker(slots=1):
        await (await tasks.pid.enqueue()).result(timeout=TIMEOUT)
        long = await app.enqueue_many(tasks.pid.bind(0.4) for _ in range(5))
        assert await results(await app.enqueue_many(tasks.pid_here.bind() for _ in range(20))) == [os.getpid()] * 20
        assert [await job.status() for job in long][-2:] == ["ready", "ready"], "they did not wait for the long ones"
        assert await held() <= 1
        async with worker(slots=4):
            assert len(set(await results(long))) >= 3, "another worker took its share"


async def stray(count: int) -> list[Job[Any]]:
    """Jobs of an app that did not know yet that the task wants a process."""
    store = await app.store()
    jobs = [NewJob(id=new_id(), task="pid", payload=b'{"seconds":0.4}', queue="processes") for _ in range(count)]
    await store.enqueue(jobs, first_sent=await store.now())
    return [app.job(to_text(job.id)) for job in jobs]


async def test_jobs_from_before_the_task_wanted_a_process_run_too_and_are_not_hoarded(tmp_path: Path) -> None:
    async with worker(slots=2):
        await results(await app.enqueue_many(tasks.meet.bind(str(tmp_path), 2) for _ in range(2)))
        jobs = await stray(8)
        await asyncio.sleep(BUFFER_PATIENCE + 0.5)
        assert await held() <= 4, "what could not start was given back"
        pids = await results(jobs)
        assert os.getpid() not in pids
        assert {(await job.info()).attempt for job in jobs} == {1}


async def test_a_job_that_waits_for_a_process_can_be_cancelled() -> None:
    async with worker(slots=1):
        await (await tasks.pid.enqueue()).result(timeout=TIMEOUT)
        busy, waiting = await stray(2)
        await until(waiting, "running")
        await waiting.cancel()
        assert await busy.result(timeout=TIMEOUT)
        await until(waiting, "cancelled")


# -------------------------------------------------------------------------------------------------- stops


async def test_a_stop_lets_jobs_finish_that_can_and_gives_back_the_others(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    async with worker(slots=2, grace=1.5):
        quick, slow = await tasks.pid.enqueue(0.8), await tasks.nap.enqueue(str(mark))
        await until(quick, "running")
        await until(slow, "running")
        await asyncio.to_thread(wait_until, mark.exists, "it to start")
    assert await quick.status() == "succeeded"
    assert mark.read_text() == "cleaned up"
    info = await slow.info()
    assert (info.status, info.attempt, info.failures, info.losses) == ("ready", 1, 0, 0)
    await slow.cancel()
    assert not children()


async def test_a_stop_is_not_held_up_by_c_code() -> None:
    async with worker():
        job = await tasks.spin.enqueue()
        await until(job, "running")
        began = time.monotonic()
    assert time.monotonic() - began < 5
    assert await job.status() == "ready"
    await job.cancel()
    assert not children()


async def test_a_crash_loop_harms_nobody() -> None:
    async with worker(slots=2):
        crashes = await app.enqueue_many(tasks.exit_now.bind(1) for _ in range(10))
        neighbours = await app.enqueue_many(tasks.add.bind(n, 1) for n in range(10))
        for job in crashes:
            with pytest.raises(ProcessDied):
                await job.result(timeout=TIMEOUT)
        assert await results(neighbours) == list(range(1, 11))


@pytest.mark.parametrize("limit", ["max_memory", "memory_limit"])
async def test_a_limit_that_leaves_no_room_for_jobs_is_a_reason_to_put_them_back(limit: str) -> None:
    async with worker(**{limit: 17 * MIB}):
        job = await tasks.pid.enqueue()
        async with asyncio.timeout(TIMEOUT):
            while not (errors := (await job.info()).errors):  # noqa: ASYNC110 - the store is asked
                await asyncio.sleep(0.01)
        assert f"{limit} of 17 MiB: a child of this app uses" in errors[0]
        await job.cancel()


async def test_nothing_is_left_of_children_that_died_or_were_replaced(tmp_path: Path) -> None:
    """Descriptors and threads of the worker's process."""

    def open_now() -> tuple[int, int]:
        return psutil.Process().num_fds(), threading.active_count()

    async with worker(slots=2, max_jobs=3):
        await results(await app.enqueue_many(tasks.meet.bind(str(tmp_path), 2) for _ in range(2)))
        before = open_now()
        crashes = await app.enqueue_many(tasks.exit_now.bind(1) for _ in range(10))
        spins = await app.enqueue_many(tasks.spin.options(timeout=0.1).bind() for _ in range(2))
        for job in [*crashes, *spins]:
            with pytest.raises((ProcessDied, TimeoutError)):
                await job.result(timeout=TIMEOUT)
        await results(await app.enqueue_many(tasks.pid.bind() for _ in range(20)))
        # What was replaced is still on its way out; and successors may be there already.
        await asyncio.to_thread(wait_until, lambda: len(children()) <= 4, "those replaced to end")
    after = open_now()
    assert after[0] <= before[0]
    assert after[1] <= before[1]
