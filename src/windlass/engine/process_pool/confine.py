"""What a child does to itself before task code comes: what it may use, and when it has to die."""

from __future__ import annotations

import ctypes
import os
import resource
import select
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from windlass.core.errors import UsageError

_PR_SET_PDEATHSIG = 1
_EXPENDABLE = b"500"
"""Of 1000: when memory runs out, the kernel takes a child before it takes anything as large that did not say so."""

_libc = ctypes.CDLL(None)


def die_with(parent: int, line: int) -> None:
    """Have the kernel kill this process when its worker dies, even if it is stuck in C code then.

    Where the system knows no such thing, a thread watches the line: it kills the process too, unless C code keeps it
    from running.
    """
    if sys.platform == "linux" and _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) == 0:
        if os.getppid() != parent:
            os._exit(1)  # it died before it could be noticed
        return
    watch_line(line, lambda: os.killpg(0, signal.SIGKILL))


def watch_line(line: int, lost: Callable[[], None]) -> None:
    """Call ``lost``, in a thread, when the other end of a socket or pipe is closed."""
    poll = select.poll()
    poll.register(line, select.POLLHUP)

    def watch() -> None:
        while not any(event & (select.POLLHUP | select.POLLERR) for _, event in poll.poll()):
            pass
        lost()

    threading.Thread(target=watch, name="windlass-line", daemon=True).start()


def check_room(name: str, limit: int, used: int) -> None:
    """Raise `UsageError` for a limit that this process has reached before its first attempt."""
    if used >= limit:
        raise UsageError(
            f"{name} of {limit / 2**20:.0f} MiB: a child of this app uses {used / 2**20:.0f} MiB before its first "
            "attempt; give it room for its jobs beside that"
        )


def limit_memory(size: int) -> None:
    """Have allocations fail beyond so many bytes of address space, in this process and in what it starts. Raises
    `UsageError` if it has more already."""
    check_room("memory_limit", size, _address_space())
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    if hard != resource.RLIM_INFINITY:
        size = min(size, hard)
    resource.setrlimit(resource.RLIMIT_AS, (size, hard))


def _address_space() -> int:
    try:
        return int(Path("/proc/self/statm").read_bytes().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0  # this system does not say


def become_expendable() -> None:
    """Tell the kernel to end this process rather than the worker when memory runs out."""
    try:
        Path("/proc/self/oom_score_adj").write_bytes(_EXPENDABLE)
    except OSError:
        pass  # no Linux, or not allowed: then the largest goes first, which is most often a child, too


def flush_c_streams() -> None:
    """Have what C code has printed go out."""
    _libc.fflush(None)
