"""Where output goes and what is in it: terminals, pipes that close early, and text that would command a terminal."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.cli_session import Session

APP = ("--app", "tasks:app")
HOSTILE = "\x1b]0;owned\x07\x1b[2J\u202eevil\r\n\x9b31m\x00"


@pytest.fixture
def session(tmp_path: Path) -> Session:
    made = Session(tmp_path)
    made.create_store()
    return made


def shell(session: Session, script: str) -> subprocess.CompletedProcess[str]:
    """Run a shell script in which ``$windlass`` is the command."""
    return subprocess.run(
        ["bash", "-c", script],
        cwd=session.folder,
        env=session.environment({"windlass": f"{sys.executable} -m windlass", "WINDLASS_APP": "tasks:app"}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


def test_a_narrow_terminal_folds_but_never_cuts_an_id(session: Session) -> None:
    queue = "a-queue-with-a-name-that-is-longer-than-a-narrow-terminal-would-like"
    job = session.run("enqueue", *APP, "tasks.add", "1", "2", "-q", queue).stdout.strip()
    shown = session.run_in_terminal("jobs", "ls", *APP)
    assert job in shown
    assert "\x1b[" in shown, "a terminal gets colours"
    assert all(len(line) <= 80 for line in session.transcript[-1].splitlines())
    assert queue in session.run("jobs", "ls", *APP).stdout, "what is no terminal gets every line whole"
    session.run_in_terminal("queues", "ls", *APP)
    session.run_in_terminal("jobs", "--help", columns=40)
    session.check("narrow_terminal")


@pytest.mark.parametrize("plain", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
@pytest.mark.parametrize(
    ("arguments", "painted"),
    [
        (("jobs", "ls", *APP), "\x1b[34mready"),
        (("jobs", "--help"), "\x1b[1musage:"),
        (("jobs", "ls", "--help"), "\x1b[1mexit codes:"),
        (("jobs", "show", *APP, "42"), "\x1b[1;31merror:"),
        (("queues", "ls", "--url", "sqlite:///empty.db"), "\x1b[33mnote:"),
        (("limits", "ls", *APP), "\x1b[33mpaused"),
    ],
)
def test_a_terminal_gets_colours_unless_nobody_wants_them(
    session: Session, arguments: tuple[str, ...], painted: str, plain: dict[str, str]
) -> None:
    session.run("migrate", "--url", "sqlite:///empty.db")
    session.run("enqueue", *APP, "tasks.add", "1", "2")
    session.run("queues", "pause", *APP, "default")
    assert painted in session.run_in_terminal(*arguments)
    assert "\x1b" not in session.run_in_terminal(*arguments, **plain)
    assert "\x1b" not in session.run(*arguments).stdout + session.run(*arguments).stderr


def test_json_is_the_same_in_a_terminal_but_for_line_breaks(session: Session) -> None:
    session.run("enqueue", *APP, "tasks.add", "1", "2")
    shown = session.run_in_terminal("queues", "ls", *APP, "--json")
    assert shown.count("\n") > 1
    assert json.loads(shown) == session.json("queues", "ls", *APP)


def test_no_text_commands_the_terminal(session: Session) -> None:
    job = session.run("enqueue", *APP, "tasks.send", json.dumps(HOSTILE), "--unique", "k").stdout.strip()
    with_worker = shell(
        session,
        # The error's text holds the argument; the worker logs it.
        "$windlass worker 2>log & worker=$!; $windlass enqueue tasks.send '\"\\u001b[31m\\u009b\"' --wait 20; "
        "kill $worker; wait $worker; cat log",
    )
    outputs = [
        with_worker.stdout,
        with_worker.stderr,
        session.run("jobs", "show", *APP, job).stdout,
        session.run("jobs", "show", *APP, job, "--json").stdout,
        session.run("jobs", "ls", *APP).stdout,
        session.run("enqueue", *APP, f"tasks.{HOSTILE[:-1]}").stderr,
        session.run("jobs", "show", *APP, HOSTILE[:-1]).stderr,
        session.run("queues", "pause", *APP, HOSTILE[:-1]).stderr,
        session.run("queues", "ls", "--app", HOSTILE[:-1]).stderr,
        session.run("queues", "ls", "--url", HOSTILE[:-1]).stderr,
        session.run(HOSTILE[:-1]).stderr,
        session.run("jobs", "ls", f"--{HOSTILE[:-1]}").stderr,
    ]
    for output in outputs:
        assert output
        assert all(sign.isprintable() or sign == "\n" for sign in output), ascii(output)


def test_a_reader_that_stops_reading_is_no_error_to_shout_about(session: Session) -> None:
    for number in range(3):
        session.run("enqueue", *APP, "tasks.add", str(number), "0")
    for arguments in (("jobs", "ls"), ("jobs", "ls", "--json"), ("--help",), ("jobs", "ls", "--help")):
        unread, pipe = os.pipe()
        os.close(unread)
        done = subprocess.run(
            [sys.executable, "-m", "windlass", *arguments],
            cwd=session.folder,
            env=session.environment({"WINDLASS_APP": "tasks:app"}),
            stdout=pipe,
            stderr=subprocess.PIPE,
            timeout=50,
            check=False,
        )
        os.close(pipe)
        assert (done.returncode, done.stderr) == (1, b"")
    assert shell(session, "$windlass jobs ls | head -n 1").stderr == ""


def test_output_that_cannot_be_written(session: Session) -> None:
    done = shell(session, "$windlass jobs ls --json >/dev/full; echo $?")
    assert done.stdout == "1\n"
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
    assert shell(session, "$windlass enqueue tasks.add 1 2 >&-; echo $? >&2").stderr == "0\n"
    assert shell(session, "$windlass enqueue tasks.nope 1 2 2>&-; echo $?").stdout == "2\n"


def test_an_ascii_terminal_is_served_too(session: Session) -> None:
    done = shell(session, "PYTHONIOENCODING=ascii PYTHONUTF8=0 $windlass enqueue tasks.send '\"Grüße\"' --json")
    assert done.returncode == 0, done.stderr
    done = shell(session, "PYTHONIOENCODING=ascii $windlass jobs ls; PYTHONIOENCODING=ascii $windlass frob\u00fc")
    assert "Traceback" not in done.stderr


def test_python_m_windlass_and_the_console_script_are_one(session: Session) -> None:
    script = Path(sys.executable).parent / "windlass"
    if not script.exists():
        pytest.fail("the package is not installed in this environment: run the suite with make test")
    done = subprocess.run([script, "--version"], capture_output=True, text=True, timeout=20, check=True)
    assert done.stdout == session.run("--version").stdout
    assert os.access(script, os.X_OK)
