"""Functions that are no tasks, from one process to another: of a script, and between those who share no key."""

import os
import secrets
import subprocess
import sys
from pathlib import Path

import pytest

from tests.system.supervised import Supervised, wait_until, worker_command
from windlass import App, RemoteError

TASKS = """\
from windlass import App

app = App("sqlite:///jobs.db", lease=1)
"""

NOTEBOOK = """\
import os
from windlass import App

app = App("sqlite:///jobs.db", lease=1)
FACTOR = 3


class Point:
    def __init__(self, x):
        self.x = x


def moved(point, by=1):
    return Point(point.x * FACTOR + by), os.getpid()


async def waited(n):
    return [n]


if __name__ == "__main__":
    with app.executor() as pool:
        point, pid = pool.submit(moved, Point(2), by=5).result(20)
        print(type(point) is Point, point.x, pid != os.getpid())
        print(pool.submit(waited, 7).result(20))
        print(list(pool.map(lambda n: n * FACTOR, range(5))))
"""
WAIT = 20.0


@pytest.fixture
def key() -> str:
    return secrets.token_urlsafe(32)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "tasks.py").write_text(TASKS)
    return tmp_path


def worker(folder: Path, key: str) -> Supervised:
    """A worker with this key; with none, if it is empty."""
    return Supervised(worker_command("--app", "tasks:app"), folder, {"WINDLASS_SIGNING_KEY": key})


def test_what_a_script_defines_runs_in_another_process(folder: Path, key: str) -> None:
    (folder / "notebook.py").write_text(NOTEBOOK)
    with worker(folder, key) as running:
        done = subprocess.run(
            [sys.executable, "notebook.py"],
            cwd=folder,
            env=os.environ | {"WINDLASS_SIGNING_KEY": key},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.stdout.splitlines() == ["True 11 True", "[7]", "[0, 3, 6, 9, 12]"], done.stderr
        assert done.returncode == 0
        running.process.terminate()
        running.process.wait(WAIT)
        assert not any(key in line for line in running.lines)


def test_a_worker_without_a_key_puts_calls_back_and_says_what_to_do(folder: Path, key: str) -> None:
    app = App(f"sqlite:///{folder}/jobs.db", signing_key=key, lease=1)
    pool = app.executor()
    with worker(folder, ""):
        future = pool.submit(os.getpid)
        wait_until(app.jobs(everything=True).count_sync, "the job")
        wait_until(lambda: future.job.info_sync().errors, "a reason")
        said = future.job.info_sync().errors[0]
        assert "for which the worker needs a signing key: App(signing_key=...) or WINDLASS_SIGNING_KEY" in said
        assert not future.done()
    with worker(folder, key):  # which is what it waited for
        assert future.result(WAIT) != os.getpid()
    pool.shutdown()
    app.close_sync()


def test_between_different_keys_nothing_runs(folder: Path, key: str) -> None:
    app = App(f"sqlite:///{folder}/jobs.db", signing_key=secrets.token_urlsafe(32), lease=1)
    mark = folder / "ran"
    with worker(folder, key), app.executor() as pool:
        future = pool.submit(mark.touch)
        with pytest.raises(RemoteError, match="function call refused: the signature does not fit"):
            future.result(WAIT)
        assert future.job.status_sync() == "dead"
    assert not mark.exists()
    app.close_sync()
