"""Who was let in a moment ago: the store is asked for all of them together, and not for each request."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, replace
from typing import NamedTuple

from windlass.web.access.roles import Visitor

FRESH = 2.0
"""Seconds for which somebody is let in again without a look at the store: what another process deletes or changes takes
as long to be seen here."""
_RECENT = 10.0
"""Seconds for which somebody who asks for nothing is looked up along with others."""
_MOST = 500
"""Who is remembered at most: those who came last."""


class Credential(NamedTuple):
    """What somebody shows, as the store knows it."""

    kind: str
    key: str


@dataclass(frozen=True)
class _Found:
    visitor: Visitor
    read_at: float
    used_at: float


class _Reading:
    """A look at the store, by all who came before it began."""

    task: asyncio.Task[dict[Credential, Visitor]]

    def __init__(self) -> None:
        self.wanted: set[Credential] = set()


class Known:
    """Visitors by what they have shown. Who is not known is never remembered.

    One reading at a time: who comes while it is under way is looked up in the next one, with all others who come
    meanwhile. What a reading raises is raised for those who wait for it.

    Args:
        read: looks up credentials in the store, as few times for many as for one; answers those who may come in.
    """

    def __init__(self, read: Callable[[Collection[Credential]], Awaitable[dict[Credential, Visitor]]]) -> None:
        self._read = read
        self._found: OrderedDict[Credential, _Found] = OrderedDict()
        self._under_way: _Reading | None = None
        self._next: _Reading | None = None

    async def visitor(self, credential: Credential) -> Visitor | None:
        """Whose this is. Raises `StoreError`."""
        now = time.monotonic()
        found = self._found.get(credential)
        if found is not None:
            self._found[credential] = replace(found, used_at=now)
            self._found.move_to_end(credential)
            if found.read_at + FRESH > now:
                return found.visitor
        return (await asyncio.shield(self._reading_of(credential))).get(credential)

    def forget(self) -> None:
        """Look up everybody anew: somebody may have been let in no more. What is being read was read before that."""
        self._found = OrderedDict((one, replace(found, read_at=-FRESH)) for one, found in self._found.items())
        if self._under_way is not None:
            self._under_way.wanted = set()

    def _reading_of(self, credential: Credential) -> asyncio.Task[dict[Credential, Visitor]]:
        under_way, following = self._under_way, self._next
        if under_way is not None and not _goes_on(under_way):
            under_way = None
        if under_way is not None and credential in under_way.wanted:
            return under_way.task
        if following is None or not _goes_on(following):
            following = self._next = _Reading()
            following.task = asyncio.create_task(self._run(following, under_way), name="windlass-known")
        following.wanted.add(credential)
        return following.task

    async def _run(self, reading: _Reading, before: _Reading | None) -> dict[Credential, Visitor]:
        if before is not None:
            await asyncio.wait([before.task])
        if self._next is reading:
            self._under_way, self._next = reading, None
        now = time.monotonic()
        reading.wanted |= {
            one
            for one, found in self._found.items()
            if found.used_at + _RECENT > now and found.read_at + FRESH / 2 <= now
        }
        return await self._remember(frozenset(reading.wanted), self._found, now)

    async def _remember(
        self, wanted: frozenset[Credential], found: OrderedDict[Credential, _Found], now: float
    ) -> dict[Credential, Visitor]:
        visitors = await self._read(wanted)
        for one in wanted:
            before = found.pop(one, None)
            if one in visitors:
                found[one] = _Found(visitors[one], now, now if before is None else before.used_at)
        while len(found) > _MOST:
            found.popitem(last=False)
        return visitors


def _goes_on(reading: _Reading) -> bool:
    """Whether it can be waited for: a site may be served by one event loop after another."""
    return not reading.task.done() and reading.task.get_loop() is asyncio.get_running_loop()
