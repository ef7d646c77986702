"""A few bytes that all processes on one database share in memory: hints that save system calls, and nothing else.

They live in the lock file. Whatever they say, nothing is ever lost or stored twice for it: at worst somebody overtakes
somebody, looks once more than needed, or is woken late.
"""

from __future__ import annotations

import mmap
import os

_SIZE = 16
_WAITING, _SLEEPING = 8, 9


class SharedPage:
    """The bytes, mapped into memory."""

    def __init__(self, path: str) -> None:
        descriptor = os.open(f"{path}-lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            if os.fstat(descriptor).st_size < _SIZE:
                # Written, not only made longer: a hole that the disk has no room for would kill whoever fills it.
                os.pwrite(descriptor, bytes(_SIZE), 0)
            self._map = mmap.mmap(descriptor, _SIZE)
        finally:
            os.close(descriptor)

    def swap_writer(self, me: bytes) -> bool:
        """With the write lock held: note who has it now, in eight bytes; say whether it was the same before."""
        if self._map[:8] == me:
            return True
        self._map[:8] = me
        return False

    @property
    def waiting(self) -> bool:
        """Whether somebody waits for the write lock: then nobody may take it without queueing."""
        return self._map[_WAITING] != 0

    @waiting.setter
    def waiting(self, some: bool) -> None:
        self._map[_WAITING] = some

    @property
    def sleeping(self) -> bool:
        """Whether somebody may wait for hints."""
        return self._map[_SLEEPING] != 0

    @sleeping.setter
    def sleeping(self, some: bool) -> None:
        self._map[_SLEEPING] = some

    def close(self) -> None:
        """Let go of the memory."""
        self._map.close()
