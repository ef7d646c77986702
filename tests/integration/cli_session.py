"""A person at a terminal: runs commands, and keeps what the terminal showed, to be compared with a snapshot.

Snapshots are in ``snapshots/``; ``UPDATE_SNAPSHOTS=1`` writes them anew, and the difference is for a person to judge.
"""

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path
from typing import Any

SNAPSHOTS = Path(__file__).parent / "snapshots"

TASKS = """\
from datetime import datetime

from windlass import App, Retry

app = App("sqlite:///jobs.db")


@app.task
def add(a: int, b: int) -> int:
    return a + b


@app.task(queue="mail", retry=Retry(attempts=1))
def send(to: str, body: str = "hello") -> None:
    raise ValueError(f"no such address: {to}")


@app.task
async def later(at: datetime) -> datetime:
    return at
"""

_ID = re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}\b|\b[0-9a-f]{32}\b", re.IGNORECASE)
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
_PIDS = re.compile(r"(?<=\[)\d+(?=\] windlass)|(?<=: worker )\d+|(?<=process )\d+(?=, which)")
_PLACE = re.compile(r"(?<=worker )\d+ on [\w.-]+")
_LAYOUT = re.compile(r"(?<=Windlass needs )\d+|(?<=Windlass knows )\d+")
_SPAN = re.compile(r"(?<=for )\d+(\.\d)? s\b|\d+(\.\d)? s(?= ago)")
_TOKEN = re.compile(r"wl_[\w-]{43}")
_TOKEN_ID = re.compile(r"(?<![0-9a-f.-])[0-9a-f]{12}(?![0-9a-f-])")
_COLOUR = re.compile(r"\x1b\[[\d;]*m")
_BAR = re.compile(r"^.*\x1b\[2K", re.MULTILINE | re.DOTALL)
"""All that a bar ever showed, up to where its line is wiped for the last time."""
_EXACT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00")
_AGE = re.compile(r"(?<!/)\b\d+s\b")
_VERSION = re.compile(r"windlass \d+\.\d+\.\d+\S*")
_FIGURE = re.compile(r'(?<="value": )[\d.]+')
_FIGURES = re.compile(r" {2,}(?:[\d,.]+|(VALUE))(?=  (?:jobs/s|ms|UNIT)$)", re.MULTILINE)
_MACHINE = re.compile(r"\d+ CPUs, Python \S+,")


class Session:
    """Commands in one folder, and their transcript."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.transcript: list[str] = []
        self._ids: dict[str, str] = {}
        (folder / "tasks.py").write_text(TASKS)

    def environment(self, extra: dict[str, str]) -> dict[str, str]:
        mine = {key: value for key, value in os.environ.items() if not key.startswith("WINDLASS_APP")}
        return mine | {"COLUMNS": "80", "PYTHONDONTWRITEBYTECODE": "1"} | extra

    def run(self, *arguments: str, stdin: str = "", **env: str) -> subprocess.CompletedProcess[str]:
        """Run ``windlass ARGUMENTS``, with its input and output in pipes, and write it into the transcript."""
        done = subprocess.run(
            [sys.executable, "-m", "windlass", *arguments],
            cwd=self.folder,
            env=self.environment(env),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )
        errors = "".join(f"! {line}\n" for line in done.stderr.splitlines())
        self._note(arguments, env, done.stdout + errors, done.returncode)
        assert "Traceback" not in done.stderr
        return done

    def create_store(self) -> None:
        """Create the tasks' database, and say nothing of it: what it says grows with every new layout."""
        assert self.run("migrate", "--url", "sqlite:///jobs.db").returncode == 0
        self.transcript.pop()

    def keep(self, log: list[str], *arguments: str) -> None:
        """Write what a command that ran beside wrote to its standard error into the transcript, each line once."""
        lines = self._normal("".join(f"! {line}\n" for line in log)).splitlines(keepends=True)
        self._note(arguments, {}, "".join(dict.fromkeys(lines)), 0)

    def json(self, *arguments: str, **env: str) -> Any:
        """Run a command that must succeed and print one JSON value."""
        done = self.run(*arguments, "--json", **env)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("\n") == 1
        return json.loads(done.stdout)

    def run_in_terminal(
        self,
        *arguments: str,
        columns: int = 80,
        typed: str = "",
        react: Callable[[int, bytes], None] = lambda *_: None,
        **env: str,
    ) -> str:
        """Run it with a terminal of so many columns, in which somebody types, and reacts to what is shown so far: with
        the process id and all of it."""
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        environment = self.environment({"TERM": "xterm"} | env)
        del environment["COLUMNS"]
        command = [sys.executable, "-m", "windlass", *arguments]
        process = subprocess.Popen(
            command, cwd=self.folder, env=environment, stdin=theirs, stdout=theirs, stderr=theirs
        )
        os.close(theirs)
        os.write(ours, typed.encode())
        shown = b""
        try:
            while block := os.read(ours, 4096):
                shown += block
                react(process.pid, shown)
        except OSError:
            pass  # how Linux says that the other side is gone
        os.close(ours)
        text = shown.decode().replace("\r\n", "\n")
        self._note((*arguments, f"# {columns} columns"), env, _BAR.sub("", text), process.wait(20))
        return text

    def _note(self, arguments: tuple[str, ...], env: dict[str, str], output: str, code: int) -> None:
        line = " ".join([*(f"{key}={value}" for key, value in env.items()), "windlass", *map(_quoted, arguments)])
        self.transcript.append(self._normal(f"$ {line}\n{output.rstrip()}\n[{code}]\n".replace("\n\n[", "\n[")))

    def _normal(self, text: str) -> str:
        """Make it the same on every run, without changing the width of anything but figures."""
        text = _COLOUR.sub("", text.replace(str(self.folder), "/folder"))
        text = _TOKEN_ID.sub("0123456789ab", _TOKEN.sub("wl_" + "x" * 43, text))
        text = _SPAN.sub("0 s", _LAYOUT.sub("9", _PLACE.sub("1 on node", _PIDS.sub("1", text))))
        text = _ID.sub(self._known_id, text)
        text = _TIME.sub("2026-01-31T12:00:00.000Z", text)
        text = _MACHINE.sub("0 CPUs, Python 0,", _FIGURE.sub("0", text))
        text = _FIGURES.sub(lambda found: f"  {found[1] or 0}", text)
        text = _EXACT.sub("2026-01-31T12:00:00.000000+00:00", text)
        return _AGE.sub(lambda found: "0s".rjust(len(found[0])), _VERSION.sub("windlass 0.0.0", text))

    def _known_id(self, found: re.Match[str]) -> str:
        # Ids of one millisecond are told apart by their order of appearance.
        number = self._ids.setdefault(found[0].replace("-", "").lower(), f"{len(self._ids) + 1:032}")
        if "-" not in found[0]:
            return number
        return "-".join((number[:8], number[8:12], number[12:16], number[16:20], number[20:]))

    def check(self, name: str) -> None:
        """Compare the transcript with the snapshot of this name."""
        path = SNAPSHOTS / f"{name}.txt"
        shown = "\n".join(self.transcript)
        if os.environ.get("UPDATE_SNAPSHOTS"):
            path.write_text(shown)
        assert shown == path.read_text()


def _quoted(argument: str) -> str:
    return (
        argument
        if re.fullmatch(r"[\w@%+=:,./#-]+( columns)?", argument)
        else "'" + argument.replace("'", "'\\''") + "'"
    )
