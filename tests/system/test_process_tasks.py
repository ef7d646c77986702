"""Tasks in child processes, on one worker: what works, and what tasks that do their worst come to."""

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import pytest_asyncio

from tests.system import process_app as tasks
from tests.system.process_app import app
from windlass import ChildProcesses, Job, JobCancelled, JobInfo, ProcessDied, RemoteError, Retry
from windlass.core.ids import new_id, to_text
from windlass.core.model import MAX_LOG, NewJob
from windlass.engine.process_pool.child import HEED

pytestmark = pytest.mark.asyncio(loop_scope="module")
TIMEOUT = 20


@pytest_asyncio.fixture(scope="module", loop_scope="module", autouse=True)
async def worker(process_url: str) -> AsyncIterator[None]:
    """A worker with two children, for all tests here: each leaves it as good as it was."""
    async with app.worker(["processes"], grace=0, children=ChildProcesses(slots=2)):
        yield
    await app.aclose()


async def info(job: Job[Any]) -> JobInfo:
    return await job.info()


async def until(condition: Callable[[], object], what: str) -> None:
    """Wait for a condition that nobody announces."""
    async with asyncio.timeout(TIMEOUT):
        while not condition():  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.005)


async def still_works() -> None:
    """Both slots take work, and nothing of the worker is lost."""
    jobs = await app.enqueue_many(tasks.add.bind(n, 1) for n in range(6))
    assert [await job.result(timeout=TIMEOUT) for job in jobs] == [1, 2, 3, 4, 5, 6]


def is_gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


# -------------------------------------------------------------------------------------------- what works


async def test_attempts_run_in_a_process_that_stays() -> None:
    pids = {await (await tasks.pid.enqueue()).result(timeout=TIMEOUT) for _ in range(5)}
    assert len(pids) == 1, "one at a time: one process is enough, and it is kept"
    assert os.getpid() not in pids
    assert await (await tasks.pid_of_coroutine.enqueue()).result(timeout=TIMEOUT) != os.getpid()
    assert await (await tasks.pid_here.enqueue()).result(timeout=TIMEOUT) == os.getpid()


async def test_as_many_run_at_once_as_there_are_slots(tmp_path: Path) -> None:
    jobs = await app.enqueue_many(tasks.meet.bind(str(tmp_path), 2) for _ in range(2))
    assert len({await job.result(timeout=TIMEOUT) for job in jobs}) == 2


async def stored(task: str, payload: bytes) -> Job[Any]:
    """A job that no producer of this app would store."""
    store = await app.store()
    job = NewJob(id=new_id(), task=task, payload=payload, queue="processes", requires="process")
    await store.enqueue([job], first_sent=await store.now())
    return app.job(to_text(job.id))


async def test_an_alias_is_as_good_as_the_name() -> None:
    assert await (await stored("plus", b'{"a":1,"b":2}')).result(timeout=TIMEOUT) == 3


async def test_the_context_is_that_of_the_attempt() -> None:
    job = await tasks.told.enqueue()
    told = {"job": job.id, "attempt": 1, "queue": "processes", "task": "told"}
    assert await job.result(timeout=TIMEOUT) == told
    kept = await info(job)
    assert (kept.progress, kept.message, kept.log) == (0.5, "half", "a line of its own\n")


async def test_hooks_run_where_the_task_runs() -> None:
    job = await tasks.hooked.options(headers={"colour": "red"}).enqueue()
    (*_, before) = await job.result(timeout=TIMEOUT)
    event, task, colour, pid = before.split()
    assert (event, task, colour) == ("before", "hooked", "red")
    assert int(pid) != os.getpid()
    assert not tasks.hooks.calls or all(call.endswith(f" {os.getpid()}") for call in tasks.hooks.calls)
    (*_, after, _) = await (await tasks.hooked.enqueue()).result(timeout=TIMEOUT)
    assert after == f"after hooked NoneType {pid}"


async def test_large_arguments_and_results_pass() -> None:
    text = "x" * 12 * 2**20
    jobs = await app.enqueue_many(tasks.echo.bind(text) for _ in range(3))
    for job in jobs:
        assert await job.result(timeout=TIMEOUT) == text


async def test_what_is_printed_is_in_the_log_however_it_is_printed() -> None:
    spoken = await tasks.speak.enqueue()
    await spoken.result(timeout=TIMEOUT)
    silent = await tasks.pid.enqueue()
    await silent.result(timeout=TIMEOUT)
    lines = set((await info(spoken)).log.splitlines())
    said = {"by print", "to stderr", "by logging", "by write \\xff\\x00", "by C", "by a program"}
    assert said <= lines
    assert (await info(silent)).log == ""


async def test_children_inherit_nothing_of_the_worker() -> None:
    inherited = await (await tasks.inherited.enqueue()).result(timeout=TIMEOUT)
    assert not [name for name in inherited if "jobs.db" in name]
    # Both ends of a pipe have one name, those of a socket pair two.
    shared = set(inherited) & set(tasks.descriptors()) - {"/dev/null"}
    kinds = Counter(name.partition(":")[0] for name in shared if "eventpoll" not in name)
    assert kinds == {"pipe": 3}, "output, control, last words"


async def test_arguments_are_checked_in_the_child_and_never_reach_the_function() -> None:
    job = await stored("add", b'{"a":"x","b":2}')
    async with asyncio.timeout(TIMEOUT):
        while not (errors := (await info(job)).errors):  # noqa: ASYNC110 - the store is asked
            await asyncio.sleep(0.01)
    assert "InvalidArguments" in errors[0]
    assert "`a`" in errors[0]
    await job.cancel()


# ------------------------------------------------------------------------------------------------ deaths


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (tasks.segfault.bind(), "was killed by signal 11 (SIGSEGV)"),
        (tasks.exit_now.bind(3), "exited with code 3"),
        (tasks.exit_now.bind(0), "exited with code 0"),
        (
            tasks.die_by.bind(signal.SIGKILL),
            "was killed by signal 9 (SIGKILL), as the kernel does when memory runs out",
        ),
        (tasks.die_by.bind(signal.SIGABRT), "was killed by signal 6 (SIGABRT)"),
        (tasks.close_all.bind(), "lost its connection to the worker"),
        (tasks.babble.bind(), "sent what is no message"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.task,
)
async def test_a_process_that_dies_is_a_failed_attempt_and_hurts_nobody(call: Any, message: str) -> None:
    neighbour = await tasks.pid.enqueue(0.5)
    job = await call.enqueue()
    with pytest.raises(ProcessDied, match="the process that ran the task") as caught:
        await job.result(timeout=TIMEOUT)
    assert message in str(caught.value)
    assert isinstance(caught.value, RemoteError)
    assert await neighbour.result(timeout=TIMEOUT)
    found = await info(job)
    assert (found.status, found.failures, found.losses, found.attempt) == ("dead", 1, 0, 1)
    assert (await info(neighbour)).attempt == 1
    await still_works()


async def test_a_crash_says_where_it_was() -> None:
    with pytest.raises(ProcessDied) as caught:
        await (await tasks.segfault.enqueue()).result(timeout=TIMEOUT)
    assert "Segmentation fault" in str(getattr(caught.value, "traceback", ""))
    assert "in segfault" in str(getattr(caught.value, "traceback", ""))


async def test_hooks_of_the_worker_hear_of_a_death() -> None:
    tasks.hooks.calls.clear()
    with pytest.raises(ProcessDied):
        await (await tasks.segfault.enqueue()).result(timeout=TIMEOUT)
    assert tasks.hooks.calls == [f"failed segfault ProcessDied True {os.getpid()}"]


async def test_a_coroutine_in_a_process_knows_its_own_attempt() -> None:
    jobs = [await tasks.whose.enqueue() for _ in range(3)]
    assert [await job.result(timeout=TIMEOUT) for job in jobs] == [job.id for job in jobs]


async def test_a_death_counts_under_the_retry_policy() -> None:
    job = await tasks.exit_now.options(retry=Retry(attempts=3, delay=0)).enqueue(1)
    with pytest.raises(ProcessDied):
        await job.result(timeout=TIMEOUT)
    found = await info(job)
    assert (found.failures, found.attempt, len(found.errors)) == (3, 3, 3)


# --------------------------------------------------------------------------------- timeouts, cancellation


async def test_a_function_that_overruns_is_interrupted_and_cleans_up(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    with pytest.raises(TimeoutError, match="ran longer than its timeout") as caught:
        await (await tasks.nap.options(timeout=0.5).enqueue(str(mark))).result(timeout=TIMEOUT)
    assert mark.read_text() == "cleaned up"
    *_, place, _ = str(getattr(caught.value, "traceback", "")).splitlines()
    assert place.strip() == "time.sleep(seconds)"
    await still_works()


async def test_so_is_a_coroutine(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    with pytest.raises(TimeoutError):
        await (await tasks.nap_awaiting.options(timeout=0.5).enqueue(str(mark))).result(timeout=TIMEOUT)
    assert mark.read_text() == "cleaned up"


@pytest.mark.parametrize("task", [tasks.spin, tasks.hold], ids=["without the lock", "with the lock"])
async def test_c_code_that_overruns_is_killed(task: Any) -> None:
    job = await task.options(timeout=0.2).enqueue()
    began = time.monotonic()
    with pytest.raises(TimeoutError, match="ran longer") as caught:
        await job.result(timeout=TIMEOUT)
    assert time.monotonic() - began < 0.2 + HEED + 5
    assert f"in {job.id and task.name}" in str(getattr(caught.value, "traceback", ""))
    await still_works()


async def test_nothing_is_left_of_a_task_that_will_not_end(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    job = await tasks.stubborn.options(timeout=0.5).enqueue(str(mark))
    with pytest.raises(TimeoutError):
        await job.result(timeout=TIMEOUT)
    process, program = map(int, mark.read_text().split())
    await until(lambda: is_gone(process) and is_gone(program), "the process and what it had started to end")
    await still_works()


async def test_a_cancelled_job_ends_at_once_if_it_can(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    job = await tasks.nap.enqueue(str(mark))
    await until(mark.exists, "the task to start")
    await job.cancel()
    with pytest.raises(JobCancelled):
        await job.result(timeout=TIMEOUT)
    await until(lambda: mark.read_text() == "cleaned up", "the task to clean up")
    await still_works()


async def test_a_cancelled_job_ends_whatever_it_does() -> None:
    job = await tasks.spin.enqueue()
    async with asyncio.timeout(TIMEOUT):
        while await job.status() != "running":  # noqa: ASYNC110 - the store is asked
            await asyncio.sleep(0.01)
    await job.cancel()
    with pytest.raises(JobCancelled):
        await job.result(timeout=TIMEOUT)
    await still_works()


async def test_the_slots_of_tasks_that_are_killed_are_usable_at_once() -> None:
    """Two that spin hold both slots. Their successors start while they are given time to end."""
    spinning = await app.enqueue_many(tasks.spin.options(timeout=0.2).bind() for _ in range(2))
    for job in spinning:
        with pytest.raises(TimeoutError):
            await job.result(timeout=TIMEOUT)
    killed_at = [(await info(job)).finished_at.timestamp() for job in spinning]
    successors = [await (await tasks.pid.enqueue()).result(timeout=TIMEOUT) for _ in range(2)]
    assert max(map(began_at, successors)) < min(killed_at) - HEED / 2


def began_at(pid: int) -> float:
    """When a process was started, by the clock on the wall. (What psutil says may be wrong by a second.)"""
    ticks = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + ticks / os.sysconf("SC_CLK_TCK")


# ------------------------------------------------------------------------------------------- misbehaviour


async def test_a_task_that_forks_has_one_result() -> None:
    jobs = await app.enqueue_many(tasks.fork_and_return.bind() for _ in range(4))
    assert all([await job.result(timeout=TIMEOUT) > 0 for job in jobs])
    await still_works()


async def test_what_a_task_leaves_behind_ends_with_its_process() -> None:
    process, left = await (await tasks.fork_and_stay.enqueue()).result(timeout=TIMEOUT)
    assert not is_gone(left), "as long as the process is there, so is what it started"
    os.kill(process, signal.SIGKILL)
    await until(lambda: is_gone(left), "what the task left behind to end")
    await still_works()


async def test_gigabytes_of_output_block_nobody_and_fill_nothing() -> None:
    before = psutil.Process().memory_info().rss
    job = await tasks.print_much.enqueue(512)
    neighbour = await tasks.pid_here.enqueue()
    await neighbour.result(timeout=TIMEOUT)
    await job.result(timeout=TIMEOUT)
    log = (await info(job)).log
    assert len(log) <= MAX_LOG
    assert log.endswith("the end\n")
    assert psutil.Process().memory_info().rss - before < 64 * 2**20


async def test_reports_without_end_block_nobody() -> None:
    job = await tasks.report_much.enqueue(50_000)
    await job.result(timeout=TIMEOUT)
    found = await info(job)
    assert (found.progress, found.message) == (1, "done")
