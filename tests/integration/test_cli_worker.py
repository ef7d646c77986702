"""``windlass worker`` at a terminal, and what other commands show while one runs."""

import json
from pathlib import Path

import pytest

from tests.integration.cli_session import Session
from tests.system.supervised import Supervised, wait_until, worker_command

APP = ("--app", "tasks:app")


@pytest.fixture
def session(tmp_path: Path) -> Session:
    return Session(tmp_path)


def start_worker(session: Session, *arguments: str, **env: str) -> Supervised:
    return Supervised(worker_command(*APP, *arguments), session.folder, session.environment(env))


def test_worker_refuses(session: Session) -> None:
    (session.folder / "inmemory.py").write_text("from windlass import App\napp = App('memory://')\n")
    (session.folder / "nowhere.py").write_text("from windlass import App\napp = App('sqlite:////nowhere/at/all.db')\n")
    (session.folder / "broken.py").write_text("1 / 0\n")
    for arguments in (
        (),
        ("--app", "tsks:app"),
        ("--app", "broken:app", "--processes", "3"),
        ("--app", "inmemory:app"),
        ("--app", "nowhere:app"),
        (*APP, "-q", "bad queue"),
        (*APP, "-q", "a:0"),
        (*APP, "-q", "a:101"),
        (*APP, "-q", "a", "-q", "a:2"),
        (*APP, "--concurrency", "0"),
        (*APP, "--processes", "none"),
        (*APP, "--grace", "-1"),
        (*APP, "--grace", "nan"),
        (*APP, "--recycle-jobs", "0"),
        (*APP, "--recycle-age", "0"),
        (*APP, "--recycle-memory", "500"),
        (*APP, "--recycle-memory", "2KiB"),
        (*APP, "--health", "80800"),
        (*APP, "--health", ":8080"),
        (*APP, "--health", "http://localhost:8080/"),
        (*APP, "--lag-warning", "0.01"),
        (*APP, "--resource", "gpu"),
        (*APP, "--resource", "gpu=many"),
        (*APP, "--resource", "gpu=1", "--resource", "gpu=2"),
        (*APP, "--label", "a b"),
        (*APP, "--log-level", "loud"),
        (*APP, "extra"),
    ):
        assert session.run("worker", *arguments).returncode == 2
    session.check("worker_refuses")


def test_a_worker_that_logs_json_writes_nothing_else(session: Session) -> None:
    session.run("migrate", *APP)
    job = session.run("enqueue", *APP, "tasks.send", '"nobody"').stdout.strip()
    with start_worker(session, "--log-format", "json") as worker:
        worker.next("is dead after attempt 1")
        worker.process.terminate()
        assert worker.process.wait(20) == 0
    said = [json.loads(line) for line in worker.lines]
    assert {one["logger"] for one in said} >= {"windlass.supervisor", "windlass.worker", "windlass.engine"}
    assert [one["job"] for one in said if one["level"] == "ERROR"] == [job]
    assert all({"time", "level", "pid", "message"} <= one.keys() for one in said)


def test_a_job_from_the_command_line_to_a_worker_and_back(session: Session) -> None:
    session.run("workers", "ls", *APP)
    with start_worker(session, "--processes", "2", "--concurrency", "7") as worker:
        worker.next("jobs.db did not exist and was created")
        worker.ready(2)
        assert session.run("enqueue", *APP, "tasks.add", "1", "2", "--wait", "20").stdout.splitlines()[1:] == ["3"]
        done = session.run("enqueue", *APP, "tasks.later", '"2026-01-31T12:00:00Z"', "--wait", "20", "--json")
        assert done.returncode == 0
        session.run("enqueue", *APP, "tasks.send", r'"\u001b[31mred\u0007"', "--wait", "20")
        session.run("enqueue", *APP, "tasks.add", "1", "2", "-q", "nobody", "--wait", "0.1")
        (dead,) = session.json("jobs", "ls", *APP, "--state", "dead")["jobs"]
        session.run("jobs", "show", *APP, dead["id"])
        session.check("worker")
        workers = session.json("workers", "ls", *APP)
        assert sorted(worker["state"] for worker in workers) == ["live", "live"]
        assert {tuple(worker["queues"]) for worker in workers} == {("default", "mail")}
        assert {worker["slots"] for worker in workers} == {7}
        table = session.run("workers", "ls", *APP).stdout
        assert all(str(worker["pid"]) in table and worker["session"] in table for worker in workers)
        worker.process.terminate()
        assert worker.ended() == 0
    assert session.json("workers", "ls", *APP) == []


def test_what_a_worker_says(session: Session) -> None:
    session.create_store()
    with start_worker(session, "-q", "mail:3", "-q", "default") as worker:
        worker.ready()
        worker.process.terminate()
        assert worker.ended() == 0
    session.keep(worker.lines, "worker", *APP, "-q", "mail:3", "-q", "default")
    session.check("worker_says")


def test_a_worker_that_is_told_to_speak_of_errors_alone_has_nothing_to_say(session: Session) -> None:
    session.create_store()
    with start_worker(session, "--log-level", "error") as worker:
        wait_until(lambda: session.json("workers", "ls", *APP), "a session")
        worker.process.terminate()
        assert worker.ended() == 0
    assert worker.lines == []
