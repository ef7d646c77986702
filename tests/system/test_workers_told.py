"""``windlass workers drain`` and ``stop``: real workers are told, end, and stay down."""

import os
import signal
import sqlite3
import threading
from pathlib import Path

import psutil
import pytest

from tests.integration.cli_session import Session
from tests.system.supervised import Supervised, wait_until, worker_command

TASKS = """\
import asyncio
from pathlib import Path

from windlass import App

app = App("sqlite:///jobs.db", lease=1)


@app.task
async def wait(file: str) -> str:
    Path(file + ".started").touch()
    while not Path(file).exists():
        await asyncio.sleep(0.01)
    return file
"""

APP = ("--app", "tasks:app")


@pytest.fixture
def session(tmp_path: Path) -> Session:
    made = Session(tmp_path)
    (tmp_path / "tasks.py").write_text(TASKS)
    made.run("migrate", *APP)
    made.transcript.clear()
    return made


def work(session: Session, *arguments: str) -> Supervised:
    return Supervised(worker_command(*APP, *arguments), session.folder)


def start_two(workers: Supervised) -> tuple[int, int]:
    first = workers.started()
    workers.ready()
    second = workers.started()
    workers.ready()
    return first, second


def start_job(session: Session, file: str) -> str:
    """Enqueue a job that runs until the file is there, and wait until it runs."""
    job = session.run("enqueue", *APP, "tasks.wait", f'"{file}"').stdout.strip()
    wait_until((session.folder / f"{file}.started").exists, "the job to start")
    return job


def state(session: Session, job: str) -> tuple[str, int]:
    shown = session.json("jobs", "show", *APP, job)
    return shown["state"], shown["attempt"]


def test_all_processes_are_drained_and_waited_for(session: Session) -> None:
    with work(session, "--processes", "2", "--concurrency", "1", "--grace", "0.1") as workers:
        workers.ready(2)
        jobs = [start_job(session, file) for file in ("one", "two")]
        session.transcript.clear()
        done = session.run("workers", "drain", *APP, "--all", "--wait", "--timeout", "0.5")
        assert done.returncode == 1
        assert "0 of 2 have ended, 2 jobs are still held" in done.stderr
        session.run("workers", "ls", *APP)
        assert [worker["state"] for worker in session.json("workers", "ls", *APP)] == ["draining", "draining"]
        threading.Timer(1.0, lambda: [(session.folder / file).touch() for file in ("one", "two")]).start()
        assert session.run("workers", "drain", *APP, "--all", "--wait", "--json").returncode == 0
        assert workers.ended() == 0
        assert sum("ended, as an operator told it" in line for line in workers.lines) == 2
        assert [state(session, job) for job in jobs] == [("succeeded", 1)] * 2
    assert session.run("workers", "drain", *APP, "--all").returncode == 1


def test_one_supervisor_and_all_its_processes(session: Session) -> None:
    with work(session, "--processes", "2") as one, work(session) as other:
        one.ready(2)
        other.ready()
        shown = session.run_in_terminal("workers", "stop", *APP, "--pid", str(one.process.pid), "--wait")
        assert shown.count("ended") == 2
        assert one.ended() == 0
        [left] = session.json("workers", "ls", *APP)
        assert left["supervisor"] == other.process.pid
        told = session.run("workers", "stop", *APP, left["session"][:30], "--wait")
        assert told.returncode == 0
        assert other.ended() == 0


def test_one_process_of_several_stays_down(session: Session) -> None:
    with work(session, "--processes", "2") as workers:
        first, second = start_two(workers)
        assert session.run("workers", "drain", *APP, "--pid", str(first), "--wait").returncode == 0
        workers.next(f"worker {first} ended, as an operator told it")
        workers.signal(signal.SIGHUP)
        third = workers.started()
        workers.next(f"worker {second} stopped")
        assert [worker["pid"] for worker in session.json("workers", "ls", *APP)] == [third]
        workers.signal(signal.SIGTERM)
        assert workers.ended() == 0


def test_one_that_dies_or_is_to_be_replaced_while_it_drains_stays_down(session: Session) -> None:
    with work(session, "--processes", "2") as workers:
        pids = start_two(workers)
        job = start_job(session, "one")
        assert session.run("workers", "drain", *APP, "--all").returncode == 0
        wait_until(lambda: len(session.json("workers", "ls", *APP)) == 1, "the idle one to end")
        [busy] = session.json("workers", "ls", *APP)
        workers.signal(signal.SIGHUP)
        workers.next("replacing the workers")
        os.kill(busy["pid"], signal.SIGKILL)
        assert workers.ended() == 0
        assert sum("started" in line for line in workers.lines) == 2
        assert not any(psutil.pid_exists(pid) for pid in pids)
    assert state(session, job) == ("running", 1), "nobody is left to take it back"


def test_a_signal_hurries_a_worker_that_drains(session: Session) -> None:
    with work(session, "--grace", "0.2") as workers:
        workers.ready()
        job = start_job(session, "one")
        assert session.run("workers", "drain", *APP, "--all").returncode == 0
        wait_until(lambda: session.json("workers", "ls", *APP)[0]["state"] == "draining", "it to drain")
        workers.next("told to drain")
        workers.signal(signal.SIGTERM)
        assert workers.ended() == 0
    assert state(session, job) == ("ready", 1)


def test_a_killed_worker_does_not_hear(session: Session) -> None:
    with work(session) as workers:
        pid = workers.started()
        workers.ready()
        [worker] = session.json("workers", "ls", *APP)
        os.kill(pid, signal.SIGSTOP)  # or it would hear that its supervisor is gone, and stop as it should
        workers.signal(signal.SIGKILL)
        os.kill(pid, signal.SIGKILL)
    with sqlite3.connect(session.folder / "jobs.db") as db:
        db.execute("UPDATE sessions SET lease_until = 0")
    db.close()
    done = session.run("workers", "stop", *APP, worker["session"])
    assert done.returncode == 1
    assert "is not live: nobody hears" in done.stderr
