"""``windlass doctor`` beside real workers, of which one is blocked, one killed, one stopped inside a write."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.integration.cli_session import Session
from tests.system.supervised import Supervised, wait_until, worker_command

TASKS = """\
import time
from pathlib import Path

from windlass import App

app = App("sqlite:///jobs.db", lease=1)


@app.task
async def block(seconds: float) -> None:
    Path("blocking").touch()
    time.sleep(seconds)


@app.task
async def nothing() -> None: ...


@app.task(queue="elsewhere")
async def gone() -> None: ...
"""

HOLDER = """\
import sys
from windlass.store.sqlite.lock import WriteLock
WriteLock(sys.argv[1]).acquire()
print("holds", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def session(tmp_path: Path) -> Session:
    made = Session(tmp_path)
    (tmp_path / "tasks.py").write_text(TASKS)
    made.run("migrate", *APP)
    made.transcript.clear()
    return made


APP = ("--app", "tasks:app")


def enqueue(session: Session, *arguments: str) -> str:
    done = session.run("enqueue", *APP, *arguments)
    assert done.returncode == 0
    return done.stdout.strip()


def work(session: Session, *arguments: str) -> Supervised:
    return Supervised(worker_command(*APP, *arguments), session.folder)


def test_an_empty_store_a_forgotten_queue_and_an_unknown_job(session: Session) -> None:
    assert session.run("doctor", *APP).returncode == 0
    assert session.run("doctor", *APP, "--json").returncode == 0
    job = enqueue(session, "tasks.gone")
    assert session.run("doctor", *APP).returncode == 1
    with work(session, "--queue", "default") as workers:
        workers.ready()
        assert session.run("doctor", *APP, job).returncode == 1
        assert session.run("doctor", *APP, "--json").returncode == 1
        session.run_in_terminal("doctor", *APP)
        done = session.run("enqueue", *APP, "tasks.nothing", "--wait", "20").stdout.split()[0]
        assert session.run("doctor", *APP, done).returncode == 0
        workers.signal(signal.SIGTERM)
        workers.ended()
    assert session.run("doctor", *APP, "01890a5d-ac96-774b-bcce-b302099a8057").returncode == 1
    assert session.run("doctor", *APP, "42").returncode == 2
    assert session.run("doctor", *APP, "42", "--json").returncode == 2
    assert session.run("doctor", *APP, "--patience", "-1").returncode == 2
    session.check("doctor")


def test_a_blocked_loop_and_a_killed_worker(session: Session) -> None:
    with work(session, "--concurrency", "8") as workers:
        pid = workers.started()
        workers.ready()
        blocking = enqueue(session, "tasks.block", "1000")
        wait_until((session.folder / "blocking").exists, "the job to block its worker")
        enqueue(session, "tasks.nothing")
        assert session.run("doctor", *APP, "--patience", "1.5").returncode == 1
        assert session.run("doctor", *APP, blocking).returncode == 0
        workers.signal(signal.SIGKILL)
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: lease_is_over(session), "the lease to be over")
    assert session.run("doctor", *APP, blocking).returncode == 1
    session.run("doctor", *APP)
    session.check("doctor_blocked")


def lease_is_over(session: Session) -> bool:
    with sqlite3.connect(session.folder / "jobs.db") as db:
        [(until,)] = db.execute("SELECT max(lease_until) FROM sessions").fetchall()
    db.close()
    return bool(until < time.time_ns() // 1000)


def test_a_task_that_no_worker_has(session: Session) -> None:
    job = enqueue(session, "tasks.nothing")
    (session.folder / "tasks.py").write_text(TASKS.replace("nothing", "something"))
    with work(session) as workers:
        workers.ready()
        wait_until(lambda: "no worker could run" in session.run("doctor", *APP, job).stdout, "it to be undeliverable")
        session.transcript.clear()
        assert session.run("doctor", *APP).returncode == 1
        workers.signal(signal.SIGTERM)
        workers.ended()
    session.check("doctor_undeliverable")


def test_a_writer_that_is_stopped_inside_the_lock(session: Session) -> None:

    enqueue(session, "tasks.nothing")
    session.transcript.clear()
    path = str(session.folder / "jobs.db")
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"holds\n"
        holder.send_signal(signal.SIGSTOP)
        done = session.run("doctor", *APP)
        assert done.returncode == 1
        assert f"by process {holder.pid}, which is stopped" in done.stdout
        holder.kill()
    session.check("doctor_locked")


def test_a_layout_of_an_older_version(session: Session) -> None:
    with sqlite3.connect(session.folder / "jobs.db") as db:
        db.execute("UPDATE meta SET version = 1")
    db.close()
    assert session.run("doctor", *APP).returncode == 1
    assert session.run("doctor", *APP, "--json").returncode == 1
    with sqlite3.connect(session.folder / "jobs.db") as db:
        db.execute("UPDATE meta SET version = 1000")
    db.close()
    assert session.run("doctor", *APP, "01890a5d-ac96-774b-bcce-b302099a8057").returncode == 1
    session.check("doctor_old_layout")
