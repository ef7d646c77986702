"""Finds lanes that no task of the app names: jobs may ask for other resources than their task does."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Iterable

from windlass.core.errors import StoreError
from windlass.engine.counted_lanes import CountedLanes
from windlass.store.port import Insights

log = logging.getLogger("windlass.engine")

EVERY = 5.0
"""Seconds between looks."""
SOON = 0.5
"""The same after a hint that led to nothing: the job may be where this worker does not look yet."""
THRIFT = 50
"""A look is followed by a pause of so many times what it took, at least."""


class LaneFinder:
    """Asks the store, every few seconds, which lanes there are in the worker's queues.

    Args:
        store: the worker's.
        queues: its queues.
        lanes: hear of what there is.
        found: called when there is one that is new, and can be served.
    """

    def __init__(
        self, store: Insights, queues: Iterable[str], lanes: CountedLanes, found: Callable[[], Awaitable[None]]
    ) -> None:
        self._store = store
        self._queues = sorted(queues)
        self._lanes = lanes
        self._found = found
        self._untold = False
        self._hurry = asyncio.Event()
        self._hurry.set()  # a job may have come since the look at the start, when nobody listened for hints

    def hurry(self) -> None:
        """Look soon."""
        self._hurry.set()

    async def look(self) -> bool:
        """Look once; says whether there is anything new. Raises `StoreError`."""
        return self._lanes.learn(await self._store.lanes(self._queues))

    async def run(self) -> None:
        """Look, again and again."""
        pause = 0.0
        while True:
            await asyncio.sleep(max(SOON, pause))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(EVERY):
                    await self._hurry.wait()
            self._hurry.clear()
            began = time.monotonic()
            try:
                self._untold |= await self.look()
                if self._untold:
                    await self._found()
                    self._untold = False
            except StoreError as error:
                log.debug("the lanes could not be read: %s", error)
            pause = THRIFT * (time.monotonic() - began)
