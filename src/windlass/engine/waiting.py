"""Waits for jobs to finish, for all callers of one event loop together.

A hint from the store wakes a caller at once; because hints may be lost, each awaited job is also looked up with a
back-off. Whatever is due to be looked up goes to the store in one call.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
import time
from collections.abc import Callable, Sequence

from windlass.core.errors import JobNotFound, ResultTimeout, StoreUnavailable
from windlass.core.ids import to_text
from windlass.core.model import MAX_BATCH
from windlass.core.records import JobResult
from windlass.store.port import Store, Subscription

log = logging.getLogger("windlass.engine")

FIRST_POLL = 0.05
LONGEST_POLL = 1.0
GRACE = 1e-3
"""Seconds by which a look may come early, so that jobs awaited together are looked up together."""
PATIENCE = 30.0
"""Seconds for which an unreachable store is put up with."""
EXISTENCE_FIRST = 2
EXISTENCE_EVERY = 16
"""At which look in vain, and then at every how many more, to make sure that the job exists at all."""


class _Wait:
    """One job that somebody waits for."""

    __slots__ = ("finished", "id", "looks", "pause", "subscription", "waiters")

    def __init__(self, job_id: bytes, finished: asyncio.Future[JobResult]) -> None:
        self.id = job_id
        self.finished = finished
        self.waiters = 0
        self.looks = 0
        self.pause = FIRST_POLL
        self.subscription: Subscription | None = None


class ResultWaiter:
    """Waits through one store, on one event loop."""

    def __init__(self, store: Store, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self._waits: dict[bytes, _Wait] = {}
        self._urgent: set[bytes] = set()
        """New, or hinted at."""
        self._later: list[tuple[float, bytes]] = []
        """Heap of (when to look again, id); entries of jobs that nobody awaits any more are skipped."""
        self._poke = asyncio.Event()
        self._looker: asyncio.Task[None] | None = None
        self._unreachable_since: float | None = None

    async def wait(self, job_id: bytes, timeout: float | None) -> JobResult:
        """Wait until the job has finished, however.

        Args:
            job_id: the job.
            timeout: seconds; ``None``: for as long as it takes.

        Raises:
            ResultTimeout: it had not finished by then.
            JobNotFound: the store does not have it.
            StoreUnavailable: the store could not be reached for `PATIENCE` seconds.
        """
        wait = self._waits.get(job_id) or self._begin(job_id)
        wait.waiters += 1
        try:
            async with asyncio.timeout(timeout):
                # Shielded: others may wait for the same job.
                return await asyncio.shield(wait.finished)
        except ResultTimeout:
            raise  # the store's own word: `windlass.testing` knows when a wait would be in vain
        except TimeoutError:
            # A short timeout may end before the store was asked whether the job exists.
            found = await self._look_once(job_id) if wait.looks < EXISTENCE_FIRST else None
            if found is None:
                raise ResultTimeout(f"job {to_text(job_id)} did not finish within {timeout:g} s") from None
            return found
        finally:
            wait.waiters -= 1
            if wait.waiters == 0:
                self._end(wait)

    async def _look_once(self, job_id: bytes) -> JobResult | None:
        found = (await self._store.results([job_id]))[0]
        if found is None and (await self._store.get_jobs([job_id]))[0] is None:
            raise _not_found(job_id)
        return found

    def _begin(self, job_id: bytes) -> _Wait:
        wait = self._waits[job_id] = _Wait(job_id, asyncio.get_running_loop().create_future())
        # Before the first look, so that nothing falls between.
        wait.subscription = self._store.subscribe((f"finished/{job_id.hex()}",), lambda: self._hint(job_id))
        self._hint(job_id)
        if self._looker is None:
            self._looker = asyncio.get_running_loop().create_task(self._look_for_all(), name="windlass-results")
        return wait

    def _end(self, wait: _Wait) -> None:
        if self._waits.get(wait.id) is wait:
            del self._waits[wait.id]
            self._urgent.discard(wait.id)
            if not self._waits:
                self._poke.set()
        if wait.subscription is not None:
            wait.subscription.close()
        # An error that came too late for anybody to see is nobody's complaint.
        if not wait.finished.cancel() and not wait.finished.cancelled():
            wait.finished.exception()

    def _hint(self, job_id: bytes) -> None:
        if job_id in self._waits:
            self._urgent.add(job_id)
            self._poke.set()

    async def aclose(self) -> None:
        """End the looking; whoever still waits is told that the store is closed."""
        for wait in list(self._waits.values()):
            self._fail(wait, StoreUnavailable("the store was closed while a result was awaited"))
        if self._looker is not None:
            self._looker.cancel()
            await asyncio.wait({self._looker})

    # ------------------------------------------------------------------------------------------- looking

    async def _look_for_all(self) -> None:
        try:
            while self._waits:
                self._poke.clear()
                ids = self._due()
                if ids:
                    await self._look(ids)
                else:
                    await self._sleep()
        finally:
            self._looker = None
            self._later.clear()

    def _due(self) -> list[bytes]:
        """Choose what to look up now, at most a batch of it."""
        now = self._clock() + GRACE
        while self._later and self._later[0][0] <= now:
            _, job_id = heapq.heappop(self._later)
            if job_id in self._waits:
                self._urgent.add(job_id)
        ids = list(self._urgent) if len(self._urgent) <= MAX_BATCH else [*self._urgent][:MAX_BATCH]
        self._urgent.difference_update(ids)
        return ids

    async def _sleep(self) -> None:
        """Wait for a poke, or until the next look is due."""
        pause = max(0.0, self._later[0][0] - self._clock()) if self._later else None
        try:
            async with asyncio.timeout(pause):
                await self._poke.wait()
        except TimeoutError:
            pass

    async def _look(self, ids: Sequence[bytes]) -> None:
        try:
            results = await self._store.results(ids)
            missing = [job_id for job_id, result in zip(ids, results, strict=True) if result is None]
            gone = await self._find_gone(missing)
        except StoreUnavailable as error:
            self._bear(ids, error)
            return
        except Exception as error:  # noqa: BLE001 - whatever it is, those who wait must hear of it
            for job_id in ids:
                self._fail(self._waits.get(job_id), error)
            return
        self._unreachable_since = None
        for job_id, result in zip(ids, results, strict=True):
            wait = self._waits.get(job_id)
            if wait is None:
                continue
            if result is not None:
                if not wait.finished.done():
                    wait.finished.set_result(result)
            elif job_id in gone:
                self._fail(wait, _not_found(job_id))
            else:
                self._look_later(wait)

    async def _find_gone(self, missing: Sequence[bytes]) -> set[bytes]:
        """Of jobs that have no result, find those that do not exist; asked seldom, since it costs a trip."""
        ask = []
        for job_id in missing:
            wait = self._waits.get(job_id)
            if wait is not None:
                wait.looks += 1
                if wait.looks % EXISTENCE_EVERY == EXISTENCE_FIRST:
                    ask.append(job_id)
        if not ask:
            return set()
        return {job_id for job_id, job in zip(ask, await self._store.get_jobs(ask), strict=True) if job is None}

    def _look_later(self, wait: _Wait) -> None:
        heapq.heappush(self._later, (self._clock() + wait.pause, wait.id))
        wait.pause = min(wait.pause * 2, LONGEST_POLL)

    def _bear(self, ids: Sequence[bytes], error: StoreUnavailable) -> None:
        """The store is away: try again, but not for ever."""
        now = self._clock()
        if self._unreachable_since is None:
            self._unreachable_since = now
            log.warning("waiting for results: %s; trying again", error)
        for job_id in ids:
            wait = self._waits.get(job_id)
            if wait is None:
                continue
            if now - self._unreachable_since > PATIENCE:
                self._fail(wait, error)
            else:
                self._look_later(wait)

    @staticmethod
    def _fail(wait: _Wait | None, error: Exception) -> None:
        if wait is not None and not wait.finished.done():
            wait.finished.set_exception(error)


def _not_found(job_id: bytes) -> JobNotFound:
    return JobNotFound(f"the store has no job {to_text(job_id)}: it never had it, or it was purged after its retention")
