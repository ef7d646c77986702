"""A child as the operating system knows it: started by a thread of its own, which then waits for its end.

The thread is what Linux calls the parent: the child asks to be killed when it ends. And starting a process takes
milliseconds that the event loop does not have.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

_SOURCES = Path(__file__).parents[3]
"""The folder that holds the package, for a child whose own path does not have it."""
_BEGIN = "import sys; sys.path.append(sys.argv.pop(1)); from windlass.engine.process_pool.main import main; main()"


class Process:
    """One child. Belongs to an event loop, on which ``on_start`` is called with ``None`` or with what went wrong, and
    ``on_end`` with the exit code as `subprocess` gives it.

    It leads a process group of its own, so that what a task starts can be ended with it, and what a terminal sends to a
    group does not reach it. The descriptors in ``inherited`` are closed here once it has them.
    """

    def __init__(
        self,
        inherited: tuple[int, ...],
        output: int,
        on_start: Callable[[OSError | None], None],
        on_end: Callable[[int], None],
    ) -> None:
        self._inherited = inherited
        self._output = output
        self._on_start = on_start
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._process: subprocess.Popen[bytes] | None = None
        self._to_be_killed = False
        self._collected = False
        try:
            threading.Thread(target=self._live, name="windlass-child", daemon=True).start()
        except RuntimeError as error:
            self._close_theirs()
            self._loop.call_soon(on_start, OSError(str(error)))

    @property
    def pid(self) -> int:
        """Its process id; 0 as long as it has none."""
        return 0 if self._process is None else self._process.pid

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it is there."""
        if self._process is not None and not self._collected:
            with suppress(ProcessLookupError):
                os.kill(self._process.pid, number)

    def kill(self) -> None:
        """End it, and everything that it has started in its group, at once."""
        self._to_be_killed = True
        if self._process is not None and not self._collected:
            with suppress(ProcessLookupError, PermissionError):  # macOS says the latter of one that has ended
                os.killpg(self._process.pid, signal.SIGKILL)

    # ------------------------------------------------------------------------------------------- its thread

    def _live(self) -> None:
        command = [sys.executable, "-c", _BEGIN, str(_SOURCES), *map(str, self._inherited)]
        try:
            process = subprocess.Popen(  # noqa: S603 - our own module, no shell
                command,
                stdin=subprocess.DEVNULL,
                stdout=self._output,
                stderr=self._output,
                pass_fds=self._inherited,
                process_group=0,
            )
        except OSError as error:
            self._tell(partial(self._on_start, error))
            return
        finally:
            self._close_theirs()
        self._tell(partial(self._started, process))
        _wait_for_end(process)
        self._tell(self._ended)

    def _close_theirs(self) -> None:
        for descriptor in (*self._inherited, self._output):
            os.close(descriptor)

    def _tell(self, what: Callable[[], None]) -> None:
        try:
            self._loop.call_soon_threadsafe(what)
        except RuntimeError:
            pass  # the loop is closed: nobody is left to tell, and the child has lost its line

    # --------------------------------------------------------------------------------------------- the loop

    def _started(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        if self._to_be_killed:
            self.kill()
        self._on_start(None)

    def _ended(self) -> None:
        assert self._process is not None
        if self._process.returncode is None:
            # What it leaves behind in its group: only before its end is collected, while the number is still its own.
            self.kill()
        self._collected = True
        self._on_end(self._process.wait())


def _wait_for_end(process: subprocess.Popen[bytes]) -> None:
    """Wait until it has ended, and leave its end to be collected, where the system can."""
    try:
        if hasattr(os, "waitid"):
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        else:
            process.wait()
    except ChildProcessError:
        pass  # somebody else has collected it
