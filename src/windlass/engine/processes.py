"""One worker process as the supervisor sees it: a process id, two pipes and a page of memory.

Nothing here, and nothing in `supervisor`, may import anything large: this is what stays in memory beside every worker.
"""

from __future__ import annotations

import os
import signal
import sys

from windlass.engine.vitals import Page, Vitals, new_page

TYPE_CHECKING = False  # not typing's: that module is large
if TYPE_CHECKING:
    from windlass.engine.tally import Reading, Tally

READY = b"R"
"""Child to supervisor: it claims jobs now."""
SUSPECTS = b"S"
"""Child to supervisor: a suspect job waits for a process that runs it alone."""
HUNG = b"H"
"""Child to supervisor: the event loop is hung and the lease is given up; kill me."""
RECYCLE = b"C"
"""Child to supervisor: too many threads are stuck; replace me."""
WORN = b"W"
"""Child to supervisor: I am worn out; replace me, and let me finish what I hold."""
QUIT = b"Q"
"""Child to supervisor: an operator told me to stop, through the store; do not replace me."""
STOP = b"T"
"""Supervisor to child: stop, with the configured grace. The end of the pipe means the same: the supervisor is gone."""
DRAIN = b"D"
"""Supervisor to child: stop, and take as long as your jobs take. `STOP` and `STOP_NOW` may follow."""
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

    __slots__ = ("_page", "_tally", "control", "drains", "kill_at", "pid", "quits", "ready_at", "status")

    def __init__(self, command: list[str], environment: dict[str, str], *, counts: bool = False) -> None:
        """Start it; ``counts``: what it does. Raises `OSError` if the system has no room for another process."""
        opened: list[int] = []
        try:
            opened += os.pipe()
            opened += os.pipe()
            opened.append(new_page())
            self.status, status_end, control_end, self.control, page = opened
            self._page = Page(page)
            shared = [page]
            self._tally: Tally | None = None
            if counts:
                from windlass.engine.tally import Tally, new_tally  # here: it costs memory where nobody asks

                shared.append(new_tally())
                opened.append(shared[1])
                self._tally = Tally(shared[1])
            self.pid = _spawn(command, environment, [status_end, control_end, *shared])
        except OSError:
            _close(opened)
            raise
        _close([status_end, control_end, *shared])
        os.set_blocking(self.status, False)
        self.ready_at: float | None = None
        self.kill_at: float | None = None
        self.quits = False
        self.drains = False
        """It is worn out: once its successor is ready, it finishes what it holds, however long that takes."""

    def vitals(self) -> Vitals:
        """How it says that it is."""
        return self._page.read()

    def counted(self) -> Reading:
        """What it has counted; nothing, where it was not told to."""
        return {} if self._tally is None else self._tally.read()

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
        """Let go of the pipes and the page."""
        _close([self.status, self.control])
        self._page.close()
        if self._tally is not None:
            self._tally.close()


def _close(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def _spawn(command: list[str], environment: dict[str, str], descriptors: list[int]) -> int:
    """Start ``python -m command DESCRIPTOR...``; answers its process id."""
    for descriptor in descriptors:
        os.set_inheritable(descriptor, True)
    return os.posix_spawn(
        sys.executable,
        [sys.executable, "-m", *command, *map(str, descriptors)],
        environment,
        file_actions=[(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)],
        setpgroup=0,
    )


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
