"""Tasks as functions over many items, and the executor of ``concurrent.futures``, on every store."""

from __future__ import annotations

import asyncio
import functools
import os
import pty
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, as_completed, wait
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.integration.engine_harness import eventually
from tests.integration.test_workflows import url_of
from windlass import (
    App,
    InvalidArguments,
    InvalidOption,
    PayloadTooLarge,
    Retry,
    StoreFull,
    UnknownParent,
    UsageError,
    blocking,
    current,
)
from windlass.compute import mapping
from windlass.compute.mapping import Sizes
from windlass.compute.tracker import Tracker
from windlass.core.records import JobFilter
from windlass.store.port import Store

WAIT = 20.0

gate = threading.Event()


@pytest.fixture(params=["memory", "sqlite", "redis", "postgres"])
def app(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[App]:
    """An app on a store of its own, with a worker in a thread."""
    gate.clear()
    made = App(url_of(request, tmp_path))
    add_tasks(made)
    with made.start_worker_thread(["default"], concurrency=8):
        yield made
        gate.set()
    made.close_sync()


def add_tasks(app: App) -> None:  # noqa: C901 - one after the other
    @app.task(name="square")
    def square(n: int) -> int:
        return n * n

    @app.task(name="asquare")
    async def asquare(n: int) -> int:
        return n * n

    @app.task(name="add")
    def add(a: int, b: int) -> int:
        return a + b

    @app.task(name="join")
    async def join(a: str, b: str) -> str:
        return a + b

    @app.task(name="total")
    async def total(numbers: list[int], more: dict[str, int] | None = None) -> int:
        return sum(numbers) + sum((more or {}).values())

    @app.task(name="fail")
    def fail(n: int) -> int:
        if n == 7:
            raise ValueError("seven")
        return n

    @app.task(name="held")
    def held(n: int) -> int:
        gate.wait(WAIT)
        return n

    @app.task(name="nowhere", queue="nobody")
    def nowhere(n: int) -> int:
        return n

    @app.task(name="echo")
    def echo(text: str) -> str:
        return text


def task(app: App, name: str) -> Any:
    return app.find_task(name)


def stored(app: App) -> int:
    return app.jobs(everything=True).count_sync()


# ---------------------------------------------------------------------------------------------------------- map


@pytest.mark.parametrize("count", [0, 1, 16, 17, 5000])
def test_map_gives_results_in_the_order_of_items(app: App, count: int) -> None:
    assert list(app.map(task(app, "square"), range(count))) == [n * n for n in range(count)]
    assert list(app.map(task(app, "asquare"), iter(range(count)))) == [n * n for n in range(count)]


def test_map_in_any_order_gives_all_results(app: App) -> None:
    found = list(app.map(task(app, "square"), range(300), chunksize=7, ordered=False))
    assert sorted(found) == [n * n for n in range(300)]


def test_map_over_several_iterables_and_constants(app: App) -> None:
    add = task(app, "add")
    assert list(app.map(add, range(5), range(100), chunksize=2)) == [0, 2, 4, 6, 8]
    assert list(app.map(add, range(5), b=10)) == [10, 11, 12, 13, 14]


def test_an_item_does_not_wait_for_the_one_after_it(app: App) -> None:
    """Though items are read ahead: here each comes only when the one before has run."""
    ran = [threading.Event() for _ in range(5)]

    @app.task(name="mark", queue="mine")
    def mark(n: int) -> int:
        ran[n].set()
        return n

    def feed() -> Iterator[int]:
        for n in range(5):
            yield n
            assert ran[n].wait(WAIT)

    with app.start_worker_thread(["mine"]):
        assert list(app.map(mark, feed(), chunksize=1)) == list(range(5))


def test_no_more_is_read_ahead_than_may_be_on_its_way(app: App) -> None:
    taken = 0

    def feed() -> Iterator[int]:
        nonlocal taken
        for n in range(10_000):
            taken += 1
            yield n

    with pytest.raises(TimeoutError):
        next(iter(app.map(task(app, "held"), feed(), chunksize=2, window=10, timeout=0.3)))
    assert 20 <= taken <= 40


async def test_amap_takes_asynchronous_sources(app: App) -> None:
    async def numbers() -> AsyncIterator[int]:
        for n in range(50):
            yield n
            await asyncio.sleep(0)

    assert [n async for n in app.amap(task(app, "square"), numbers())] == [n * n for n in range(50)]
    assert [n async for n in app.amap(task(app, "add"), numbers(), range(3))] == [0, 2, 4]


def test_a_source_without_end_is_read_a_little_ahead(app: App) -> None:
    taken = 0

    def numbers() -> Iterator[int]:
        nonlocal taken
        while True:
            taken += 1
            yield taken

    results = app.map(task(app, "square"), numbers(), chunksize=5, window=3)
    assert [next(results) for _ in range(12)] == [n * n for n in range(1, 13)]
    results.close()  # type: ignore[attr-defined]
    assert taken <= 5 * (3 + 3)


def test_an_error_in_a_batch_is_raised_where_its_results_would_be(app: App) -> None:
    results = app.map(task(app, "fail"), range(100), chunksize=2)
    assert [next(results) for _ in range(6)] == [0, 1, 2, 3, 4, 5]
    with pytest.raises(ValueError, match="seven"):
        next(results)


def test_a_source_that_raises_is_heard(app: App) -> None:
    def source() -> Iterator[int]:
        yield from range(20)
        raise LookupError("no more")

    with pytest.raises(LookupError, match="no more"):
        list(app.map(task(app, "square"), source(), chunksize=3))


def test_batches_are_retried_as_the_task_says(app: App) -> None:
    @app.task(name="second", retry=Retry(attempts=2, delay=0))
    def second(n: int) -> int:
        if current().attempt == 1:
            raise ConnectionError
        return n

    assert list(app.map(second, range(5))) == [0, 1, 2, 3, 4]


def test_what_does_not_fit_is_said_before_anything_is_sent(app: App) -> None:
    square, add = task(app, "square"), task(app, "add")
    with pytest.raises(InvalidArguments, match="argument `n`: expected `int`, got `str`"):
        list(app.map(square, [1, "x"]))
    with pytest.raises(InvalidArguments, match="argument `b`"):
        app.map(add, [1], b="x")
    with pytest.raises(InvalidArguments, match="no parameter 'c'"):
        app.map(add, [1], c=1)
    with pytest.raises(InvalidOption, match="1 parameters that items can fill, not 2"):
        app.map(square, [1], [2])
    for options in ({"chunksize": 0}, {"chunksize": True}, {"window": 0}, {"window": "many"}):
        with pytest.raises(InvalidOption, match="expected a whole number"):
            app.map(square, [1], **options)
    with pytest.raises(InvalidOption, match="nothing to iterate over"):
        app.map(square, 3)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"<lambda> is no task of this app.* set a signing key"):
        app.map(lambda n: n, [1])
    with pytest.raises(UsageError, match="belongs to another App"):
        app.map(App("memory://other").task(name="square")(lambda n: n), [1])  # type: ignore[call-overload]
    assert stored(app) == 0


def test_batches_keep_to_the_limit_of_arguments(app: App) -> None:
    texts = ["x" * 100_000] * 10
    assert list(app.map(task(app, "echo"), texts)) == texts
    with pytest.raises(PayloadTooLarge):
        list(app.map(task(app, "echo"), texts, chunksize=5))
    with pytest.raises(PayloadTooLarge):
        list(app.map(task(app, "echo"), ["x" * 300_000]))


def test_map_ends_in_time_or_raises(app: App) -> None:
    with pytest.raises(TimeoutError, match=r"no result within 0\.1 s"):
        list(app.map(task(app, "held"), range(3), timeout=0.1))
    gate.set()


def test_progress_is_told(app: App) -> None:
    told: list[int] = []
    list(app.map(task(app, "square"), range(100), chunksize=30, progress=told.append))
    assert told == [30, 60, 90, 100]


WATCHED = """
from windlass import App

app = App("memory://bar")

@app.task
def square(n: int) -> int:
    return n * n

with app.start_worker_thread():
    print(sum(app.map(square, range(100), chunksize=10, progress=True)))
    print(sum(app.map(square, iter(range(100)), chunksize=10, progress=True)))
"""


def test_a_bar_is_shown_where_somebody_watches(tmp_path: Path) -> None:
    script = tmp_path / "watched.py"
    script.write_text(WATCHED)
    command = [sys.executable, str(script)]
    plain = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert (plain.stdout, plain.stderr) == ("328350\n328350\n", "")
    ours, theirs = pty.openpty()
    watched = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs, env={**os.environ, "TERM": "xterm"})
    os.close(theirs)
    shown = b""
    with suppress(OSError):  # how Linux says that the other side is gone
        while block := os.read(ours, 4096):
            shown += block
    os.close(ours)
    assert watched.communicate(timeout=60)[0] == b"328350\n328350\n"
    assert b"square" in shown
    assert b"100/100" in shown
    assert b"/?" in shown, "nobody knows how long a generator is"


def test_sizes_follow_from_how_long_items_take() -> None:
    sizes = Sizes(None)
    assert sizes.next == mapping.FIRST_CHUNK
    sizes.measured(16, 0.000016)
    assert sizes.next == 16 * mapping.GROWTH
    sizes.measured(16, 1.6)
    assert sizes.next == 1
    sizes.measured(1, 0.000001)
    for _ in range(10):
        sizes.measured(1, 0.000001)
    assert sizes.next == mapping.LARGEST_CHUNK
    fixed = Sizes(3)
    fixed.measured(3, 100)
    assert fixed.next == 3


# ------------------------------------------------------------------------------------------------------- reduce


def test_reduce_keeps_the_order_of_neighbours(app: App) -> None:
    letters = [chr(97 + n % 26) for n in range(200)]
    assert app.reduce_sync(task(app, "join"), letters, chunksize=3) == "".join(letters)
    assert app.reduce_sync(task(app, "add"), range(1000)) == sum(range(1000))
    assert app.reduce_sync(task(app, "add"), [5]) == 5
    with pytest.raises(TypeError, match="nothing to reduce"):
        app.reduce_sync(task(app, "add"), [])


def test_what_is_mapped_may_itself_be_mapped(app: App) -> None:
    square, add = task(app, "square"), task(app, "add")
    assert app.reduce_sync(add, app.map(square, app.map(square, range(50)))) == sum(n**4 for n in range(50))


async def test_reduce_from_a_coroutine(app: App) -> None:
    assert await app.reduce(task(app, "add"), range(100)) == sum(range(100))


# ----------------------------------------------------------------------------------------------------- executor


def test_submit_gives_futures_that_behave_as_those_of_the_standard_library(app: App) -> None:
    square = task(app, "square")
    with app.executor() as pool:
        futures = [pool.submit(square, n) for n in range(100)]
        assert sorted(future.result() for future in as_completed(futures, timeout=WAIT)) == [n * n for n in range(100)]
        called: list[Future[int]] = []
        one = pool.submit(square, n=5)
        one.add_done_callback(called.append)
        assert one.result(WAIT) == 25
        assert one.done()
        assert not one.cancelled()
        assert one.exception() is None
        assert one.job.result_sync(timeout=WAIT) == 25
        assert called == [one]
        done, _ = wait([pool.submit(square, 2), pool.submit(square, 3)], WAIT, FIRST_COMPLETED)
        assert done
        assert pool.submit(functools.partial(task(app, "add"), b=3), 4).result(WAIT) == 7


def test_exceptions_come_with_where_they_were_raised(app: App) -> None:
    with app.executor() as pool:
        future = pool.submit(task(app, "fail"), 7)
        error = future.exception(WAIT)
        assert isinstance(error, ValueError)
        assert "Remote traceback" in "".join(error.__notes__)


def test_futures_are_arguments_of_later_jobs(app: App) -> None:
    square, add, total = task(app, "square"), task(app, "add"), task(app, "total")
    with app.executor() as pool:
        squares = [pool.submit(square, n) for n in range(5)]
        both = pool.submit(add, squares[3], b=squares[4])
        everything = pool.submit(total, [*squares, both, 1], {"x": squares[1]})
        assert both.result(WAIT) == 25
        assert everything.result(WAIT) == 30 + 25 + 1 + 1
        broken = pool.submit(task(app, "fail"), 7)
        behind = pool.submit(add, broken, 1)
        assert isinstance(behind.exception(WAIT), Exception)
        with app.executor() as other, pytest.raises(UsageError, match="another executor"):
            other.submit(add, squares[0], 1)
        with pytest.raises(UsageError, match="only futures of this executor"):
            pool.submit(add, Future(), 1)


def test_what_has_not_started_can_be_cancelled_and_what_runs_not(app: App) -> None:
    with app.executor() as pool:
        waiting = pool.submit(task(app, "nowhere"), 1)
        assert waiting.cancel()
        assert waiting.cancelled()
        assert waiting.cancel()
        running = pool.submit(task(app, "held"), 1)
        while app.jobs(task="held", status="running").count_sync() == 0:
            pass
        assert not running.cancel()
        assert not was_asked_to_end(app, running.job_id)
        gate.set()
        assert running.result(WAIT) == 1


def was_asked_to_end(app: App, job_id: bytes) -> bool:
    async def ask() -> bool:
        job = (await (await app.store()).get_jobs([job_id]))[0]
        assert job is not None
        return job.cancel_requested

    return blocking.run(ask)


def test_each_future_has_a_job_of_its_own_whatever_the_task_says(app: App) -> None:
    @app.task(name="single", queue="nobody", unique=True)
    def single(n: int) -> int:
        return n

    with app.executor() as pool:
        one, two = pool.submit(single, 1), pool.submit(single, 1)
        assert one.cancel()
        assert two.cancel()
        assert one.job != two.job


def test_a_future_whose_job_was_deleted_is_no_argument_any_more(app: App) -> None:
    with app.executor() as pool:
        gone = pool.submit(task(app, "square"), 1)
        assert gone.result(WAIT) == 1
        gone.job_id = bytes(16)
        behind = pool.submit(task(app, "add"), gone, 1)
        assert isinstance(behind.exception(WAIT), UnknownParent)


def test_those_who_wait_hear_of_a_store_that_fails(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fails(*_: object) -> None:
        raise StoreFull("no room")

    with app.executor() as pool:
        monkeypatch.setattr(Tracker, "_look", fails)
        assert isinstance(pool.submit(task(app, "square"), 1).exception(WAIT), StoreFull)


def test_shutdown_waits_until_every_future_has_its_result(app: App) -> None:
    for _ in range(20):
        with app.executor() as pool:
            futures = [pool.submit(task(app, "square"), n) for n in range(5)]
        assert all(future.done() for future in futures)


def test_shutdown(app: App) -> None:
    pool = app.executor()
    left = [pool.submit(task(app, "nowhere"), n) for n in range(3)]
    running = pool.submit(task(app, "square"), 3)
    assert running.result(WAIT) == 9
    pool.shutdown(wait=False)
    with pytest.raises(RuntimeError, match="after shutdown"):
        pool.submit(task(app, "square"), 1)
    with pytest.raises(RuntimeError, match="after shutdown"):
        pool.map(task(app, "square"), [1])
    pool.shutdown(cancel_futures=True)
    assert all(future.cancelled() for future in left)
    pool.shutdown()


def test_executor_map(app: App) -> None:
    with app.executor() as pool:
        assert list(pool.map(task(app, "add"), range(4), range(4), chunksize=2)) == [0, 2, 4, 6]
        assert list(pool.map(functools.partial(task(app, "add"), b=1), [1, 2])) == [2, 3]
        with pytest.raises(InvalidOption, match="give them by name"):
            pool.map(functools.partial(task(app, "add"), 1), [1, 2])


def test_what_is_submitted_is_a_task(app: App) -> None:
    with app.executor() as pool:
        with pytest.raises(UsageError, match=r"decorate it with @app\.task"):
            pool.submit(print, "x")
        with pytest.raises(InvalidArguments, match="expected `int`"):
            pool.submit(task(app, "square"), "x")
        with pytest.raises(InvalidArguments, match="missing"):
            pool.submit(task(app, "square"))


async def any_in_queue(store: Store) -> bool:
    return bool((await store.list_jobs(JobFilter(queue="nobody"))).jobs)


async def test_nothing_is_left_when_a_caller_goes_away(app: App) -> None:
    results = app.amap(task(app, "nowhere"), range(100), chunksize=5)
    waiting = asyncio.ensure_future(anext(results))
    store = await app.store()
    await eventually(lambda: any_in_queue(store))
    waiting.cancel()
    await asyncio.wait({waiting})
    await results.aclose()  # type: ignore[attr-defined]
    states = {job.state.word for job in (await store.list_jobs(JobFilter(queue="nobody"))).jobs}
    assert states == {"cancelled"}
    await app.aclose()


def test_the_callback_of_a_future_may_submit_more(app: App) -> None:
    square = app.find_task("square")
    more: list[Future[int]] = []
    with app.executor() as pool:
        first = pool.submit(square, 2)
        added = threading.Event()

        def go_on(future: Future[int]) -> None:
            more.append(pool.submit(square, future.result()))
            added.set()

        first.add_done_callback(go_on)
        assert added.wait(WAIT)
    assert more[0].result(0) == 16


FORGETFUL = """
import sys
from windlass import App

app = App(sys.argv[1])

@app.task(name="square")
def square(n: int) -> int:
    return n * n

pool = app.executor()
for n in range(500):
    pool.submit(square, n)
if sys.argv[2] == "shutdown":
    pool.shutdown(wait=False)
"""


@pytest.mark.parametrize("ending", ["shutdown", "nothing"])
@pytest.mark.parametrize("app", ["sqlite", "redis", "postgres"], indirect=True)
def test_what_was_submitted_is_stored_when_the_process_ends(app: App, ending: str) -> None:
    subprocess.run([sys.executable, "-c", FORGETFUL, app.url, ending], check=True, timeout=60)
    page = blocking.run(lambda: jobs_of(app, "square"))
    assert len(page) == 500


async def jobs_of(app: App, task: str) -> list[Any]:
    return list((await (await app.store()).list_jobs(JobFilter(task=task), limit=1000)).jobs)


def test_any_parameter_may_be_the_same_for_all_items(app: App) -> None:
    @app.task(name="minus")
    def minus(a: int, b: int) -> int:
        return a - b

    @app.task(name="aminus")
    async def aminus(a: int, b: int) -> int:
        return a - b

    assert list(app.map(minus, range(3), a=10)) == [10, 9, 8]
    assert list(app.map(aminus, range(3), a=10)) == [10, 9, 8]


def test_a_parameter_that_nothing_fills_is_refused_before_anything_is_sent(app: App) -> None:
    @app.task(name="minus")
    def minus(a: int, b: int) -> int:
        return a - b

    with pytest.raises(InvalidArguments, match="missing a required argument: 'b'"):
        list(app.map(minus, range(3)))


async def test_a_source_that_stops_by_mistake_is_no_end(app: App) -> None:
    async def source() -> AsyncIterator[int]:
        yield 1
        yield next(iter(()))

    with pytest.raises(RuntimeError, match="StopIteration"):
        _ = [n async for n in app.amap(app.find_task("square"), source())]


def test_an_item_that_hangs_ends_with_the_timeout_of_its_task(app: App) -> None:
    @app.task(name="hang", timeout=0.05)
    async def hang(n: int) -> int:
        await asyncio.sleep(3600)
        return n

    with pytest.raises(TimeoutError, match="timeout"):
        list(app.map(hang, range(3)))
