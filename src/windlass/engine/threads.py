"""Daemon threads that run blocking functions, and hand their ends to the loop in batches.

`concurrent.futures` costs a future, a lock and a wake-up of the loop for each call, and joins its threads when the
interpreter exits, so that one stuck function would keep a stopping worker alive for ever. Here a whole burst of ends
costs one wake-up, and a stuck thread dies with the process.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import TypeAlias

Work: TypeAlias = Callable[[], Callable[[], None]]
"""Runs in a thread and must not raise; what it returns is called on the loop."""


class ThreadSlots:
    """Up to ``size`` threads, started when there is work for them."""

    def __init__(self, size: int, loop: asyncio.AbstractEventLoop) -> None:
        self._size = size
        self._loop = loop
        self._work: SimpleQueue[Work | None] = SimpleQueue()
        self._threads = 0
        self._busy = 0
        self._ends: deque[Callable[[], None]] = deque()
        self._wake_pending = False

    def submit(self, work: Work) -> None:
        """Run ``work`` in a thread as soon as one is free. Call it on the loop."""
        self._busy += 1
        if self._busy > self._threads and self._threads < self._size:
            self._threads += 1
            name = f"windlass-task-{self._threads}"
            threading.Thread(target=self._run, name=name, daemon=True).start()
        self._work.put(work)

    def close(self) -> None:
        """Let idle threads end. Does not wait for busy ones."""
        for _ in range(self._threads):
            self._work.put(None)

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            self._ends.append(work())
            del work
            # Set before the wake-up and cleared before the ends are read: no end is left behind.
            if not self._wake_pending:
                self._wake_pending = True
                try:
                    self._loop.call_soon_threadsafe(self._deliver)
                except RuntimeError:
                    return  # the loop is closed: nobody is left to tell

    def _deliver(self) -> None:
        self._wake_pending = False
        ends = self._ends
        while ends:
            self._busy -= 1
            ends.popleft()()
