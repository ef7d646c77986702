"""The supervisor with real workers: signals to everybody, hung loops, stuck threads, new code, operators."""

import asyncio
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.system.supervised import Supervised, wait_until, worker_command
from windlass import App, Job

TASKS = """\
import asyncio, atexit, os, time
from pathlib import Path
from windlass import App

app = App("sqlite:///jobs.db", lease=1)
VERSION = 1


@app.task
async def nap(seconds: float) -> int:
    Path("napping").touch()
    await asyncio.sleep(seconds)
    return os.getpid()


@app.task
def version() -> int:
    return VERSION


@app.task(timeout=0.5)
async def hang() -> None:
    time.sleep(1000)


@app.task(timeout=0.1)
def stick() -> None:
    time.sleep(1000)


def say_goodbye() -> None:
    Path("goodbye").touch()
    time.sleep(1000)


@app.task
def register_exit_handler() -> int:
    atexit.register(say_goodbye)
    return 0
"""


@pytest.fixture
def app(tmp_path: Path) -> Iterator[App]:
    (tmp_path / "tasks.py").write_text(TASKS)
    made = App(f"sqlite:///{tmp_path}/jobs.db", lease=1)

    # Declared for their names and hints: the code is the worker's.
    async def nap(seconds: float) -> int:
        raise NotImplementedError

    async def nothing() -> int:
        raise NotImplementedError

    made.task(name="tasks.nap")(nap)
    for name in ("version", "hang", "stick", "register_exit_handler"):
        made.task(name=f"tasks.{name}")(nothing)
    yield made
    made.close_sync()


def enqueue(app: App, name: str, *arguments: float) -> Job[int]:
    return app.find_task(f"tasks.{name}").enqueue_sync(*arguments)


def work(folder: Path, *arguments: str) -> Supervised:
    return Supervised(worker_command("--app", "tasks:app", *arguments), folder)


def test_a_signal_to_every_process_at_once_is_one_stop(app: App, tmp_path: Path) -> None:
    """As systemd does: a worker that heard it twice would give back what it could have finished."""
    job = enqueue(app, "nap", 2.0)
    with work(tmp_path) as workers:
        wait_until((tmp_path / "napping").exists, "the job to start")
        us = psutil.Process(workers.process.pid)
        for process in [*us.children(), us, *us.children()]:
            process.send_signal(signal.SIGTERM)
        assert workers.ended() == 0
    assert job.status_sync() == "succeeded"
    assert job.info_sync().attempt == 1


def test_a_worker_told_alone_to_stop_is_replaced(app: App, tmp_path: Path) -> None:
    with work(tmp_path) as workers:
        first = workers.started()
        workers.ready()
        os.kill(first, signal.SIGTERM)
        workers.next(f"worker {first} died: exit code 0; a new one starts")
        assert enqueue(app, "nap", 0.0).result_sync(20) == workers.started()


def test_an_operator_stops_a_worker_through_the_store(app: App, tmp_path: Path) -> None:
    async def stop_all() -> None:
        async with app:
            store = await app.store()
            for record in await store.sessions():
                assert await store.command(record.session.id, "drain")

    with work(tmp_path, "--processes", "2") as workers:
        workers.ready(2)
        asyncio.run(stop_all())
        workers.next("ended, as an operator told it")
        workers.next("ended, as an operator told it")
        assert workers.ended() == 0


def test_a_hung_loop_is_shown_and_ended_and_others_run_on(app: App, tmp_path: Path) -> None:
    enqueue(app, "hang")
    with work(tmp_path, "--grace", "0.5") as workers:
        first = workers.started()
        workers.next("in hang")  # the traceback names the line that blocks
        workers.next(f"worker {first} its event loop is hung: killed")
        second = workers.started()
        assert second != first
        workers.signal(signal.SIGKILL)  # it would hang again


@pytest.mark.timeout(120)
def test_stuck_threads_get_the_process_replaced(app: App, tmp_path: Path) -> None:
    with work(tmp_path, "--concurrency", "2", "--grace", "0.5") as workers:
        first = workers.started()
        workers.ready()
        stuck = enqueue(app, "stick")
        workers.next(f"worker {first} asks to be replaced")
        second = workers.started()
        workers.next(f"worker {first} stopped")
        assert enqueue(app, "nap", 0.0).result_sync(20) == second
        stuck.cancel_sync()
        workers.signal(signal.SIGTERM)
        workers.ended()


def test_hangup_brings_new_code(app: App, tmp_path: Path) -> None:
    with work(tmp_path) as workers:
        first = workers.started()
        workers.ready()
        assert enqueue(app, "version").result_sync(20) == 1
        (tmp_path / "tasks.py").write_text(TASKS.replace("VERSION = 1", "VERSION = 1_000"))
        workers.signal(signal.SIGHUP)
        workers.next(f"worker {first} stopped")
        assert enqueue(app, "version").result_sync(20) == 1000
        workers.signal(signal.SIGTERM)
        assert workers.ended() == 0


def test_exit_handlers_run_and_cannot_hold_up_the_end(app: App, tmp_path: Path) -> None:
    with work(tmp_path) as workers:
        workers.ready()
        enqueue(app, "register_exit_handler").result_sync(20)
        workers.signal(signal.SIGTERM)
        assert workers.ended() == 0
    assert (tmp_path / "goodbye").exists()


def test_ctrl_c_at_a_terminal_is_one_stop(app: App, tmp_path: Path) -> None:
    """The terminal sends SIGINT to the foreground group; the workers are not in it."""
    job = enqueue(app, "nap", 1.0)
    program = f"import os; os.setpgid(0, 0); os.execv({sys.executable!r}, {[sys.executable, *worker_command()[1:]]!r})"
    with Supervised([sys.executable, "-c", program], tmp_path, {"WINDLASS_APP": "tasks:app"}) as workers:
        wait_until((tmp_path / "napping").exists, "the job to start")
        os.killpg(workers.process.pid, signal.SIGINT)
        assert workers.ended() == 0
    assert job.status_sync() == "succeeded"
