"""Readings of the store that visitors share: as many as look at the same thing cost what one costs."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, TypeVar

T = TypeVar("T")

FRESH = 1.0
"""Seconds for which a reading is shown again."""
_MOST = 200
"""Readings that are remembered."""


class Shared:
    """Readings by what they are of. Of one event loop at a time."""

    def __init__(self, fresh: float = FRESH) -> None:
        self._fresh = fresh
        self._kept: OrderedDict[Hashable, tuple[float, asyncio.Task[Any]]] = OrderedDict()

    async def read(self, key: Hashable, ask: Callable[[], Awaitable[T]]) -> T:
        """What ``ask`` gives: asked now, or by somebody else a moment ago. What it raises is raised for all who wait,
        and not remembered."""
        now = time.monotonic()
        found = self._kept.get(key)
        if (
            found is None
            or found[0] + self._fresh < now
            or _failed(found[1])
            or found[1].get_loop() is not asyncio.get_running_loop()
        ):
            task = asyncio.ensure_future(_started(ask))
            self._kept[key] = found = (now, task)
            self._kept.move_to_end(key)
            while len(self._kept) > _MOST:
                self._kept.popitem(last=False)
        answer: T = await asyncio.shield(found[1])
        return answer

    def forget(self) -> None:
        """Whatever is asked next is read anew: something was changed."""
        self._kept.clear()


async def _started(ask: Callable[[], Awaitable[T]]) -> T:
    return await ask()


def _failed(task: asyncio.Task[Any]) -> bool:
    return task.done() and (task.cancelled() or task.exception() is not None)
