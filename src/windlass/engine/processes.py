"""One worker process as the supervisor sees it: a process id and two pipes.

Nothing here, and nothing in `supervisor`, may import anything large: this is what stays in memory beside every worker.
"""

from __future__ import annotations

import os
import signal
import sys

READY = b"R"
"""Child to supervisor: it claims jobs now."""
SUSPECTS = b"S"
"""Child to supervisor: a suspect job waits for a process that runs it alone."""
HUNG = b"H"
"""Child to supervisor: the event loop is hung and the lease is given up; kill me."""
RECYCLE = b"C"
"""Child to supervisor: too many threads are stuck; replace me."""
QUIT = b"Q"
"""Child to supervisor: an operator told me to stop, through the store; do not replace me."""
STOP = b"T"
"""Supervisor to child: stop, with the configured grace. The end of the pipe means the same: the supervisor is gone."""
STOP_NOW = b"N"
"""Supervisor to child: give everything back now."""

MISCONFIGURED = 78
"""Exit code of a child that could not even begin: wrong app, wrong store. Starting it again would not help."""


class Process:
    """A running worker process.

    Commands go through a pipe, not as signals: systemd, terminals and people send signals to whole groups, and a child
    that heard one stop twice would take it for the second signal. In its own process group it does not hear a
    terminal's Ctrl-C at all.
    """

    __slots__ = ("control", "kill_at", "pid", "quits", "ready_at", "status")

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        """Start it. Raises `OSError` if the system has no room for another process."""
        self.status, status_end = os.pipe()
        try:
            control_end, self.control = os.pipe()
        except OSError:
            os.close(self.status)
            os.close(status_end)
            raise
        try:
            os.set_blocking(self.status, False)
            os.set_inheritable(status_end, True)
            os.set_inheritable(control_end, True)
            self.pid = os.posix_spawn(
                sys.executable,
                [sys.executable, "-m", *command, str(status_end), str(control_end)],
                environment,
                file_actions=[(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)],
                setpgroup=0,
            )
        except OSError:
            self.close()
            raise
        finally:
            os.close(status_end)
            os.close(control_end)
        self.ready_at: float | None = None
        self.kill_at: float | None = None
        self.quits = False

    def read(self) -> bytes | None:
        """What it has said since the last call; ``None``: it will say no more."""
        try:
            return os.read(self.status, 64) or None
        except BlockingIOError:
            return b""
        except OSError:
            return None

    def tell(self, command: bytes) -> None:
        """Send a command; one that is dying does not hear it."""
        try:
            os.write(self.control, command)
        except OSError:
            pass

    def kill(self) -> None:
        """End it at once. Only before its end has been collected: the number may belong to a stranger afterwards."""
        try:
            os.kill(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass

    def close(self) -> None:
        """Let go of the pipes."""
        os.close(self.status)
        os.close(self.control)


def describe_end(code: int) -> str:
    """Say in words how a process ended: ``code`` as `os.waitstatus_to_exitcode` gives it."""
    if code >= 0:
        return f"exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    hint = " (out of memory?)" if -code == signal.SIGKILL else ""
    return f"killed by {name}{hint}"
