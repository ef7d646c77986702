"""A server as a test handles it: started, stopped, killed, paused, and started again on the same port and data."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Self

import psutil

from tests.conftest import skip_or_fail

_PATIENCE = 30.0


def find_binary(name: str, package: str) -> str:
    """Find a server's program, on the PATH or where Debian keeps PostgreSQL's; skip the test if there is none."""
    kept = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: int(path.parts[4]))
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin") or (str(kept[-1]) if kept else None)
    if found is None:
        skip_or_fail(f"{name} is not installed (Debian, Ubuntu: apt-get install {package}; scripts/servers.sh does it)")
    return found


def free_port() -> int:
    """Find a loopback port that nobody uses at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Server(ABC):
    """One private server. Use it as a context manager, or `start` and `destroy` it."""

    stop_signal = signal.SIGTERM

    def __init__(self) -> None:
        self.run_as: dict[str, Any] = {}
        """More arguments for `subprocess.Popen`."""
        self.folder = Path(tempfile.mkdtemp(prefix="windlass-server-"))
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def command(self) -> list[str]:
        """The command line that runs it in the foreground."""

    @abstractmethod
    def is_ready(self) -> bool:
        """Whether it serves clients now."""

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.destroy()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.destroy()

    @property
    def pid(self) -> int:
        """Of its main process."""
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> Path:
        """What it printed."""
        return self.folder / "server.log"

    def start(self) -> None:
        """Start it, and return when it serves clients."""
        assert self._process is None
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder, **self.run_as
            )
        deadline = time.monotonic() + _PATIENCE
        while not self.is_ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"{self.command()[0]} does not serve:\n{self.log.read_text(errors='replace')}")
            time.sleep(0.02)

    def stop(self) -> None:
        """End it as an administrator would."""
        self._end(self.stop_signal)

    def kill(self) -> None:
        """End it, and all its processes, with SIGKILL."""
        family = self._family()
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):  # the others may go when their parent has gone
                process.send_signal(signal.SIGKILL)
        self._end(signal.SIGKILL)
        psutil.wait_procs(family[1:], _PATIENCE)  # nobody else would: what they share is free only then

    def pause(self) -> None:
        """Stop it, and all its processes, with SIGSTOP: connections stay, and nobody answers."""
        for process in self._family():
            with contextlib.suppress(psutil.NoSuchProcess):  # PostgreSQL's end with their connections
                process.suspend()

    def resume(self) -> None:
        """Let it go on."""
        for process in self._family():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()

    def destroy(self) -> None:
        """End it however it is, and delete its data. Idempotent."""
        if self._process is not None:
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _family(self) -> list[psutil.Process]:
        main = psutil.Process(self.pid)
        return [main, *main.children(recursive=True)]

    def _end(self, number: int) -> None:
        assert self._process is not None
        os.kill(self._process.pid, number)
        self._process.wait(_PATIENCE)
        self._process = None
