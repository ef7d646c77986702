"""When is a child to be replaced, and when should its successor be on its way?"""

from __future__ import annotations

import time

from windlass.engine.process_pool.child import Child

_NEAR = 0.9
"""Share of the memory at which a successor is started."""


class Wear:
    """The limits of each child, and how long it takes to start one.

    A child is never used beyond its limits; so that nobody waits for its successor, that one is started before, early
    enough by the time that the last start took and the pace at which jobs end.
    """

    def __init__(self, max_jobs: int | None, max_memory: int | None) -> None:
        self._max_jobs = max_jobs
        self._max_memory = max_memory
        self._start_took = 0.0

    def started(self, child: Child) -> None:
        """Note how long a child took to be ready."""
        self._start_took = child.ready_at - child.began_at

    def is_worn(self, child: Child) -> bool:
        """Whether it may run nothing more."""
        if self._max_jobs is not None and child.done >= self._max_jobs:
            return True
        return self._max_memory is not None and child.memory > self._max_memory

    def nears_end(self, child: Child) -> bool:
        """Whether its successor should be on its way."""
        if self._max_memory is not None and child.memory > self._max_memory * _NEAR:
            return True
        if self._max_jobs is None or not child.is_ready:
            return False
        left = self._max_jobs - child.done
        pace = (time.monotonic() - child.ready_at) / max(1, child.done)
        return left <= 1 or left * pace < 2 * self._start_took
