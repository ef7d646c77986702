"""What a worker process has counted, in memory that it shares with its supervisor: so nothing has to be sent, reading
it wakes nobody, and what a killed process had counted is not lost.

Nothing here may import anything large: the supervisor has it too.
"""

from __future__ import annotations

import _thread
import mmap
import struct

from windlass.engine.vitals import new_memory

SIZE = 1 << 20
"""Bytes. Pages that nobody writes to occupy no memory."""
_HEAD = struct.Struct("=Q")
"""At the very beginning: how many bytes are in use, this number included."""
_ENTRY = struct.Struct("=II")
"""Before each entry: how many numbers it has, and how long its name is in bytes. Then come the name, filled up to a
multiple of eight bytes, and the numbers, of eight bytes each."""
_SEPARATOR = "\0"

Name = tuple[str, ...]
Reading = dict[Name, list[float]]
"""What was counted, by name."""


class Tally:
    """Rows of numbers, each with a name of several words. Rows are added and never taken away. Several workers of one
    process may count in one tally, at once or one after the other; only one process may write."""

    def __init__(self, descriptor: int | None = None) -> None:
        """Share the memory that `new_tally` made; ``None``: one's own. The descriptor is not needed any more."""
        self._memory = mmap.mmap(-1, SIZE) if descriptor is None else mmap.mmap(descriptor, SIZE)
        self._bytes = memoryview(self._memory)
        self._numbers = self._bytes.cast("d")
        self._lock = _thread.allocate_lock()
        self._idle: dict[Name, list[memoryview[float]]] = {}
        """Rows that nobody writes to any more."""
        self._lent = 0

    def lend_row(self, name: Name, width: int) -> memoryview[float] | None:
        """Give a row to be written to, by one thread at a time, until it is given back: one that somebody has given
        back, with what was counted in it, or a new one of zeros; ``None``: there is no room.

        A number is written in one go: who reads may see an old one beside a new one, never half.
        """
        with self._lock:
            idle = self._idle.get(name)
            row = idle.pop() if idle else self._add_row(name, width)
            self._lent += row is not None
            return row

    def give_back(self, rows: list[tuple[Name, memoryview[float]]]) -> None:
        """Let others have these rows."""
        with self._lock:
            for name, row in rows:
                self._idle.setdefault(name, []).append(row)
            self._lent -= len(rows)

    def _add_row(self, name: Name, width: int) -> memoryview[float] | None:
        said = _SEPARATOR.join(name).encode()
        begin = self._used()
        numbers = begin + _ENTRY.size + _filled_up(len(said))
        end = numbers + 8 * width
        if end > SIZE:
            return None
        _ENTRY.pack_into(self._bytes, begin, width, len(said))
        self._bytes[begin + _ENTRY.size : begin + _ENTRY.size + len(said)] = said
        _HEAD.pack_into(self._bytes, 0, end)  # last: who reads sees whole rows only
        return self._numbers[numbers // 8 : end // 8]

    def _used(self) -> int:
        used: int = _HEAD.unpack_from(self._bytes)[0]
        return used or _HEAD.size

    def close(self) -> None:
        """Let go of the memory. Raises ``RuntimeError`` while a worker counts in it."""
        with self._lock:
            if self._lent:
                raise RuntimeError("a worker counts in this tally: stop it first")
            for row in (row for rows in self._idle.values() for row in rows):
                row.release()
            self._idle.clear()
        self._numbers.release()
        self._bytes.release()
        self._memory.close()

    def read(self) -> Reading:
        """What has been counted until now; nothing, once it is closed."""
        found: Reading = {}
        if self._memory.closed:
            return found
        at, end = _HEAD.size, self._used()
        while at < end:
            width, length = _ENTRY.unpack_from(self._bytes, at)
            at += _ENTRY.size
            name = bytes(self._bytes[at : at + length]).decode()
            at += _filled_up(length)
            add(found, {tuple(name.split(_SEPARATOR)): list(self._numbers[at // 8 : at // 8 + width])})
            at += 8 * width
        return found


def _filled_up(length: int) -> int:
    return (length + 7) // 8 * 8


def add(total: Reading, reading: Reading) -> None:
    """Count what another process says, too."""
    for name, numbers in reading.items():
        known = total.get(name)
        total[name] = numbers if known is None else [one + other for one, other in zip(known, numbers, strict=True)]


def new_tally() -> int:
    """Make memory for a tally; answers its descriptor. Raises `OSError`."""
    return new_memory("windlass-tally", SIZE)
