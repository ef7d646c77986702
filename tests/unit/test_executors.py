"""Which executor runs a task, and what is refused."""

import os

import pytest

from windlass import App, CoroutineTask, FunctionTask, InvalidOption
from windlass.core.requirements import PROCESS
from windlass.testing import Harness


def test_a_function_says_by_itself_what_runs_it() -> None:
    app = App("memory://")

    @app.task
    async def coroutine() -> None: ...

    @app.task
    def function() -> None: ...

    assert (coroutine.spec.executor, function.spec.executor) == ("async", "thread")
    assert coroutine.bind().recipe.new_job(b"{}").requires == ""


def test_either_can_run_in_a_process_and_stays_what_it_is() -> None:
    app = App("memory://")

    @app.task(executor="process")
    async def coroutine() -> None: ...

    @app.task(executor="process")
    def function() -> None: ...

    assert (coroutine.spec.executor, function.spec.executor) == ("process", "process")
    assert isinstance(coroutine, CoroutineTask)
    assert isinstance(function, FunctionTask)
    assert function.bind().recipe.new_job(b"{}").requires == PROCESS


def test_what_cannot_be_is_refused_with_what_would_be_right() -> None:
    app = App("memory://")

    async def coroutine() -> None: ...

    def function() -> None: ...

    with pytest.raises(InvalidOption, match="executor='thread' needs a `def`; an `async def` needs an event loop"):
        app.task(executor="thread")(coroutine)
    with pytest.raises(InvalidOption, match="executor='async' needs an `async def`; a `def` would stop the event loop"):
        app.task(executor="async")(function)
    with pytest.raises(InvalidOption, match="executor='fork': expected 'async', 'thread' or 'process'"):
        app.task(executor="fork")(function)  # type: ignore[call-overload]


async def test_under_test_all_of_them_run_in_the_process_of_the_test() -> None:
    app = App("memory://")

    @app.task(executor="process")
    async def coroutine() -> int:
        return os.getpid()

    @app.task(executor="process")
    def function() -> int:
        return os.getpid()

    with Harness(app) as harness:
        jobs = [await coroutine.enqueue(), await function.enqueue()]
        await harness.run()
        assert [await job.result() for job in jobs] == [os.getpid()] * 2
