"""What a worker did in each minute, kept in the store for two days: so that whoever shows it forgets nothing at a
restart, its own or the worker's."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence

import msgspec

from windlass.core.clock import DAY, MINUTE, SECOND, Instant, Span
from windlass.core.documents import NewDocument
from windlass.core.errors import StoreError
from windlass.core.lifecycle import Outcome
from windlass.core.model import ClaimedJob, Settled, Settlement
from windlass.store.port import DocumentStore

log = logging.getLogger("windlass.engine")

KEEP: Span = 2 * DAY
EVERY = 10.0
"""Seconds between writes, where there is anything new."""
_KIND = "minute"
_APPLIED = Settled.APPLIED


class Minute(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What was done in a minute: by one worker process, or by all together."""

    started: int = 0
    """First attempts that began."""
    wait: float = 0.0
    """Seconds from when those jobs were enqueued, by the worker's clock, all together. A delay is part of it."""
    longest_wait: float = 0.0
    succeeded: int = 0
    failed: int = 0
    """Attempts after which the job is tried again."""
    dead: int = 0
    cancelled: int = 0

    @property
    def ended(self) -> int:
        """Attempts that ended with an outcome of their own."""
        return self.succeeded + self.failed + self.dead + self.cancelled

    def add(self, other: Minute) -> None:
        """Count what another says, too."""
        for name in self.__struct_fields__:
            if name != "longest_wait":
                setattr(self, name, getattr(self, name) + getattr(other, name))
        self.longest_wait = max(self.longest_wait, other.longest_wait)


class Minutes:
    """Counts what a worker does, a batch at a time, and writes it down.

    Args:
        store: where to.
        session: of the worker, as it is then: each writes documents of its own.
        clock: gives the time, in microseconds.
    """

    def __init__(self, store: DocumentStore, session: Callable[[], bytes], clock: Callable[[], Instant]) -> None:
        self._store = store
        self._session = session
        self._clock = clock
        self._at: Instant = 0
        self._minute = Minute()
        self._changed = False

    def claimed(self, jobs: Sequence[ClaimedJob]) -> None:
        """Count jobs that are about to start."""
        now = self._clock()
        waits = [now - job.enqueued_at for job in jobs if job.attempt == 1]
        if waits:
            minute = self._of(now)
            minute.started += len(waits)
            minute.wait += max(0, sum(waits)) / SECOND
            minute.longest_wait = max(minute.longest_wait, max(waits) / SECOND)

    def settled(self, batch: Sequence[Settlement], answers: Sequence[Settled]) -> None:
        """Count attempts that ended."""
        counts = Counter(one.outcome for one, answer in zip(batch, answers, strict=True) if answer is _APPLIED)
        minute = self._of(self._clock())
        minute.succeeded += counts[Outcome.SUCCEEDED]
        minute.failed += counts[Outcome.RETRY]
        minute.dead += counts[Outcome.DEAD]
        minute.cancelled += counts[Outcome.CANCELLED]

    def _of(self, now: Instant) -> Minute:
        self._changed = True
        at = now // MINUTE * MINUTE
        if at != self._at:
            self._at, self._minute = at, Minute()
        return self._minute

    async def run(self) -> None:
        """Write down what is new, again and again."""
        while True:
            await asyncio.sleep(EVERY)
            await self.write()

    async def write(self) -> None:
        """Write down what is new."""
        if not self._changed:
            return
        self._changed = False
        key = f"{self._at:020}/{self._session().hex()}"
        try:
            await self._store.put_documents(
                [NewDocument(kind=_KIND, key=key, body=msgspec.json.encode(self._minute), keep=KEEP)]
            )
        except StoreError as error:
            log.debug("the minute could not be written: %s", error)


async def read_minutes(store: DocumentStore, since: Instant) -> dict[Instant, Minute]:
    """What all workers did in each minute from then on, by when the minute began. At most 20,000 documents are read."""
    found: dict[Instant, Minute] = {}
    above = f"{since // MINUTE * MINUTE:020}"
    for _ in range(20):
        some = await store.list_documents(_KIND, above=above, limit=1000)
        for document in some:
            minute = msgspec.json.decode(document.body, type=Minute)
            found.setdefault(int(document.key[:20]), Minute()).add(minute)
        if len(some) < 1000:
            break
        above = some[-1].key
    return found


def by_this_machine() -> Instant:
    """The time, by this machine's clock."""
    return time.time_ns() // 1000
