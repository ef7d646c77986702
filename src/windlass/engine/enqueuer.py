"""Gathers concurrent calls of enqueue into batches, and repeats a batch whose answer was lost.

While one batch is on its way to the store, whatever arrives waits and goes with the next one. There is no timer: at
idle a job waits for nothing, under load the batches grow by themselves. Every caller waits for its answers, so that no
more is waiting here than callers are waiting outside.

A batch is repeated with the same ids for at most `RETRY_FOR` seconds of a clock that runs while the machine sleeps: the
store knows an id for minutes, and after that a repeated job could run twice.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from dataclasses import dataclass

from windlass.core.clock import SECOND, Instant
from windlass.core.errors import EnqueueUnknown, StaleEnqueue, StoreError, StoreUnavailable
from windlass.core.ids import to_text
from windlass.core.model import MAX_BATCH, MAX_CALL_BYTES, EnqueueAnswer, NewJob
from windlass.store.port import Store

log = logging.getLogger("windlass.engine")

RETRY_FOR = 30.0
"""Seconds."""
FIRST_BACK_OFF = 0.05
LONGEST_BACK_OFF = 1.0
CLOCK_TRUST = 60.0
"""Seconds for which one look at the store's clock serves."""


def boot_time() -> float:
    """Seconds of a clock that cannot be set and that runs while the machine is suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


@dataclass(slots=True, eq=False)
class _Call:
    """The jobs of one caller, never split over two batches."""

    jobs: Sequence[NewJob]
    size: int
    """Payload bytes."""
    arrived: float
    answers: asyncio.Future[list[EnqueueAnswer]]
    doubtful: bool = False
    """It was sent and not answered: it may be stored."""

    def fail(self, error: Exception) -> None:
        """Tell the caller; one whose jobs may be stored learns of that instead."""
        if self.answers.done():
            return
        if self.doubtful:
            told = _unknown(self, str(error))
            told.__cause__ = error
            error = told
        self.answers.set_exception(error)


class Enqueuer:
    """Enqueues through one store, on one event loop."""

    def __init__(
        self,
        store: Store,
        *,
        clock: Callable[[], float] = boot_time,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._store = store
        self._clock = clock
        self._sleep = sleep
        self._waiting: deque[_Call] = deque()
        self._flusher: asyncio.Task[None] | None = None
        self._leader: _Call | None = None
        """The caller that is sending its own jobs, if one is."""
        self._lonely: set[_Call] = set()
        """The callers whose jobs are on their way by themselves."""
        self._alone = True
        """The last batch was one caller's: the next caller is probably alone again."""
        self._offset: Instant = 0
        """The store's clock minus ours, a little too small rather than too large."""
        self._offset_until = float("-inf")

    async def enqueue(self, jobs: Sequence[NewJob], size: int) -> list[EnqueueAnswer]:
        """Store jobs, at most `MAX_BATCH`, whose payloads are ``size`` bytes together.

        If the caller is cancelled meanwhile, the jobs may be stored all the same.

        Raises:
            EnqueueUnknown: the store did not answer for `RETRY_FOR` seconds; the jobs may be stored.
            StoreUnavailable: it did not answer, and the jobs were never sent.
        """
        if _has_keys(jobs):
            return await self._apart(jobs, size)
        if self._alone and self._leader is None and self._flusher is None:
            return await self._lead(jobs, size)
        return await self.submit(jobs, size)

    def submit(self, jobs: Sequence[NewJob], size: int) -> asyncio.Future[list[EnqueueAnswer]]:
        """As `enqueue`, without the waiting."""
        # A full batch has no room for anybody else's jobs either: the caller sees to it that there are few of them.
        if len(jobs) == MAX_BATCH or _has_keys(jobs):
            return asyncio.get_running_loop().create_task(self._apart(jobs, size), name="windlass-enqueue-apart")
        call = _Call(jobs, size, self._clock(), asyncio.get_running_loop().create_future())
        self._waiting.append(call)
        if self._leader is None:
            self._start_flusher()
        return call.answers

    async def aclose(self) -> None:
        """Wait until nothing is on its way any more."""
        while self._flusher is not None or self._leader is not None or self._lonely:
            under_way = {call.answers for call in self._lonely}
            if self._flusher is not None or self._leader is not None:
                under_way.add(self._flusher or self._leader.answers)  # type: ignore[arg-type, union-attr]
            await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)

    async def _apart(self, jobs: Sequence[NewJob], size: int) -> list[EnqueueAnswer]:
        """Send jobs by themselves, at once. Those with unique keys because the store may have to wait for whoever holds
        a key, and nobody else should."""
        call = _Call(jobs, size, self._clock(), asyncio.get_running_loop().create_future())
        self._lonely.add(call)
        try:
            await self._flush([call])
        finally:
            self._lonely.discard(call)
            call.answers.cancel()  # where the caller was cancelled; otherwise they are there
        return call.answers.result()

    async def _lead(self, jobs: Sequence[NewJob], size: int) -> list[EnqueueAnswer]:
        """Send the caller's own jobs in its own task: a task of ours would cost two more turns of the loop. Whoever
        comes meanwhile waits as ever."""
        call = self._leader = _Call(jobs, size, self._clock(), asyncio.get_running_loop().create_future())
        try:
            await self._flush([call])
        finally:
            self._leader = None
            call.answers.cancel()  # where the caller was cancelled; otherwise they are there
            # In a loop that is being torn down the others have been cancelled too, and nothing is started any more.
            if any(not waiting.answers.done() for waiting in self._waiting):
                self._alone = False
                self._start_flusher()
        return call.answers.result()

    def _start_flusher(self) -> None:
        if self._flusher is None:
            # In a context of its own: what goes together may come from anywhere, and is no part of one caller's trace.
            self._flusher = asyncio.get_running_loop().create_task(
                self._flush_all(), name="windlass-enqueue", context=Context()
            )

    async def _flush_all(self) -> None:
        batch: list[_Call] = []
        try:
            while self._waiting:
                batch = self._next_batch()
                self._alone = len(batch) == 1
                await self._flush(batch)
        finally:
            self._flusher = None
            # Callers are left only if the loop is being torn down.
            for call in (*batch, *self._waiting):
                if not call.answers.done():
                    call.answers.set_exception(_unknown(call, "the event loop ended before the store answered"))
            self._waiting.clear()

    def _next_batch(self) -> list[_Call]:
        batch = [self._waiting.popleft()]
        count, size = len(batch[0].jobs), batch[0].size
        while self._waiting:
            call = self._waiting[0]
            count += len(call.jobs)
            size += call.size
            if count > MAX_BATCH or size > MAX_CALL_BYTES:
                break
            batch.append(self._waiting.popleft())
        return batch

    async def _flush(self, batch: list[_Call]) -> None:
        try:
            answers = await self._send(batch)
        except StoreError as error:
            for call in batch:
                call.fail(error)
        except Exception as error:  # noqa: BLE001 - whatever it is, callers must hear of it
            if len(batch) == 1:
                batch[0].fail(error)
                return
            # One caller's job must not fail its neighbours': each goes alone.
            for call in batch:
                await self._flush([call])
        else:
            _share(batch, answers)

    async def _send(self, batch: list[_Call]) -> list[EnqueueAnswer]:
        """Send a batch until it is answered, always with the same ids and the time of the first try."""
        jobs = batch[0].jobs if len(batch) == 1 else [job for call in batch for job in call.jobs]
        began = self._clock()
        first_sent: Instant | None = None
        back_off = FIRST_BACK_OFF
        refreshed = False
        while True:
            try:
                if first_sent is None:
                    first_sent = await self._store_now()
                return (await self._store.enqueue(jobs, first_sent=first_sent)).jobs
            except StaleEnqueue:
                if refreshed or batch[0].doubtful:
                    raise
                # Nothing was stored; the store's clock may have been set forward since we looked at it.
                refreshed, first_sent, self._offset_until = True, None, float("-inf")
            except StoreUnavailable as error:
                if first_sent is not None:
                    for call in batch:
                        call.doubtful = True
                if self._clock() - began + back_off > RETRY_FOR:
                    self._give_up_waiting(error, began)
                    raise
                if back_off == FIRST_BACK_OFF:
                    log.warning("enqueue: %s; trying again for %.0f s", error, RETRY_FOR)
                await self._sleep(back_off)
                back_off = min(back_off * 2, LONGEST_BACK_OFF)

    async def _store_now(self) -> Instant:
        """The store's clock, estimated; never ahead of it."""
        if self._clock() >= self._offset_until:
            now = await self._store.now()
            answered = self._clock()
            self._offset = now - round(answered * SECOND)
            self._offset_until = answered + CLOCK_TRUST
        return self._offset + round(self._clock() * SECOND)

    def _give_up_waiting(self, error: StoreUnavailable, began: float) -> None:
        """Tell those who have waited behind this batch for as long; they were never sent."""
        for call in self._waiting:
            if call.arrived <= began:
                call.fail(error)
        self._waiting = deque(call for call in self._waiting if not call.answers.done())


def _has_keys(jobs: Sequence[NewJob]) -> bool:
    return any([job.unique is not None for job in jobs])  # noqa: C419 - twice as fast


def _unknown(call: _Call, why: str) -> EnqueueUnknown:
    ids = [to_text(job.id) for job in call.jobs]
    return EnqueueUnknown(f"it is not known whether {len(ids)} job(s) were stored: {why}", ids=ids)


def _share(batch: Sequence[_Call], answers: list[EnqueueAnswer]) -> None:
    start = 0
    for call in batch:
        end = start + len(call.jobs)
        if not call.answers.done():
            call.answers.set_result(answers[start:end])
        start = end
