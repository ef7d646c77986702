"""What a worker process has counted, in memory that it shares with its supervisor: so nothing has to be sent, reading
it wakes nobody, and what a killed process had counted is not lost.

Nothing here may import anything large: the supervisor has it too.
"""

from __future__ import annotations

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
    """Rows of numbers, each with a name of several words. Rows are added and never taken away."""

    def __init__(self, descriptor: int | None = None) -> None:
        """Share the memory that `new_tally` made; ``None``: one's own. The descriptor is not needed any more."""
        self._memory = mmap.mmap(-1, SIZE) if descriptor is None else mmap.mmap(descriptor, SIZE)
        self._bytes = memoryview(self._memory)
        self._numbers = self._bytes.cast("d")

    def add_row(self, name: Name, width: int) -> memoryview[float]:
        """Add a row of zeros, and give it to be written to. Only one thread may do so at a time, of one process.

        A number is written in one go: who reads may see an old one beside a new one, never half. Raises `ValueError`
        if the memory is full.
        """
        said = _SEPARATOR.join(name).encode()
        begin = self._used()
        numbers = begin + _ENTRY.size + _filled_up(len(said))
        end = numbers + 8 * width
        if end > SIZE:
            raise ValueError("a tally is full")
        _ENTRY.pack_into(self._bytes, begin, width, len(said))
        self._bytes[begin + _ENTRY.size : begin + _ENTRY.size + len(said)] = said
        _HEAD.pack_into(self._bytes, 0, end)  # last: who reads sees whole rows only
        return self._numbers[numbers // 8 : end // 8]

    def _used(self) -> int:
        used: int = _HEAD.unpack_from(self._bytes)[0]
        return used or _HEAD.size

    def close(self) -> None:
        """Let go of the memory. Rows that were given out must not be in use any more."""
        self._numbers.release()
        self._bytes.release()
        self._memory.close()

    def read(self) -> Reading:
        """What has been counted until now."""
        found: Reading = {}
        at, end = _HEAD.size, self._used()
        while at < end:
            width, length = _ENTRY.unpack_from(self._bytes, at)
            at += _ENTRY.size
            name = bytes(self._bytes[at : at + length]).decode()
            at += _filled_up(length)
            found[tuple(name.split(_SEPARATOR))] = list(self._numbers[at // 8 : at // 8 + width])
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
