"""Tasks that block the event loop are named: real workers, in this process."""

import asyncio
import ctypes
import inspect
import logging
import re
import threading
from collections.abc import Awaitable, Callable

import pytest
import uvloop

from windlass import App, InvalidOption, current
from windlass.engine.lag import where_is, who_has

PATIENCE = 20.0
BLOCKED = re.compile(r"the event loop has been blocked for 0\.[1-9] s by (.+), at (.+)")
OVER = re.compile(r"the event loop goes on: it was blocked for \d\.\d s by (.+)")


class Watchman(logging.Handler):
    """Hears what is said about the loop, in whatever thread."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said: list[str] = []
        self._news = threading.Condition()

    def emit(self, record: logging.LogRecord) -> None:
        with self._news:
            self.said.append(record.getMessage())
            self._news.notify_all()

    def wait_for(self, words: str) -> None:
        """Block until it is said: the longer that takes the longer the loop is blocked."""
        with self._news:
            assert self._news.wait_for(lambda: any(words in one for one in self.said), PATIENCE), self.said

    def heard(self, pattern: re.Pattern[str]) -> list[re.Match[str]]:
        return [found for one in self.said if (found := pattern.fullmatch(one))]


@pytest.fixture
def watchman() -> object:
    made = Watchman()
    logging.getLogger("windlass.engine").addHandler(made)
    yield made
    logging.getLogger("windlass.engine").removeHandler(made)


def run(main: Callable[[], Awaitable[None]], loop: str) -> None:
    asyncio.run(main()) if loop == "asyncio" else uvloop.run(main())


on_both_loops = pytest.mark.parametrize("loop", ["asyncio", "uvloop"])


@on_both_loops
@pytest.mark.parametrize("how", ["waits", "computes", "in a coroutine of its own"])
def test_a_task_that_blocks_the_loop_is_named_with_the_line(watchman: Watchman, loop: str, how: str) -> None:
    app = App("memory://")

    async def wait() -> None:
        watchman.wait_for("has been blocked")

    async def compute() -> None:
        while not watchman.said:
            pass

    async def gather() -> None:
        await asyncio.gather(wait())

    block = {"waits": wait, "computes": compute, "in a coroutine of its own": gather}[how]

    @app.task(name="mail.send")
    async def send() -> None:
        await block()

    async def main() -> None:
        async with app.worker(lag_warning=0.1):
            job = await send.enqueue()
            await job.result(timeout=PATIENCE)
            await asyncio.to_thread(watchman.wait_for, "goes on")
            assert [found[1] for found in watchman.heard(BLOCKED)] == [f"task mail.send (job {job.id}, attempt 1)"]
            assert [found[1] for found in watchman.heard(OVER)] == [f"task mail.send (job {job.id}, attempt 1)"]

    run(main, loop)
    place = watchman.heard(BLOCKED)[0][2]
    assert __file__ in place
    assert "/windlass/" not in place.replace(__file__, ""), "our own frames tell nothing"
    if how != "computes":
        assert f"{inspect.getsourcefile(wait)}:{inspect.getsourcelines(wait)[1] + 1} in wait: watchman" in place


@on_both_loops
def test_code_that_is_not_in_a_task_is_called_so(watchman: Watchman, loop: str) -> None:
    app = App("memory://")

    async def main() -> None:
        asyncio.current_task().set_name("the web server")
        async with app.worker(lag_warning=0.1):
            watchman.wait_for("in asyncio's 'the web server', at ")
            asyncio.get_running_loop().call_soon(watchman.wait_for, "by code that is not in a task, at ")
            await asyncio.to_thread(watchman.wait_for, "by code that is not in a task, at ")

    run(main, loop)


@on_both_loops
def test_a_task_that_keeps_the_gil_is_named_with_reserve(watchman: Watchman, loop: str) -> None:
    app = App("memory://")
    sleep_with_gil = ctypes.PyDLL(None).usleep  # as C code does that forgets to let go of it

    @app.task(name="mail.send")
    async def send() -> None:
        sleep_with_gil(600_000)
        watchman.wait_for("the whole process stood still")

    async def main() -> None:
        async with app.worker(lag_warning=0.1):
            job = await send.enqueue()
            await job.result(timeout=PATIENCE)

    run(main, loop)
    (said,) = [one for one in watchman.said if "the whole process stood still" in one]
    assert "C code that keeps the GIL" in said
    assert "task mail.send (job " in said


def test_a_function_in_a_thread_blocks_nobody(watchman: Watchman) -> None:
    app = App("memory://")
    done = threading.Event()

    @app.task(name="mail.send")
    def send() -> None:
        done.wait(1.0)

    async def main() -> None:
        async with app.worker(lag_warning=0.1):
            job = await send.enqueue()
            await job.result(timeout=PATIENCE)

    asyncio.run(main())
    assert not watchman.said


def test_who_has_the_loop_is_known_without_any_note_of_it() -> None:
    """Also what the application starts on the side belongs to the task that started it."""
    app = App("memory://")
    seen: list[str] = []

    def look() -> None:
        seen.append(who_has(asyncio.get_running_loop()))

    async def child() -> None:
        await asyncio.sleep(0)
        look()

    @app.task(name="mail.send")
    async def send() -> str:
        look()
        await asyncio.gather(child(), child())
        return current().job_id

    async def main() -> None:
        async with app.worker(lag_warning=0.1):
            job = await send.enqueue()
            me = await job.result(timeout=PATIENCE)
            assert seen == [f"task mail.send (job {me}, attempt 1)"] * 3
            look()
            assert seen[3].startswith("code that is not in a task of the app, but in asyncio's 'Task-")

    asyncio.run(main())


def test_where_a_thread_is() -> None:
    place = where_is(threading.get_ident())
    assert "test_event_loop_lag.py" in place.split(", called from ")[1]
    assert where_is(-1) == "no line of Python"


def test_a_warning_time_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(InvalidOption, match=r"lag_warning=0\.01: expected 0\.05 to 3600 seconds, or 0"):
        App("memory://").start_worker_thread(lag_warning=0.01)
