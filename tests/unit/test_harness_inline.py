"""Inline mode, and the blocking verbs: jobs run in the caller's own thread."""

import asyncio
import threading
import time

import pytest

from windlass import App, BlockingCallInLoop, Retry, UsageError, current
from windlass.testing import Harness, NothingRuns

app = App("memory://")
ran: list[str] = []


@app.task
def function(name: str) -> str:
    ran.append(name)
    return threading.current_thread().name


@app.task
async def coroutine(name: str) -> str:
    await asyncio.sleep(0)
    ran.append(name)
    return threading.current_thread().name


@app.task
def parent() -> str:
    child = function.enqueue_sync("child")
    ran.append("parent")
    return child.result_sync()


@app.task
async def coroutine_parent() -> str:
    child = await function.enqueue("child")
    ran.append("parent")
    return await child.result()


@app.task
def fails() -> None:
    raise ValueError("of the task")


@app.task
def fails_inside() -> str:
    fails.enqueue_sync()
    return "went on"


@app.task(retry=Retry(attempts=2, delay=60))
def fails_once() -> int:
    if current().attempt == 1:
        raise OSError
    return current().attempt


@app.task(timeout=0.05)
def hangs() -> None:
    current().wait_cancelled(10)
    current().raise_if_cancelled()


@app.task
async def blocks() -> None:
    function.enqueue_sync("never")


@pytest.fixture(autouse=True)
def _forget() -> None:
    ran.clear()


def test_run_sync_runs_everything_in_this_thread() -> None:
    me = threading.current_thread().name
    with Harness(app) as harness:
        jobs = [function.enqueue_sync("f"), coroutine.enqueue_sync("c")]
        assert [one.outcome for one in harness.run_sync()] == ["succeeded", "succeeded"]
        assert [job.result_sync() for job in jobs] == [me, me]


def test_time_passes_in_blocking_code_too() -> None:
    with Harness(app) as harness:
        job = fails_once.enqueue_sync()
        assert [one.outcome for one in harness.run_for_sync(minutes=2)] == ["retry", "succeeded"]
        assert job.result_sync() == 2
        function.options(delay=3600).enqueue_sync("late")
        assert len(harness.run_until_idle_sync()) == 1


def test_a_function_meets_its_timeout_in_this_thread() -> None:
    with Harness(app) as harness:
        hangs.enqueue_sync()
        begun = time.monotonic()
        with pytest.raises(TimeoutError, match=r"timeout of 0\.05 s"):
            harness.run_sync()
        assert time.monotonic() - begun < 5


def test_keyboard_interrupt_is_not_the_tasks() -> None:
    other = App("memory://")

    @other.task(name="stop")
    def stop() -> None:
        raise KeyboardInterrupt

    with Harness(other) as harness:
        job = stop.enqueue_sync()
        with pytest.raises(KeyboardInterrupt):
            harness.run_sync()
        assert job.status_sync() == "ready"


def test_inline_runs_at_once() -> None:
    with Harness(app, inline=True) as harness:
        job = function.enqueue_sync("f")
        assert ran == ["f"]
        assert job.result_sync() == threading.current_thread().name
        later = function.options(delay=60).enqueue_sync("later")
        with pytest.raises(NothingRuns, match="is due in"):
            later.result_sync()
        app.enqueue_many_sync([function.bind("g"), function.bind("h")])
        assert ran == ["f", "g", "h"]
        call = function.bind("i")
        call.enqueue_sync()
        assert ran[-1] == "i"
        assert len(harness.enqueued()) == 5


async def test_inline_in_a_coroutine() -> None:
    with Harness(app, inline=True):
        job = await coroutine.enqueue("c")
        assert ran == ["c"]
        assert await job.result() == threading.current_thread().name
        await app.enqueue_many([function.bind("g"), coroutine.bind("h")])
        assert ran == ["c", "g", "h"]
        assert [job.duplicate async for job in app.enqueue_many([coroutine.bind("i")])] == [False]
        assert ran[-1] == "i"
        await asyncio.gather(*(coroutine.enqueue(str(number)) for number in range(10)))
        assert len(ran) == 14


def test_inline_within_inline() -> None:
    with Harness(app, inline=True) as harness:
        job = parent.enqueue_sync()
        assert ran == ["child", "parent"]
        assert job.result_sync() == threading.current_thread().name
        assert [one.task.rpartition(".")[2] for one in harness.attempts] == ["function", "parent"]


async def test_inline_within_inline_in_coroutines() -> None:
    with Harness(app, inline=True):
        job = await coroutine_parent.enqueue()
        assert ran == ["child", "parent"]
        assert await job.result()
        job = await parent.enqueue()  # which blocks, in a thread
        assert ran[2:] == ["child", "parent"]
        assert await job.result()


def test_what_killed_an_inline_job_is_raised_where_the_test_enqueues() -> None:
    with Harness(app, inline=True) as harness:
        with pytest.raises(ValueError, match="of the task"):
            fails.enqueue_sync()
        with pytest.raises(ValueError, match="of the task"):
            fails_inside.enqueue_sync()
        # ... and not in the job that enqueued it, which in production would not notice either.
        assert harness.attempts[-1].outcome == "succeeded"
        harness.raising = False
        assert fails.enqueue_sync().status_sync() == "dead"


def test_a_failure_that_is_retried_raises_nothing() -> None:
    with Harness(app, inline=True) as harness:
        job = fails_once.enqueue_sync()
        assert job.status_sync() == "scheduled"
        harness.run_until_idle_sync()
        assert job.result_sync() == 2


def test_inline_can_be_switched() -> None:
    with Harness(app) as harness:
        function.enqueue_sync("waits")
        assert not harness.inline
        harness.inline = True
        assert harness.inline
        function.enqueue_sync("runs")
        assert ran == ["waits", "runs"]
        harness.inline = False
        function.enqueue_sync("waits again")
        assert ran == ["waits", "runs"]
    harness.inline = True
    with Harness(app):
        function.enqueue_sync("waits")
        assert ran == ["waits", "runs"]


def test_inline_ends_with_the_block() -> None:
    other = App("memory://")

    @other.task(name="t")
    def t() -> None: ...

    with Harness(other, inline=True):
        t.enqueue_sync()
    assert t.enqueue_sync().status_sync() == "ready"
    other.close_sync()


async def test_a_blocking_enqueue_cannot_run_inline_on_a_loop() -> None:
    with Harness(app, inline=True), pytest.raises(BlockingCallInLoop, match=r"in inline mode await task\.enqueue"):
        function.enqueue_sync("f")


async def test_a_coroutine_that_blocks_is_refused_as_in_production() -> None:
    with Harness(app) as harness:
        await blocks.enqueue()
        with pytest.raises(BlockingCallInLoop, match="await the async twin"):
            await harness.run()


async def test_from_another_thread_as_a_web_server_under_test_does() -> None:
    def handler() -> str:
        return asyncio.run(enqueue_there())

    async def enqueue_there() -> str:
        return await (await coroutine.enqueue("there")).result()

    with Harness(app, inline=True) as harness:
        assert await asyncio.to_thread(handler) != threading.current_thread().name
        harness.assert_enqueued(coroutine, "there")


def test_a_function_that_waits_for_another_job_is_told() -> None:
    with Harness(app) as harness:
        parent.enqueue_sync()
        with pytest.raises(NothingRuns, match="a job waits for job"):
            harness.run_sync()


def test_blocking_calls_outside_the_block() -> None:
    with pytest.raises(UsageError, match="within its block only"):
        Harness(app).run_sync()
