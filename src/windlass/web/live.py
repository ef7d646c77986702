"""What is going on, told to all who listen by one who looks."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from heapq import nsmallest

import msgspec

from windlass.core.errors import StoreError
from windlass.core.records import QueueRecord
from windlass.store.port import Store
from windlass.views import QueueView, WorkerView, iso, queue_view, worker_view
from windlass.web.ending import is_ending
from windlass.web.shared import Shared

EVERY = 1.0
"""Seconds between looks, while anybody listens."""
MOST = 500
"""Queues and workers that one look shows; of more, the deepest, and the oldest."""


def deepest(queues: Sequence[QueueRecord], number: int) -> list[QueueRecord]:
    """Those in which most is ready, the deepest first."""
    return nsmallest(number, queues, key=lambda one: (-one.ready, -one.running, -one.scheduled, -one.waiting, one.name))


class Pulse(msgspec.Struct, frozen=True, kw_only=True):
    """How a store stands."""

    now: str | None
    ready: int = 0
    running: int = 0
    scheduled: int = 0
    waiting: int = 0
    slots: int = 0
    live: int = 0
    """Workers that are there."""
    silent: int = 0
    """Workers that nothing was heard of for too long."""
    queues_in_all: int = 0
    workers_in_all: int = 0
    queues: list[QueueView] = []
    workers: list[WorkerView] = []
    error: str | None = None
    """Why nothing is known."""


class Live:
    """Looks at the store once a second while anybody listens, and not otherwise."""

    def __init__(self, find: Callable[[], Awaitable[Store]], shared: Shared) -> None:
        self._find = find
        self._shared = shared
        self._listeners: set[asyncio.Event] = set()
        self._looking: asyncio.Task[None] | None = None
        self._last: Pulse | None = None
        self._stopped = False

    async def pulse(self) -> Pulse:
        """How the store stands now. Raises `StoreError`."""
        return await self._shared.read("pulse", self._read)

    async def _read(self) -> Pulse:
        store = await self._find()
        queues, sessions, now = await store.queues(), await store.sessions(), await store.now()
        states = Counter(record.state_at(now) for record in sessions)
        return Pulse(
            now=iso(now),
            ready=sum(queue.ready for queue in queues),
            running=sum(queue.running for queue in queues),
            scheduled=sum(queue.scheduled for queue in queues),
            waiting=sum(queue.waiting for queue in queues),
            slots=sum(record.session.slots for record in sessions if record.state_at(now) == "live"),
            live=states["live"],
            silent=states["silent"] + states["revoked"],
            queues_in_all=len(queues),
            workers_in_all=len(sessions),
            queues=[queue_view(queue) for queue in deepest(queues, MOST)],
            workers=[worker_view(record, now) for record in sessions[:MOST]],
        )

    async def listen(self) -> AsyncGenerator[Pulse, None]:
        """What every look shows. Who is slow misses some, and holds up nobody."""
        news = asyncio.Event()
        self._listeners.add(news)
        try:
            if self._looking is None or self._looking.done():
                self._looking = asyncio.create_task(self._look(), name="windlass-live")
            elif self._last is not None:
                news.set()
            while not self._stopped:
                await news.wait()
                news.clear()
                if self._last is not None and not self._stopped:
                    yield self._last
        finally:
            self._listeners.discard(news)

    async def _look(self) -> None:
        while self._listeners:
            if is_ending():
                self.stop()
                break
            try:
                self._last = await self.pulse()
            except StoreError as error:
                self._last = Pulse(now=None, error=str(error))
            for news in self._listeners:
                news.set()
            await asyncio.sleep(EVERY)
        self._last = None

    def stop(self) -> None:
        """Tell nobody anything any more: whoever listens has heard all."""
        self._stopped = True
        for news in self._listeners:
            news.set()

    async def aclose(self) -> None:
        """Look no more. Idempotent."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait([self._looking])
            self._looking = None
