"""How the processes that share a database take turns to write.

SQLite's own busy handler sleeps and tries again, up to 100 ms at a time, and whoever has just written wins most of
the time. Here writers queue instead, on two lock files beside the database. ``flock`` alone would not be fair either
(the releaser is often first to take it again, and waiters starve), so that whoever wants the lock first takes the
*turnstile*, waits there for the lock, and lets the next one into the turnstile when it has it: the one that has just
written finds the turnstile taken.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from windlass.store.sqlite.page import SharedPage


class WriteLock:
    """The right to write, among threads and processes. One object for each thread that writes; not reentrant.

    A process that is stopped while it holds the lock stops all writers until it goes on or dies; the kernel frees the
    lock of one that dies.
    """

    def __init__(self, path: str) -> None:
        self._lock_path = f"{path}-lock"
        self._turn_path = f"{path}-turn"
        # Descriptions of their own: two threads that shared one would not exclude each other.
        self._lock = _open(self._lock_path)
        self._turn = _open(self._turn_path)
        self.page = SharedPage(path)
        self._me = os.urandom(8)
        self.undisturbed = False
        """Whether nobody else has had the lock since this object last had it."""

    def acquire(self) -> None:
        """Wait for the lock, in turn."""
        fcntl.flock(self._turn, fcntl.LOCK_EX)
        try:
            self.page.waiting = True
            fcntl.flock(self._lock, fcntl.LOCK_EX)
            self.page.waiting = False
        finally:
            fcntl.flock(self._turn, fcntl.LOCK_UN)
        self.undisturbed = self.page.swap_writer(self._me)

    def try_acquire(self) -> bool:
        """Take the lock if nobody has it and nobody waits for it."""
        # Who died while it waited has left its mark, and somebody has to go through the turnstile to clear it.
        if self.page.waiting:
            return False
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        self.undisturbed = self.page.swap_writer(self._me)
        return True

    def release(self) -> None:
        """Let the next one in."""
        fcntl.flock(self._lock, fcntl.LOCK_UN)

    def close(self) -> None:
        """Close the descriptors. In a forked child this leaves the parent's lock alone, which unlocking would not."""
        for descriptor in (self._lock, self._turn):
            os.close(descriptor)
        self.page.close()

    def holder(self) -> str:
        """Name the process that keeps others from writing, for messages; as far as the system tells. One that is
        stopped in the turnstile does so too."""
        return _holder(self._lock_path) or _holder(self._turn_path) or "another process"


def _open(path: str) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)


def _holder(path: str) -> str | None:
    try:
        inode = Path(path).stat().st_ino
        # 1: FLOCK  ADVISORY  WRITE 4242 fe:00:1234567 0 EOF
        for line in Path("/proc/locks").read_text().splitlines():
            fields = line.split()
            if fields[1] == "FLOCK" and fields[5].rpartition(":")[2] == str(inode):
                return _named(int(fields[4]))
    except (OSError, ValueError, IndexError):
        pass
    return None


def _named(pid: int) -> str:
    try:
        status = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return f"process {pid}"
    return f"process {pid}, which is stopped" if status in "Tt" else f"process {pid}"
