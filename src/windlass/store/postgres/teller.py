"""Hints of what happens all the time: a job is ready, a job has finished.

They go with the transaction itself, so that an idle worker hears at once, as long as there are not many in a second.
Beyond that they are gathered, and told together after the transactions of which they speak: each notification costs
every listener a look, and all that commit at the same time a turn at one lock.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Hashable, Iterable
from typing import Generic, TypeVar

from windlass.core.errors import StoreError

RATE = 100.0
"""Notifications in a second, at most, in the long run."""
BURST = 20.0
"""Notifications at once, after a while without any."""
Name = TypeVar("Name", bound=Hashable)


class Teller(Generic[Name]):
    """The hints of one kind of one store object. Used on its event loop alone.

    Args:
        send: tells of these, and how often each was named.
    """

    def __init__(self, send: Callable[[Counter[Name]], Awaitable[object]]) -> None:
        self._send = send
        self._names: Counter[Name] = Counter()
        self._allowed = BURST
        self._at = float("-inf")
        self._timer: asyncio.TimerHandle | None = None
        self._sending: asyncio.Task[None] | None = None

    def may_go_along(self) -> bool:
        """Whether the transaction that is to come shall tell by itself; if not, call `later` after it."""
        return self._timer is None and self._spend()

    def _spend(self) -> bool:
        now = asyncio.get_running_loop().time()
        self._allowed = min(BURST, self._allowed + (now - self._at) * RATE)
        self._at = now
        if self._allowed < 1:
            return False
        self._allowed -= 1
        return True

    def later(self, names: Iterable[Name]) -> None:
        """Tell of these, together with what else there will be to tell."""
        self._names.update(names)
        if self._names and self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(max(0, 1 - self._allowed) / RATE, self._start)

    def _start(self) -> None:
        self._timer = None
        if self._sending is None or self._sending.done():
            self._sending = asyncio.get_running_loop().create_task(self._tell(), name="windlass-postgres-teller")

    async def _tell(self) -> None:
        while self._names:
            self._spend()
            names, self._names = self._names, Counter()
            try:
                await self._send(names)
            except StoreError:
                return  # everybody polls as well

    async def close(self) -> None:
        """Tell what is still to be told."""
        if self._timer is not None:
            self._timer.cancel()
            self._start()
        if self._sending is not None:
            await asyncio.wait([self._sending])

    def abandon(self) -> None:
        """The loop is gone."""
        self._names.clear()
        self._timer = self._sending = None
