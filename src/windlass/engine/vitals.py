"""What a worker process shows of itself: some numbers on a page of memory that it shares with its supervisor.

Nobody has to be woken to write them or to read them, and a task that closes every descriptor does not end them. Nothing
here may import anything large: the supervisor has it too.
"""

from __future__ import annotations

import mmap
import os


class Vitals:
    """How a worker is. Times are seconds of the monotonic clock, which all processes of a machine share; 0: never."""

    __slots__ = ("answered_at", "claimed_at", "held", "lease", "slots", "stopping", "ticked_at", "turned_at")

    def __init__(
        self,
        *,
        ticked_at: float = 0.0,
        answered_at: float = 0.0,
        turned_at: float = 0.0,
        claimed_at: float = 0.0,
        lease: float = 0.0,
        held: int = 0,
        slots: int = 0,
        stopping: bool = False,
    ) -> None:
        self.ticked_at = ticked_at
        """When its event loop last turned."""
        self.answered_at = answered_at
        """When the last renewal that the store answered was sent."""
        self.turned_at = turned_at
        """When its claim loop last came round: it claimed, or had no slot free to claim for."""
        self.claimed_at = claimed_at
        """When the store last answered a claim."""
        self.lease = lease
        """Seconds; a renewal is due after each third."""
        self.held = held
        """Jobs that run, wait for a slot, or wait to be settled."""
        self.slots = slots
        self.stopping = stopping


class Page:
    """The page, as either side has it."""

    def __init__(self, descriptor: int) -> None:
        """Share the page that `new_page` made. The descriptor is not needed any more."""
        self._memory = mmap.mmap(descriptor, mmap.PAGESIZE)
        # Numbers of eight bytes, each written in one go: a reader may see an old one beside a new one, never half.
        self._numbers = memoryview(self._memory).cast("d")

    def write(self, vitals: Vitals) -> None:
        """Show these."""
        for place, name in enumerate(Vitals.__slots__):
            self._numbers[place] = float(getattr(vitals, name))

    def read(self) -> Vitals:
        """Look at what the other side shows; zeros before it has begun to."""
        vitals = Vitals()
        for place, name in enumerate(Vitals.__slots__):
            setattr(vitals, name, type(getattr(vitals, name))(self._numbers[place]))
        return vitals

    def close(self) -> None:
        """Let go of the memory."""
        self._numbers.release()
        self._memory.close()


def new_page() -> int:
    """Make a page that is empty; answers its descriptor. Raises `OSError`."""
    return new_memory("windlass-vitals", mmap.PAGESIZE)


def new_memory(name: str, size: int) -> int:
    """Make memory that processes can share, all zeros; answers its descriptor. Raises `OSError`."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create(name)
    else:
        import tempfile

        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.ftruncate(descriptor, size)
    return descriptor
