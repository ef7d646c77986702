"""A worker in a thread, and tasks that bring it down."""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from windlass import App, JobLost, WorkerThread, background
from windlass.store.sqlite import SQLiteStore

SOON = 20.0


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> App:
    monkeypatch.setattr(background, "FIRST_BACK_OFF", 0.1)
    return App(f"sqlite:///{tmp_path}/w.db", lease=1.0)


def stop_the_loop() -> None:
    asyncio.get_running_loop().stop()


def cancel_all_tasks() -> None:
    for task in asyncio.all_tasks():
        task.cancel()


def exit_in_a_callback() -> None:
    asyncio.get_running_loop().call_soon(sys.exit, 3)


def cancel_what_is_not_its_own() -> None:
    for task in asyncio.all_tasks() - {asyncio.current_task()}:  # type: ignore[arg-type]
        task.cancel()


def cancel_the_claim_loop() -> None:
    for task in asyncio.all_tasks():
        if task.get_name() == "windlass-claim":
            task.cancel()


@pytest.mark.parametrize(
    "harm",
    [stop_the_loop, cancel_all_tasks, exit_in_a_callback, cancel_what_is_not_its_own, cancel_the_claim_loop],
    ids=lambda harm: harm.__name__,
)
def test_a_task_that_brings_the_worker_down_is_reported_and_the_worker_replaced(
    app: App, caplog: pytest.LogCaptureFixture, harm: Callable[[], None]
) -> None:
    done = threading.Event()

    @app.task
    async def harms() -> None:
        if not done.is_set():
            done.set()
            harm()
            await asyncio.sleep(0.2)

    @app.task
    async def double(n: int) -> int:
        return 2 * n

    with app.start_worker_thread() as worker:
        job = harms.enqueue_sync()
        assert done.wait(SOON)
        assert double.enqueue_sync(4).result_sync(SOON) == 8
        assert worker.running
        job.result_sync(SOON)
        assert job.info_sync().losses == 1
    assert not worker.running
    assert [record for record in caplog.records if "brought the worker down" in record.getMessage()]


@pytest.mark.soak  # half a minute, which suspects wait for a worker that is alone
def test_a_task_that_brings_every_worker_down_is_dead_in_the_end(app: App) -> None:
    @app.task
    async def harms() -> None:
        stop_the_loop()
        await asyncio.sleep(0.2)

    @app.task
    async def double(n: int) -> int:
        return 2 * n

    with app.start_worker_thread():
        job = harms.enqueue_sync()
        with pytest.raises(JobLost):
            job.result_sync(50)
        assert double.enqueue_sync(4).result_sync(SOON) == 8


def test_what_a_task_cannot_do_to_the_loop_fails_the_task(app: App) -> None:
    @app.task
    async def closes() -> None:
        asyncio.get_running_loop().close()

    @app.task
    async def exits() -> None:
        sys.exit(3)

    with app.start_worker_thread() as worker:
        for task in (closes, exits):
            with pytest.raises(Exception, match=r"running event loop|3"):
                task.enqueue_sync().result_sync(SOON)
        assert worker.running


def test_stopping_a_worker_that_is_being_replaced(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "FIRST_BACK_OFF", 3600.0)
    close = SQLiteStore.close

    async def close_slowly(store: SQLiteStore, session: bytes) -> None:
        await asyncio.sleep(0.1)
        await close(store, session)

    monkeypatch.setattr(SQLiteStore, "close", close_slowly)
    down = threading.Event()

    class Watch(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "brought the worker down" in record.getMessage():
                for worker in workers:  # at the worst moment: before what it was is cleared away
                    worker._loop.call_soon_threadsafe(worker._begin_stop, 25.0)
                down.set()

    workers: list[background.WorkerThread] = []

    @app.task
    async def harms() -> None:
        stop_the_loop()
        await asyncio.sleep(0.2)

    watch = Watch()
    logging.getLogger("windlass.engine").addHandler(watch)
    try:
        worker = app.start_worker_thread()
        workers.append(worker)
        harms.enqueue_sync()
        assert down.wait(SOON)
        assert repr(worker) == "<WorkerThread running>"
        worker.stop()
    finally:
        logging.getLogger("windlass.engine").removeHandler(watch)
    assert repr(worker) == "<WorkerThread stopped>"
    gc.collect()  # asyncio complains of what was left pending


def test_a_blocked_loop_is_left_behind(
    app: App, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(background, "MARGIN", 0.2)
    blocking, go_on = threading.Event(), threading.Event()

    @app.task
    async def blocks() -> None:
        blocking.set()
        go_on.wait(SOON)

    worker: WorkerThread = app.start_worker_thread(lag_warning=0)
    blocks.enqueue_sync()
    assert blocking.wait(SOON)
    began = time.monotonic()
    worker.stop(0.0)
    assert time.monotonic() - began < SOON / 2
    assert "left behind" in caplog.text
    go_on.set()
    worker._thread.join(SOON)
    assert not worker.running
