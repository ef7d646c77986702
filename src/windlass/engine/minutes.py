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
from windlass.core.ids import new_id
from windlass.core.lifecycle import Outcome
from windlass.core.model import ClaimedJob, Settled, Settlement
from windlass.store.port import DocumentStore

log = logging.getLogger("windlass.engine")

KEEP: Span = 2 * DAY
EVERY = 10.0
"""Seconds between writes, where there is anything new."""
MOST = 60
"""Minutes that a worker remembers: as long as the store may be away without a gap in the figures."""
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
        clock: gives the time, in microseconds.
    """

    def __init__(self, store: DocumentStore, clock: Callable[[], Instant]) -> None:
        self._store = store
        self._clock = clock
        self._id = new_id().hex()
        """Who writes: not the session, of which a worker may have several in a minute."""
        self._minutes: dict[Instant, Minute] = {}
        """The last ones, oldest first."""
        self._unwritten: set[Instant] = set()

    def claimed(self, jobs: Sequence[ClaimedJob]) -> None:
        """Count jobs that are about to start: those that nobody has claimed before."""
        now = self._clock()
        waits = [now - job.enqueued_at for job in jobs if job.token == 1]
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
        at = now // MINUTE * MINUTE
        self._unwritten.add(at)
        if at not in self._minutes:
            self._minutes[at] = Minute()
            if len(self._minutes) > MOST:
                oldest = min(self._minutes)
                del self._minutes[oldest]
                self._unwritten.discard(oldest)
        return self._minutes[at]

    async def run(self) -> None:
        """Write down what is new, again and again."""
        while True:
            await asyncio.sleep(EVERY)
            await self.write()

    async def write(self) -> None:
        """Write down what is new. What could not be written is written the next time."""
        bodies = {at: msgspec.json.encode(self._minutes[at]) for at in sorted(self._unwritten)}
        if not bodies:
            return
        try:
            await self._store.put_documents(
                [
                    NewDocument(kind=_KIND, key=f"{at:020}/{self._id}", body=body, keep=KEEP)
                    for at, body in bodies.items()
                ]
            )
        except StoreError as error:
            log.debug("the minutes could not be written: %s", error)
            return
        for at, body in bodies.items():
            if at in self._minutes and msgspec.json.encode(self._minutes[at]) == body:  # nothing came meanwhile
                self._unwritten.discard(at)


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
