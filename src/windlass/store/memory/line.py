"""Things in order: a heap from which anything can be taken out."""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import Generic, TypeAlias, TypeVar

T = TypeVar("T")

Key: TypeAlias = tuple[int, int]
"""No two things in a line may have the same key."""

_SPARE = 64


class Line(Generic[T]):
    """Things in order of their keys, smallest first; each thing once. Every step is O(log n), amortised.

    What is taken out of the middle stays in the heap until it comes to the top, or until such remains are the larger
    part of it.
    """

    __slots__ = ("_heap", "_keys")

    def __init__(self) -> None:
        self._heap: list[tuple[Key, T]] = []
        self._keys: dict[T, Key] = {}

    def __len__(self) -> int:
        return len(self._keys)

    def put(self, thing: T, key: Key) -> None:
        """Put a thing in its place, or move it to another."""
        if self._keys.get(thing) == key:
            return
        self._keys[thing] = key
        heappush(self._heap, (key, thing))
        if len(self._heap) > 2 * len(self._keys) + _SPARE:
            self._heap = [(kept, item) for item, kept in self._keys.items()]
            heapify(self._heap)

    def discard(self, thing: T) -> None:
        """Take a thing out, if it is there."""
        self._keys.pop(thing, None)

    def first(self) -> tuple[Key, T] | None:
        """Look at the first thing and its key."""
        heap = self._heap
        while heap:
            key, thing = heap[0]
            if self._keys.get(thing) == key:
                return key, thing
            heappop(heap)
        return None

    def first_up_to(self, limit: int) -> T | None:
        """Look at the first thing if the first half of its key is not above ``limit``."""
        first = self.first()
        return None if first is None or first[0][0] > limit else first[1]

    def in_order(self) -> list[T]:
        """List all things in order."""
        return sorted(self._keys, key=self._keys.__getitem__)
