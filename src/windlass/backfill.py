"""Jobs for fire times that are past: of a range, a bounded number at a time, each once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from datetime import datetime
from itertools import islice
from typing import Any, NamedTuple

import msgspec

from windlass import blocking
from windlass.client import Client
from windlass.core.clock import Instant, instant
from windlass.core.definition import Definition
from windlass.core.errors import InvalidOption
from windlass.core.graph import EdgePolicy
from windlass.core.model import NewJob, Parent
from windlass.store.port import Store

_BATCH = 200
_POLL = 0.5


class BackfillProgress(NamedTuple):
    """How far a backfill has come."""

    enqueued: int
    """Jobs that are stored, by now or by an earlier call."""
    finished: int
    """Those that have finished, however."""


class Backfill:
    """Jobs for past fire times. Await it until they have finished, or iterate over it (``async for``) to hear how far
    it has come; nothing happens before. The jobs go on if nobody waits, and the same call again goes on with the same
    jobs, as long as the store keeps them."""

    def __init__(
        self,
        client: Client,
        name: str,
        definition: Definition,
        *,
        start: datetime,
        end: datetime,
        parallel: int,
    ) -> None:
        if isinstance(parallel, bool) or not isinstance(parallel, int) or not 1 <= parallel <= 1000:
            raise InvalidOption(f"parallel={parallel!r}: expected 1 to 1000")
        if instant(start, "start") >= instant(end, "end"):
            raise InvalidOption(f"end={end.isoformat()} is not after start={start.isoformat()}")
        self._client = client
        self._name = name
        self._definition = definition
        self._start, self._end = start, end
        self._parallel = parallel

    def fire_times(self) -> Iterator[Instant]:
        """The fire times, from ``start``, which may be one, until ``end``, which is none."""
        return (instant(at, "fire time") for at in self._definition.trigger.fire_times(self._start, self._end))

    async def __aiter__(self) -> AsyncGenerator[BackfillProgress, None]:
        opened = await self._client.opened()
        enqueued = 0
        behind: list[bytes] = []
        for batch in _batches(self.fire_times()):
            jobs = []
            for at in batch:
                job = self._job(at, behind[-self._parallel] if len(behind) >= self._parallel else None)
                behind = [*behind[-self._parallel :], job.id]
                jobs.append(job)
            await opened.enqueuer.enqueue(jobs, sum(len(job.payload) for job in jobs))
            enqueued += len(jobs)
            yield BackfillProgress(enqueued, 0)
        async for finished in self._finished(opened.store):
            yield BackfillProgress(enqueued, finished)

    async def _finished(self, store: Store) -> AsyncIterator[int]:
        """How many have finished, in the order of their fire times, until all have."""
        finished = 0
        for batch in _batches(self.fire_times()):
            ids = [self._job(at, None).id for at in batch]
            done = 0
            while done < len(ids):
                now = sum(result is not None for result in await store.results(ids))
                if now == done:
                    await asyncio.sleep(_POLL)
                    known = await store.get_jobs(ids)
                    now = sum(job is None or job.state.is_finished for job in known)  # purged: finished long ago
                done = now
                yield finished + done
            finished += len(ids)

    def _job(self, at: Instant, behind: bytes | None) -> NewJob:
        job = self._definition.new_job(self._name, at, space="backfill")
        parents = () if behind is None else (Parent(behind, EdgePolicy.DONE),)
        return msgspec.structs.replace(job, at=None, unique=None, parents=parents)

    def __await__(self) -> Generator[Any, None, BackfillProgress]:
        return self.total().__await__()

    async def total(self) -> BackfillProgress:
        """Enqueue the jobs, and wait until all of them have finished."""
        total = BackfillProgress(0, 0)
        async for progress in self:
            total = progress
        return total

    def total_sync(self) -> BackfillProgress:
        """As `total`, blocking."""
        return blocking.run(self.total)


def _batches(times: Iterator[Instant]) -> Iterator[list[Instant]]:
    while batch := list(islice(times, _BATCH)):
        yield batch
