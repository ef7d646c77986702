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


class Known:
    """Visitors by what they have shown. Who is not known is never remembered.

    Args:
        read: looks up credentials in the store, as few times for many as for one; answers those who may come in.
    """

    def __init__(self, read: Callable[[Collection[Credential]], Awaitable[dict[Credential, Visitor]]]) -> None:
        self._read = read
        self._found: OrderedDict[Credential, _Found] = OrderedDict()
        self._reading: tuple[frozenset[Credential], asyncio.Task[dict[Credential, Visitor]]] | None = None

    async def visitor(self, credential: Credential) -> Visitor | None:
        """Whose this is. Raises `StoreError`."""
        now = time.monotonic()
        found = self._found.get(credential)
        if found is not None:
            self._found[credential] = replace(found, used_at=now)
            self._found.move_to_end(credential)
            if found.read_at + FRESH > now:
                return found.visitor
        return (await asyncio.shield(self._read_with_others(credential, now))).get(credential)

    def forget(self) -> None:
        """Look up everybody anew: somebody may have been let in no more. What is being read was read before that."""
        self._found = OrderedDict((one, replace(found, read_at=-FRESH)) for one, found in self._found.items())
        self._reading = None

    def _read_with_others(self, credential: Credential, now: float) -> asyncio.Task[dict[Credential, Visitor]]:
        if self._reading is not None:
            wanted, task = self._reading
            if credential in wanted and not task.done() and task.get_loop() is asyncio.get_running_loop():
                return task
        wanted = frozenset(
            one
            for one, found in self._found.items()
            if found.used_at + _RECENT > now and found.read_at + FRESH / 2 <= now
        ) | {credential}
        task = asyncio.create_task(self._remember(wanted, self._found, now), name="windlass-known")
        self._reading = (wanted, task)
        return task

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
