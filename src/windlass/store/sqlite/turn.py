"""Waiting for the write lock, and for how long.

The thread that waits is inside the kernel and cannot be told to stop. So the loop looks every second whether it still
waits, and gives up in its place: the callers get their error, and the thread finds out when it has the lock at last.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from windlass.core.errors import StoreUnavailable
from windlass.store.sqlite.lock import WriteLock

W = TypeVar("W")

PATIENCE = 10.0
"""Seconds that callers wait for somebody who does not let the lock go."""
_LOOK = 1.0


class _Waiting(Generic[W]):
    def __init__(self, what: W) -> None:
        self.what = what
        self.since = time.monotonic()
        self.given_up = False


class Turn(Generic[W]):
    """Takes the lock for a thread, and calls ``give_up`` on the loop when that takes too long."""

    def __init__(
        self,
        path: str,
        lock: WriteLock,
        loop: asyncio.AbstractEventLoop,
        give_up: Callable[[W, StoreUnavailable], None],
    ) -> None:
        self._path = path
        self._lock = lock
        self._loop = loop
        self._give_up = give_up
        self._waiting: _Waiting[W] | None = None
        self._guard = threading.Lock()
        self._timer: asyncio.TimerHandle | None = None

    def take(self, what: W) -> bool:
        """In the thread: take the lock in order to do ``what``; answers False, without it, if that was given up."""
        if self._lock.try_acquire():
            return True
        waiting = self._waiting = _Waiting(what)
        try:
            self._loop.call_soon_threadsafe(self._watch)
        except RuntimeError:
            # The loop was closed: nobody is left to lose patience.
            pass
        self._lock.acquire()
        with self._guard:
            self._waiting = None
            given_up = waiting.given_up
        if given_up:
            self._lock.release()
        return not given_up

    def end(self) -> None:
        """On the loop: look no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _watch(self) -> None:
        if self._timer is None and self._waiting is not None:
            self._timer = self._loop.call_later(_LOOK, self._look)

    def _look(self) -> None:
        self._timer = None
        with self._guard:
            waiting = self._waiting
            late = waiting is not None and time.monotonic() - waiting.since > PATIENCE
            if waiting is not None and late:
                waiting.given_up = True
        if waiting is not None and late:
            holder = self._lock.holder()
            said = f"{self._path}: the write lock has been held for more than {PATIENCE:g} s by {holder}"
            self._give_up(waiting.what, StoreUnavailable(said))
        self._watch()
