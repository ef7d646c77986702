"""Sends jobs and hears of their ends, many at once."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from itertools import islice

from windlass.client import Client
from windlass.core.errors import JobNotFound, StoreUnavailable, UnknownParent
from windlass.core.ids import to_text
from windlass.core.model import MAX_BATCH, MAX_CALL_BYTES, Enqueued, NewJob
from windlass.core.records import JobResult

log = logging.getLogger("windlass")

HEARD = 4
"""Jobs of which hints are asked for: those that were sent first. The others are looked at with them."""
FIRST_POLL = 0.005
LONGEST_POLL = 0.25
PATIENCE = 30.0
"""Seconds for which an unreachable store is put up with."""
EXISTENCE_EVERY = 40
"""After so many looks in vain it is made sure that the jobs exist at all."""

Done = Callable[[JobResult | Exception], None]


class Tracker:
    """Jobs on their way, on one event loop."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._outbox: deque[tuple[NewJob, Done]] = deque()
        self._awaited: dict[bytes, Done] = {}
        """Sent, in that order; what to call with the end of each."""
        self._wake = asyncio.Event()
        self._sender: asyncio.Task[None] | None = None
        self._collector: asyncio.Task[None] | None = None
        self._pause = FIRST_POLL
        """Before the next look, if no hint comes."""
        self._vain = 0
        """Looks that found nothing, one after the other."""

    def send(self, job: NewJob, done: Done) -> None:
        """Store a job soon, and call ``done`` on this loop when it has ended, or could not be stored."""
        self._outbox.append((job, done))
        if self._sender is None:
            self._sender = asyncio.get_running_loop().create_task(self._send_all(), name="windlass-compute-send")

    async def sent(self) -> None:
        """Wait until nothing is left to be sent."""
        if self._sender is not None:
            await asyncio.wait({self._sender})

    def forget(self, job_id: bytes) -> None:
        """Hear no more of a job."""
        self._awaited.pop(job_id, None)

    async def aclose(self) -> None:
        """Send nothing more, and hear of nothing."""
        tasks = [task for task in (self._sender, self._collector) if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    # ------------------------------------------------------------------------------------------- sending

    async def _send_all(self) -> None:
        try:
            await asyncio.sleep(0)  # whatever is sent in the same breath goes with it
            while self._outbox:
                batch = self._next_batch()
                try:
                    enqueuer = (await self._client.opened()).enqueuer
                    answers = await enqueuer.enqueue(
                        [job for job, _ in batch], sum(len(job.payload) for job, _ in batch)
                    )
                except Exception as error:  # noqa: BLE001 - whatever it is, those who wait must hear of it
                    for _, done in batch:
                        done(error)
                    continue
                for (job, done), answer in zip(batch, answers, strict=True):
                    if answer.status is Enqueued.STORED:
                        self._awaited[job.id] = done
                    else:
                        done(UnknownParent("a job whose result it takes is not there any more"))
                self._wake.set()
                if self._collector is None:
                    loop = asyncio.get_running_loop()
                    self._collector = loop.create_task(self._collect_all(), name="windlass-compute-collect")
        finally:
            self._sender = None

    def _next_batch(self) -> list[tuple[NewJob, Done]]:
        batch = [self._outbox.popleft()]
        size = len(batch[0][0].payload)
        while self._outbox and len(batch) < MAX_BATCH:
            size += len(self._outbox[0][0].payload)
            if size > MAX_CALL_BYTES:
                break
            batch.append(self._outbox.popleft())
        return batch

    # ---------------------------------------------------------------------------------------- collecting

    async def _collect_all(self) -> None:
        self._pause, self._vain = FIRST_POLL, 0
        unreachable_since: float | None = None
        try:
            while self._awaited:
                try:
                    await self._collect()
                    unreachable_since = None
                except StoreUnavailable as error:
                    now = time.monotonic()
                    unreachable_since = unreachable_since or now
                    if now - unreachable_since > PATIENCE:
                        raise
                    log.warning("results: %s; trying again", error)
                    await asyncio.sleep(LONGEST_POLL)
        except Exception as error:  # noqa: BLE001 - whatever it is, those who wait must hear of it
            awaited, self._awaited = self._awaited, {}
            for done in awaited.values():
                done(error)
        finally:
            self._collector = None

    async def _collect(self) -> None:
        """Look once; if nothing has ended, wait for a hint, or a while."""
        store = (await self._client.opened()).store
        self._wake.clear()
        # Before the look, so that nothing falls between.
        hints = store.subscribe([f"finished/{job_id.hex()}" for job_id in islice(self._awaited, HEARD)], self._wake.set)
        try:
            if await self._look():
                self._pause, self._vain = FIRST_POLL, 0
                return
            self._vain += 1
            if self._vain % EXISTENCE_EVERY == 0:
                await self._look_for_gone()
            await self._sleep(self._pause)
            self._pause = min(self._pause * 2, LONGEST_POLL)
        finally:
            hints.close()

    async def _sleep(self, pause: float) -> None:
        handle = asyncio.get_running_loop().call_later(pause, self._wake.set)
        try:
            await self._wake.wait()
        finally:
            handle.cancel()

    async def _look(self) -> int:
        """Look at all that is awaited; answer how many have ended."""
        store = (await self._client.opened()).store
        ended = 0
        ids = list(self._awaited)
        for start in range(0, len(ids), MAX_BATCH):
            part = ids[start : start + MAX_BATCH]
            found = 0
            for result in await store.results(part):
                if result is not None and (done := self._awaited.pop(result.id, None)) is not None:
                    done(result)
                    found += 1
            ended += found
            if not found and start:
                break  # what was sent later ends later, as a rule
        return ended

    async def _look_for_gone(self) -> None:
        store = (await self._client.opened()).store
        ids = list(self._awaited)[:MAX_BATCH]
        for job_id, job in zip(ids, await store.get_jobs(ids), strict=True):
            if job is None and (done := self._awaited.pop(job_id, None)) is not None:
                done(JobNotFound(f"the store has no job {to_text(job_id)} any more"))
