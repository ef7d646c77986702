"""Brings what jobs need besides what they were claimed with: the results that steps take from others, and, where
attempts are traced, the span of the attempt before.

What ended here a moment ago is remembered, so that the next step of a chain need not ask; all that the jobs of one
claim need besides goes to the store in one call.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

import msgspec

from windlass.core.clock import SECOND, Span
from windlass.core.errors import StoreError, UndecodablePayload, WindlassError
from windlass.core.lifecycle import Outcome, State
from windlass.core.model import KEEP, KEEP_DEAD, MAX_BATCH, ClaimedJob, Settled, Settlement
from windlass.core.options import decode_options
from windlass.core.remote import decode_error, encode_error
from windlass.core.steps import OMITTED, UNFINISHED, NotKnown, StepInfo, TooEarly, fill, is_step
from windlass.core.task import TaskSpec
from windlass.engine.endings import log_ending
from windlass.engine.paused_runs import PausedRuns
from windlass.store.port import Insights

log = logging.getLogger("windlass.engine")

REMEMBER = 10_000
"""Results that are remembered at most."""
REMEMBER_BYTES = 8 * 1024 * 1024
REMEMBER_LARGEST = 64 * 1024
TOO_EARLY: Span = SECOND // 2
"""After which a step is looked at again that was let go before a result was there that it takes."""
PAUSE = 0.2
"""Seconds between looks while the store is away."""


class Inputs:
    """Fills the arguments of steps.

    Args:
        store: where results are.
        tasks: say how long what ends here is kept.
        deliver: takes jobs that can start.
        settle: takes the ends of those that never will.
        paused: knows what may not start.
        traced: whether attempts are.
    """

    def __init__(
        self,
        store: Insights,
        tasks: Mapping[str, TaskSpec],
        deliver: Callable[[list[ClaimedJob]], None],
        settle: Callable[[ClaimedJob, Settlement], None],
        paused: PausedRuns,
        *,
        traced: bool = False,
    ) -> None:
        self._paused = paused
        self._traced = traced
        self._store = store
        self._tasks = tasks
        self._deliver = deliver
        self._settle = settle
        self.loading: dict[bytes, ClaimedJob] = {}
        """Jobs that wait for what they need, by id."""
        self._loads: set[asyncio.Task[None]] = set()
        self._known: OrderedDict[bytes, bytes] = OrderedDict()
        """Results of steps that have succeeded, the oldest first."""
        self._known_bytes = 0
        self._ended: dict[bytes, bytes] = {}
        """Results that the store has not accepted yet."""

    # ------------------------------------------------------------------------------------------ before

    def fill(self, jobs: Sequence[ClaimedJob]) -> list[ClaimedJob]:
        """Give back those that can start, with their arguments; `deliver` has the others later."""
        ready: list[ClaimedJob] = []
        later: list[tuple[ClaimedJob, StepInfo]] = []
        retried: list[ClaimedJob] = []
        for job in jobs:
            info = decode_options(job.options).step if is_step(job.options) else None
            put_back = self._paused.holds(job, info)
            if put_back is not None:
                self._settle(job, put_back)
                continue
            if job.failures and self._traced and job.failed_span is None:
                self.loading[job.id] = job
                retried.append(job)
                continue
            if info is None or not info.takes:
                ready.append(job)
                continue
            try:
                self._sort(job, _filled(job, info, self._known, self._tasks.get(job.task)), ready)
            except NotKnown:
                self.loading[job.id] = job
                later.append((job, info))
        if later:
            self._begin(self._load(later))
        if retried:
            self._begin(self._look_back(retried))
        return ready

    def _begin(self, load: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(load, name="windlass-inputs")
        self._loads.add(task)
        task.add_done_callback(self._loads.discard)

    def _sort(self, job: ClaimedJob, filled: ClaimedJob | Settlement, ready: list[ClaimedJob]) -> None:
        if isinstance(filled, ClaimedJob):
            ready.append(filled)
            return
        if filled.result is not None:
            self.ended(job, filled.result)
        elif filled.error is not None:
            log_ending(job, filled, ran=False)
        self._settle(job, filled)

    async def _load(self, jobs: list[tuple[ClaimedJob, StepInfo]]) -> None:
        found = _Found(self._known)
        while jobs:
            missing: dict[bytes, None] = {}
            ready: list[ClaimedJob] = []
            left: list[tuple[ClaimedJob, StepInfo]] = []
            for job, info in jobs:
                if self.loading.get(job.id) is not job:
                    continue  # given back, or lost
                try:
                    filled = _filled(job, info, found, self._tasks.get(job.task))
                    del self.loading[job.id]
                    self._sort(job, filled, ready)
                except NotKnown as error:
                    missing.update(dict.fromkeys(error.ids))
                    left.append((job, info))
            self._deliver(ready)
            jobs = left
            if jobs:
                found.update(await self._fetch(list(missing)))

    async def _look_back(self, jobs: list[ClaimedJob]) -> None:
        spans = await self._failed_spans([job.id for job in jobs])
        told: list[ClaimedJob] = []
        for job, span in zip(jobs, spans, strict=True):
            if self.loading.get(job.id) is job:  # else it was given back, or lost
                del self.loading[job.id]
                told.append(msgspec.structs.replace(job, failed_span=span))
        self._deliver(self.fill(told))

    async def _failed_spans(self, ids: list[bytes]) -> list[str]:
        try:
            records = await self._store.get_jobs(ids)
        except StoreError as error:
            log.warning("the attempts before cannot be read (%s): their spans are not linked to", error)
            return [""] * len(ids)
        errors = [record.errors[-1:] if record is not None else [] for record in records]
        return [(decode_error(last[0]).span or "") if last else "" for last in errors]

    async def _fetch(self, ids: list[bytes]) -> dict[bytes, bytes | None]:
        while True:
            try:
                found = await _fetched(self._store, ids)
            except StoreError as error:
                log.warning("the results that steps take cannot be read (%s); trying again", error)
                await asyncio.sleep(PAUSE)
                continue
            for job_id, data in found.items():
                if data:
                    self._remember(job_id, data)
            return found

    def take_out(self, which: Callable[[ClaimedJob], bool]) -> list[ClaimedJob]:
        """Take those out that shall wait no longer, and give them."""
        out = [job for job in self.loading.values() if which(job)]
        for job in out:
            del self.loading[job.id]
        return out

    def close(self) -> None:
        """Load nothing more."""
        for task in self._loads:
            task.cancel()

    # ------------------------------------------------------------------------------------------- after

    def ended(self, job: ClaimedJob, result: bytes) -> None:
        """A step has ended here, and the store is to hear of it."""
        self._ended[job.id] = result

    def settled(self, settlements: Sequence[Settlement], answers: Sequence[Settled]) -> None:
        """The store has heard of these: what it accepted is what every other step will take."""
        if not self._ended:
            return
        for settlement, answer in zip(settlements, answers, strict=True):
            result = self._ended.pop(settlement.id, None)
            if result is not None and answer is not Settled.LOST:
                self._remember(settlement.id, result)

    def _remember(self, job_id: bytes, result: bytes) -> None:
        known = self._known
        if len(result) > REMEMBER_LARGEST or job_id in known:
            return
        known[job_id] = result
        self._known_bytes += len(result)
        while len(known) > REMEMBER or self._known_bytes > REMEMBER_BYTES:
            # Not a plain dict: finding its first key takes the longer the more were taken from its front.
            self._known_bytes -= len(known.popitem(last=False)[1])


class _Found(dict[bytes, bytes | None]):
    """Results that were fetched, and those that were remembered when they were asked for: these may be forgotten before
    the others are there."""

    def __init__(self, remembered: Mapping[bytes, bytes]) -> None:
        super().__init__()
        self._remembered = remembered

    def __contains__(self, job_id: object) -> bool:
        if super().__contains__(job_id):
            return True
        result = self._remembered.get(job_id)  # type: ignore[call-overload]
        if result is None:
            return False
        self[job_id] = result  # type: ignore[index]
        return True


def _filled(
    job: ClaimedJob, info: StepInfo, known: Mapping[bytes, bytes | None], spec: TaskSpec | None
) -> ClaimedJob | Settlement:
    """The job with its arguments, or its end, if it has ended by that. Raises `NotKnown`."""
    try:
        payload = fill(info, job.payload, known)
    except NotKnown:
        raise
    except TooEarly:
        return Settlement(job.id, job.token, Outcome.SNOOZED, delay=TOO_EARLY)
    except Exception as error:  # noqa: BLE001 - options may be anybody's, and must never stop a worker
        if not isinstance(error, WindlassError):
            error = UndecodablePayload(f"what the step takes cannot be put into its arguments: {error!r}"[:500])
        record = encode_error(error, job.attempt, time.time_ns() // 1000)
        keep_dead = KEEP_DEAD if spec is None else spec.keep_dead
        return Settlement(job.id, job.token, Outcome.DEAD, None, record, 0, keep_dead)
    if payload is not None:
        return msgspec.structs.replace(job, payload=payload)
    keep = decode_options(job.options).keep
    if keep is None:
        keep = KEEP if spec is None else spec.keep
    return Settlement(job.id, job.token, Outcome.SUCCEEDED, OMITTED, keep=keep)


async def filled(store: Insights, job: ClaimedJob, spec: TaskSpec | None) -> ClaimedJob | Settlement:
    """One job with its arguments, or its end, as `Inputs` gives them. Raises `StoreError`."""
    info = decode_options(job.options).step
    if info is None or not info.takes:
        return job
    known: dict[bytes, bytes | None] = {}
    while True:
        try:
            return _filled(job, info, known, spec)
        except NotKnown as error:
            known.update(await _fetched(store, list(error.ids)))


async def _fetched(store: Insights, ids: list[bytes]) -> dict[bytes, bytes | None]:
    """Results by job id; ``None`` for a job that did not succeed, or is gone, and `UNFINISHED`."""
    found: dict[bytes, bytes | None] = {}
    doubtful: list[bytes] = []
    for start in range(0, len(ids), MAX_BATCH):
        part = ids[start : start + MAX_BATCH]
        for job_id, result in zip(part, await store.results(part), strict=True):
            if result is None:
                doubtful.append(job_id)
            succeeded = result is not None and result.state is State.SUCCEEDED
            found[job_id] = (result.result or b"null") if result is not None and succeeded else None
    for start in range(0, len(doubtful), MAX_BATCH):
        part = doubtful[start : start + MAX_BATCH]
        for job_id, job in zip(part, await store.get_jobs(part), strict=True):
            found[job_id] = None if job is None else UNFINISHED
    return found
