"""``windlass workers drain`` and ``stop``: whom they mean. (That real workers obey is in ``tests/system``.)"""

import asyncio
from pathlib import Path

import pytest

from tests.integration.cli_session import Session
from tests.integration.test_cli_commands import store_of
from windlass.core.model import Lane
from windlass.core.model import Session as WorkerSession

APP = ("--app", "tasks:app")


@pytest.fixture
def session(tmp_path: Path) -> Session:
    made = Session(tmp_path)
    made.run("migrate", *APP)
    made.transcript.clear()
    return made


def worker(digits: str, node: str, pid: int, supervisor: int = 0) -> WorkerSession:
    lanes = (Lane("default"),)
    key = bytes.fromhex(digits.ljust(32, "0"))
    return WorkerSession(id=key, node=node, pid=pid, supervisor=supervisor, lanes=lanes, slots=1)


async def have_workers(path: Path) -> None:
    """Two under one supervisor, and one on another machine that has the same process id; one silent worker."""
    async with store_of(path, minutes_ago=3) as store:
        await store.open(worker("aa", "box", 90))
    async with store_of(path, minutes_ago=0) as store:
        for one in (worker("ab11", "box", 11, 10), worker("ab12", "box", 12, 10), worker("c0ffee", "pod", 11)):
            await store.open(one)


def test_whom_is_meant(session: Session) -> None:
    asyncio.run(have_workers(session.folder / "jobs.db"))
    session.run("workers", "drain", *APP, "ab11")
    session.run("workers", "ls", *APP)
    session.run("workers", "drain", *APP, "--pid", "10")
    session.run("workers", "stop", *APP, "--pid", "11", "--node", "pod")
    session.run("workers", "stop", *APP, "--node", "box", "--json")
    assert [one["answer"] for one in session.json("workers", "drain", *APP, "--all")] == ["told to drain"] * 3
    told = session.json("workers", "stop", *APP, "AB12", "c0", "c0ffee")
    assert [one["pid"] for one in told] == [12, 11]
    session.run("workers", "stop", *APP, "--all", "--wait", "--timeout", "0.1")
    session.run("workers", "ls", *APP)
    session.check("workers_told")


def test_who_cannot_be_meant(session: Session) -> None:
    session.run("workers", "drain", *APP, "--all")
    asyncio.run(have_workers(session.folder / "jobs.db"))
    for arguments in (
        ("ab",),
        ("ff",),
        ("aa",),
        ("--node", "bx"),
        ("--pid", "11"),
        ("--pid", "99"),
        ("--pid", "12", "--node", "pod"),
        ("ff", "--json"),
    ):
        assert session.run("workers", "stop", *APP, *arguments).returncode == 1
    for arguments in (
        (),
        ("--json",),
        ("xyz",),
        ("",),
        ("a" * 33,),
        ("\x1b[31m",),
        ("ab11", "--all"),
        ("--node", "box", "--all"),
        ("ab11", "--pid", "11"),
        ("--pid", "0"),
        ("--all", "--timeout", "soon"),
    ):
        assert session.run("workers", "drain", *APP, *arguments).returncode == 2
    assert session.run("workers", "stop", *APP).returncode == 2
    assert session.run("workers", "stop", *APP, "--json").returncode == 2
    session.check("workers_told_refuses")
