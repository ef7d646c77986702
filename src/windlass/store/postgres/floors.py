"""Where a claim may begin to look, while a stranger's transaction keeps what has died from being cleaned up.

The index of what is ready then has an entry for every job that ever was, and each claim would walk past all of them.
So, once a claim had to look at many more entries than it found jobs, a store object remembers where its claims get to
in each lane and rank (9 - priority), and begins where it was a second ago. Not where it is: a job that was stored
meanwhile, or given back to its old place, stands before that. What is older than a second, and stands before it all the
same, is found by a claim from the beginning: it is made now and then, and whenever fewer jobs were found than wanted.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from typing import Any, TypeAlias

from windlass.core.model import MAX_BATCH, MAX_PRIORITY, ClaimRequest
from windlass.store.postgres.names import lane_number

_SLACK = 1.0
"""Seconds back: longer than nearly every transaction takes, and short beside what has died since."""
_EVERY = 2.0
"""Seconds between two claims from the beginning, at least."""
_SHARE = 20
"""Or so many times as long as one of them takes."""
_FEW = 2000
"""Entries that nobody minds."""
_RANK = 49

Ranges: TypeAlias = tuple[list[int], list[int], list[int]]
"""Lanes, as places in the claim from 1; first and last positions of each. Empty: all there is."""


class Floors:
    """What one store object knows of its claims. Used on its event loop alone, for one claim at a time; if there are
    several, some jobs are found a second later."""

    def __init__(self) -> None:
        self._places: dict[tuple[int, int], deque[tuple[float, int]]] = {}
        """By lane and rank: when a claim ended where, oldest first."""
        self._bloated = False
        self._full_again = 0.0
        self._began = 0.0

    def ranges(self, request: ClaimRequest | None) -> Ranges:
        """Where the claim shall look."""
        self._began = now = time.monotonic()
        if request is None or not self._bloated or now >= self._full_again:
            return [], [], []
        lanes = [(place, lane_number(lane.queue, lane.requires)) for place, lane in enumerate(request.lanes, 1)]
        places = [place for place, _ in lanes for _ in range(MAX_PRIORITY + 1)]
        first = [self._begin(lane, rank, now) for _, lane in lanes for rank in range(MAX_PRIORITY + 1)]
        last = [((rank + 1) << _RANK) - 1 for _ in lanes for rank in range(MAX_PRIORITY + 1)]
        return places, first, last

    def _begin(self, lane: int, rank: int, now: float) -> int:
        places = self._places.get((lane, rank), ())
        old = [pos for at, pos in places if at <= now - _SLACK]
        return old[-1] if old else rank << _RANK

    def learn(self, rows: Sequence[Any], looked_at: int, request: ClaimRequest, ranges: Ranges) -> bool:
        """Take note of a claim: the rows of its jobs, and how many entries the server looked at. Answers whether there
        may be more jobs than it could find."""
        now = time.monotonic()
        full = not ranges[0]
        if full:
            self._bloated = looked_at > _FEW + 10 * len(rows)
            self._full_again = now + max(_EVERY, _SHARE * (now - self._began))
        if not self._bloated:
            self._places.clear()
            return False
        self._remember(rows, now)
        wanted = max((min(lane.until, MAX_BATCH) for lane in request.lanes), default=0)
        if full or len(rows) >= wanted:
            return False
        self._full_again = 0.0
        return True

    def _remember(self, rows: Sequence[Any], now: float) -> None:
        ends: dict[tuple[int, int], int] = {}
        for row in rows:
            lane, pos = lane_number(row[10], row[11]), row[6]
            key = lane, pos >> _RANK
            ends[key] = max(pos, ends.get(key, 0))
        for key, pos in ends.items():
            places = self._places.setdefault(key, deque())
            while len(places) > 1 and places[1][0] <= now - _SLACK:
                places.popleft()
            if not places or places[-1][0] < now - _SLACK / 10:  # some in each slack are enough
                places.append((now, pos))
