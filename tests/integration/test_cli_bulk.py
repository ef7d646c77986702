"""Many jobs at once from the command line: counted, asked about, watched, interrupted, and taken up again."""

import json
import os
import signal
import sqlite3
from pathlib import Path

import pytest

from tests.integration.cli_session import Session
from tests.integration.test_bulk import fill
from windlass.core.lifecycle import State

URL = ("--url", "sqlite:///jobs.db")


@pytest.fixture
def session(tmp_path: Path) -> Session:
    made = Session(tmp_path)
    made.run("migrate", *URL)
    made.transcript.clear()
    return made


def states(session: Session) -> dict[str, int]:
    with sqlite3.connect(session.folder / "jobs.db") as db:
        rows = db.execute("SELECT state, count(*) FROM jobs GROUP BY state").fetchall()
    db.close()
    return {State(state).word: count for state, count in rows}


def test_many_jobs_at_once(session: Session) -> None:
    fill(session.folder / "jobs.db", 1200)
    session.run("jobs", "replay", *URL, "--task", "t", "--dry-run")
    session.run("jobs", "replay", *URL, "--task", "t", "--dry-run", "--json")
    session.run("jobs", "replay", *URL, "--task", "nobody", "--yes")
    session.run("jobs", "replay", *URL, "--task", "t", "--state", "dead", "--yes")
    assert states(session) == {"ready": 1200}
    session.run("jobs", "replay", *URL, "--all", "-y")
    session.run("jobs", "cancel", *URL, "--queue", "default", "--before", "2026-01-31", "--yes")
    assert states(session) == {"cancelled": 1200}
    assert session.json("jobs", "replay", *URL, "--state", "cancelled", "--yes") == {
        "matched": 1200,
        "replayed": 1200,
        "refused": 0,
        "interrupted": False,
    }
    session.run("jobs", "cancel", *URL, "--after", "1h", "--yes")
    session.run("jobs", "cancel", *URL, "--all", "--json", "--yes")
    session.run("jobs", "purge", *URL, "--all", "--yes")
    assert states(session) == {"cancelled": 1200}, "all of them finished a moment ago"
    session.check("bulk")


def test_what_cannot_be_meant(session: Session) -> None:
    fill(session.folder / "jobs.db", 2)
    for command in ("replay", "cancel", "purge"):
        assert session.run("jobs", command, *URL, "--task", "t").returncode == 2
    for arguments in (
        ("replay",),
        ("cancel", "--yes"),
        ("replay", "--state", "ready", "--yes"),
        ("cancel", "--state", "dead", "--dry-run"),
        ("purge", "--state", "running", "--state", "dead", "--yes"),
        ("replay", "--all", "01890a5d-ac96-774b-bcce-b302099a8057"),
        ("replay", "--before", "yesterday", "--yes"),
        ("replay", "--before", "99999999d", "--yes"),
        ("replay", "--after", "2026-02-30", "--yes"),
        ("replay", "--task", "a b", "--yes", "--json"),
        ("replay", "--state", "\x1b[31mred", "--yes"),
    ):
        assert session.run("jobs", *arguments, *URL).returncode == 2
    assert states(session) == {"dead": 2}
    session.check("bulk_refuses")


def test_a_terminal_is_asked_and_shown_a_bar(session: Session) -> None:
    fill(session.folder / "jobs.db", 1200)
    assert "nothing was replayed" in session.run_in_terminal("jobs", "replay", *URL, "--all", typed="n\n")
    assert "nothing was replayed" in session.run_in_terminal("jobs", "replay", *URL, "--all", typed="\x04")
    assert states(session) == {"dead": 1200}
    shown = session.run_in_terminal("jobs", "replay", *URL, "--all", typed="y\n")
    assert "1200/1200" in shown
    assert states(session) == {"ready": 1200}
    shown = session.run_in_terminal("jobs", "cancel", *URL, "--all", "--yes", "--json")
    assert json.loads(shown[shown.rindex("{") :])["cancelled"] == 1200
    session.check("bulk_terminal")


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_an_interrupt_says_how_far_it_came_and_the_same_command_goes_on(
    session: Session, options: tuple[str, ...]
) -> None:
    fill(session.folder / "jobs.db", 100_000)
    interrupted: list[int] = []

    def interrupt(pid: int, shown: bytes) -> None:
        if b"replay" in shown and b"500/100000" in shown and not interrupted:
            interrupted.append(pid)
            os.kill(pid, signal.SIGINT)

    shown = session.run_in_terminal("jobs", "replay", *URL, "--all", "--yes", *options, react=interrupt)
    assert session.transcript[-1].rstrip().endswith("[130]")
    done = states(session)["ready"]
    assert 0 < done < 100_000
    if options:
        said = json.loads(shown[shown.rindex("{") :])
        assert said == {"matched": done, "replayed": done, "refused": 0, "interrupted": True}
    else:
        assert f"{done} replayed" in shown
        assert "the same command goes on from there" in shown
    assert session.run("jobs", "replay", *URL, "--all", "--yes").stdout == f"{100_000 - done} replayed\n"
    assert states(session) == {"ready": 100_000}
