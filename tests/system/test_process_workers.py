"""Workers from the command line, and what becomes of their children: signals, kills, apps that cannot be imported."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.system import process_app as tasks
from tests.system.process_app import app
from tests.system.supervised import Supervised, wait_until, worker_command
from windlass import UsageError

ROOT = Path(__file__).parents[2]
TIMEOUT = 20


@pytest.fixture(autouse=True)
def closed(process_url: str) -> Iterator[None]:
    yield
    app.close_sync()


def start(*options: str) -> Supervised:
    return Supervised(worker_command("--app", "tests.system.process_app:app", "-q", "processes", *options), ROOT)


def family(supervisor: Supervised) -> tuple[psutil.Process, list[psutil.Process]]:
    """The worker, and its children."""
    (worker,) = psutil.Process(supervisor.process.pid).children()
    return worker, worker.children()


def gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def test_a_stop_waits_for_what_fits_into_the_grace_time_and_leaves_nothing(tmp_path: Path) -> None:
    """And a SIGTERM that reaches the children, too, as systemd sends it, does not disturb them."""
    mark = tmp_path / "mark"
    with start("--grace", "2") as fleet:
        fleet.ready()
        quick = tasks.nap.enqueue_sync(str(mark), 1.0)
        stuck = tasks.spin.enqueue_sync()
        wait_until(lambda: mark.exists() and stuck.status_sync() == "running", "both to start")
        _, children = family(fleet)
        for child in children:
            child.send_signal(signal.SIGTERM)
            child.send_signal(signal.SIGINT)
        fleet.signal(signal.SIGTERM)
        assert fleet.ended() == 0
    assert quick.result_sync(timeout=TIMEOUT) == "slept"
    info = stuck.info_sync()
    assert (info.status, info.failures, info.losses) == ("ready", 0, 0)
    stuck.cancel_sync()
    assert all(map(gone, children))


def test_a_second_signal_gives_everything_back_now() -> None:
    with start("--grace", "60") as fleet:
        fleet.ready()
        stuck = tasks.spin.enqueue_sync()
        wait_until(lambda: stuck.status_sync() == "running", "it to start")
        fleet.signal(signal.SIGTERM)
        fleet.next("stopping")
        began = time.monotonic()
        fleet.signal(signal.SIGTERM)
        assert fleet.ended() == 0
        assert time.monotonic() - began < 10
    assert stuck.info_sync().status == "ready"
    stuck.cancel_sync()


def test_a_killed_worker_leaves_no_child_behind_whatever_that_does(tmp_path: Path) -> None:
    with start() as fleet:
        fleet.ready()
        stuck = tasks.hold.enqueue_sync()
        asleep = tasks.nap.enqueue_sync(str(tmp_path / "mark"))
        wait_until(lambda: (tmp_path / "mark").exists() and stuck.status_sync() == "running", "both to start")
        worker, children = family(fleet)
        assert len(children) == 2
        worker.kill()
        wait_until(lambda: all(map(gone, children)), "its children to die with it")
        for job in (stuck, asleep):
            job.cancel_sync()
        fleet.signal(signal.SIGTERM)
        fleet.ended()


def test_options_reach_the_children(tmp_path: Path) -> None:
    options = ["--process-slots", "1", "--max-jobs-per-child", "2", "--memory-limit-per-child", "1GiB"]
    with start(*options, "--max-memory-per-child", "900MiB") as fleet:
        fleet.ready()
        pids = [job.result_sync(timeout=TIMEOUT) for job in app.enqueue_many_sync(tasks.pid.bind() for _ in range(4))]
        assert len(set(pids)) == 2
        with pytest.raises(MemoryError):
            tasks.gorge.enqueue_sync(2048).result_sync(timeout=TIMEOUT)
        fleet.signal(signal.SIGTERM)
        fleet.ended()


# ------------------------------------------------------------------------------------- apps, and where they are

SCRIPT = """
import asyncio, os
from windlass import App

app = App("sqlite:///jobs.db")

@app.task(executor="process")
def pid() -> int:
    return os.getpid()

async def main() -> None:
    async with app.worker():
        assert await (await pid.enqueue()).result(timeout=20) != os.getpid()
    print("it ran elsewhere")

if __name__ == "__main__":
    asyncio.run(main())
"""
BROKEN = """
import sys
from windlass import App

app = App("sqlite:///jobs.db")

if "windlass.engine.process_pool.main" in sys.modules:
    raise RuntimeError("not in my name")

@app.task(executor="process")
def wants_a_process() -> None: ...

@app.task
def wants_none() -> int:
    return 42
"""


def run(folder: Path, *command: str, given: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command], cwd=folder, input=given, capture_output=True, text=True, timeout=50, check=False
    )


@pytest.mark.parametrize("command", [["my-script.py"], ["-m", "package.module"], ["-m", "package"]], ids=" ".join)
def test_the_tasks_of_a_script_are_found_by_its_name(tmp_path: Path, command: list[str]) -> None:
    (tmp_path / "package").mkdir()
    for name in ("my-script.py", "package/__init__.py", "package/module.py", "package/__main__.py"):
        (tmp_path / name).write_text("" if name.endswith("__init__.py") else SCRIPT)
    done = run(tmp_path, *command)
    assert "it ran elsewhere" in done.stdout, done.stderr


def test_what_was_typed_at_a_prompt_is_refused_when_the_worker_starts(tmp_path: Path) -> None:
    done = run(tmp_path, "-c", SCRIPT)
    assert "UsageError: task '__main__.pid' wants a process, but is defined where no other process can" in done.stderr


def test_an_app_that_no_module_holds_is_refused_when_the_worker_starts() -> None:
    from windlass import App

    made = App("memory://")

    @made.task(executor="process")
    def work() -> None: ...

    with pytest.raises(UsageError, match="no module holds its app"):
        made.worker_config()


def test_a_script_that_starts_its_worker_when_imported_is_told_what_to_write(tmp_path: Path) -> None:
    (tmp_path / "unguarded.py").write_text(SCRIPT.replace('if __name__ == "__main__":', "if True:"))
    with Supervised([sys.executable, "unguarded.py"], tmp_path) as script:
        script.next("importing 'unguarded' for a child process would start a worker in it, too; put what starts")


def test_an_app_that_a_child_cannot_import_is_a_reason_to_put_its_jobs_back(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text(BROKEN)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}
    environment.pop("WINDLASS_URL")

    def windlass(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "windlass", *arguments, "--app", "broken:app"],
            cwd=tmp_path, env=environment, capture_output=True, text=True, check=True,
        )  # fmt: skip
        return done.stdout

    job = windlass("enqueue", "broken.wants_a_process").split()[0]
    with Supervised(worker_command("--app", "broken:app"), tmp_path, environment) as fleet:
        fleet.next("could not import broken: RuntimeError: not in my name; again in")
        assert windlass("enqueue", "broken.wants_none", "--wait", "20").split()[-1] == "42"
        wait_until(lambda: "not in my name" in windlass("jobs", "show", job), "the job to say why it waits")
        fleet.signal(signal.SIGTERM)
        assert fleet.ended() == 0
