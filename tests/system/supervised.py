"""A supervisor that a test watches: what it writes, and what its children are."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Self

PATIENCE = 20.0


class Supervised:
    """Runs a command and collects the lines of its standard error, to be waited for."""

    def __init__(
        self, command: list[str], cwd: Path, env: dict[str, str] | None = None, *, quiet: bool = False
    ) -> None:
        self.lines: list[str] = []
        self._seen = 0
        self._news = threading.Condition()
        self.process = subprocess.Popen(
            command,
            cwd=cwd,
            env=os.environ | {"COLUMNS": "120"} | (env or {}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL if quiet else subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        if self.process.stderr is None:
            return
        with self.process.stderr:
            for line in self.process.stderr:
                with self._news:
                    self.lines.append(line.rstrip("\n"))
                    self._news.notify_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)  # its children hold the pipe too: they are gone when it ends
        assert not self._reader.is_alive(), "children outlived their supervisor"

    def next(self, pattern: str) -> re.Match[str]:
        """Wait for the next line that matches, after the last one found."""
        deadline = time.monotonic() + PATIENCE
        with self._news:
            while True:
                while self._seen < len(self.lines):
                    self._seen += 1
                    if found := re.search(pattern, self.lines[self._seen - 1]):
                        return found
                if not self._news.wait(deadline - time.monotonic()):
                    raise AssertionError(f"no line like {pattern!r} in:\n" + "\n".join(self.lines))

    def started(self) -> int:
        """Wait for the next start of a child; answers its process id."""
        return int(self.next(r"worker (\d+) started")[1])

    def ready(self, count: int = 1) -> None:
        """Wait until so many workers have opened their sessions."""
        for _ in range(count):
            self.next("claims jobs")

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def ended(self) -> int:
        """Wait until it has ended; answers the exit code."""
        return self.process.wait(PATIENCE)


def worker_command(*arguments: str) -> list[str]:
    """``windlass worker`` with these arguments."""
    return [sys.executable, "-m", "windlass", "worker", *arguments]


def supervise_script(folder: Path, processes: int = 1, grace: float = 5, mode: str = "ready", **env: str) -> Supervised:
    """Start a supervisor of scripted children."""
    (folder / "mode").write_text(mode)
    command = ["windlass.engine.supervisor", str(processes), str(grace), "tests.system.scripted_child", str(folder)]
    return Supervised([sys.executable, "-m", *command], Path(__file__).parents[2], env)


def tell(folder: Path, pid: int, order: str) -> None:
    """Give an order to a scripted child, once it listens."""
    fifo = folder / str(pid)
    wait_until(fifo.exists, f"child {pid} to listen")
    with fifo.open("w") as pipe:
        pipe.write(order + "\n")


def heard(folder: Path, pid: int) -> str:
    """Wait until a scripted child was told something, and say what."""
    path = folder / f"{pid}.heard"
    wait_until(path.exists, f"child {pid} to hear something")
    wait_until(path.read_text, "what it heard")
    return path.read_text()


def wait_until(condition: object, what: str) -> None:
    """Wait for a condition that nobody announces."""
    deadline = time.monotonic() + PATIENCE
    assert callable(condition)
    while not condition():
        assert time.monotonic() < deadline, f"waited {PATIENCE} s for {what}"
        time.sleep(0.01)
