"""Fires schedules when they are due.

It runs in every worker. The one on duty (see `windlass.engine.janitor`) aims a timer at the next fire time; the others
look a little later whether that has been done, so that nothing waits for long when the one on duty dies. Who fires is
settled by the store: each step of a schedule is made once, whoever plans it, and with whatever clock.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from windlass.core.clock import SECOND
from windlass.core.errors import InvalidOption, StoreError
from windlass.core.model import MAX_BATCH, MAX_CALL_BYTES
from windlass.core.schedules import DueSchedules, FireStatus, Firing, ScheduleRecord
from windlass.engine.signals import Signals
from windlass.store.port import Store

if TYPE_CHECKING:
    from windlass.core.definition import Definition

log = logging.getLogger("windlass.engine")

POLL = 10.0
"""Seconds after which it looks in any case."""
BEHIND = 2.0
"""Seconds that a worker without the duty leaves to the one that has it; and up to half as much again, so that they do
not all come at once."""
_BATCH = 200
_SHORTEST = 0.1
"""Seconds until the next look where something that is due was left."""
_FIRST_BACK_OFF, _LONGEST_BACK_OFF = 0.1, 5.0


class Scheduler:
    """The scheduler of one worker; `run` is its loop."""

    def __init__(self, store: Store, signals: Signals, schedules: Mapping[str, Definition]) -> None:
        self._store = store
        self._undeclared = schedules
        """What the application declares, until the store has it."""
        self._signals = signals
        self._wake = asyncio.Event()
        self._strange: dict[str, int] = {}
        """Schedules that this version does not understand, with their versions."""
        self._back_off = _FIRST_BACK_OFF
        self.on_duty = True
        """Until somebody says otherwise: what is due now should not wait for the first renewal."""

    def take_duty(self, duty: bool) -> None:
        """Hear whether this worker has the duty."""
        if duty and not self.on_duty:
            self._wake.set()
        self.on_duty = duty

    async def run(self) -> None:
        """Work for ever."""
        subscription = self._store.subscribe(["schedules"], self._wake.set)
        try:
            while True:
                await self._pause(await self._look())
        finally:
            subscription.close()

    async def _look(self) -> float:
        """Fire what is due; say for how many seconds there is nothing to do."""
        try:
            found = await self.fire_due()
        except StoreError as error:
            log.warning("the scheduler cannot reach the store: %s", error)
            self._back_off = min(self._back_off * 2, _LONGEST_BACK_OFF)
            return self._back_off
        self._back_off = _FIRST_BACK_OFF
        if found.next_at is None:
            return _SHORTEST if found.schedules else POLL
        left = max((found.next_at - found.now) / SECOND, _SHORTEST if found.schedules else 0.0)
        return left if self.on_duty else left + BEHIND * random.uniform(1.0, 1.5)  # noqa: S311 - no secret

    async def _declare(self) -> None:
        from windlass.engine.declaring import declare

        made = await declare(self._store, self._undeclared)
        self._undeclared = {}
        if made:
            log.info("made %d schedules that the application declares", made)

    async def _pause(self, seconds: float) -> None:
        if seconds > 0 and not self._wake.is_set():
            handle = asyncio.get_running_loop().call_later(min(seconds, POLL), self._wake.set)
            try:
                await self._wake.wait()
            finally:
                handle.cancel()
        self._wake.clear()

    # ------------------------------------------------------------------------------------------------ firing

    async def fire_due(self) -> DueSchedules:
        """Make what is declared and not there, and fire all that is due. Answers what it left: what it does not
        understand, and when the next is due."""
        if self._undeclared:
            await self._declare()
        while True:
            found = await self._store.due_schedules(min(_BATCH + len(self._strange), MAX_BATCH))
            firings = await self._plan(found)
            if not firings:
                return found
            fired = 0
            for batch in _batches(firings):
                answers = await self._store.fire(batch)
                fired += sum(answer.status is FireStatus.FIRED for answer in answers)
            self._signals.emit("fired", fired)
            log.debug("fired %d of %d schedules that were due", fired, len(firings))
            if not fired:
                return found  # somebody else is at it

    async def _plan(self, found: DueSchedules) -> list[Firing]:
        if not found.schedules:
            return []
        # Only who has schedules pays for their code.
        from windlass.core.firing import plan_firing

        defined = [(record, one) for record in found.schedules if (one := self._definition(record)) is not None]
        unfinished = await self._unfinished([record for record, one in defined if one.asks_for_last_job])
        firings = [
            plan_firing(
                record,
                one,
                found.now,
                behind=unfinished.get(record.name) if one.policies.overlap == "queue" else None,
            )
            for record, one in defined
        ]
        to_cancel = [unfinished[record.name] for (record, one), firing in zip(defined, firings, strict=True)
                     if one.policies.overlap == "cancel" and firing.jobs and record.name in unfinished]  # fmt: skip
        if to_cancel:
            # Before the new job is there: whoever takes over from here cancels nothing else.
            await self._store.cancel(to_cancel)
        return firings

    async def _unfinished(self, records: Sequence[ScheduleRecord]) -> dict[str, bytes]:
        """The last jobs of these schedules, where they are unfinished."""
        asked = [(record.name, record.last_job) for record in records if record.last_job is not None]
        if not asked:
            return {}
        jobs = await self._store.get_jobs([job_id for _, job_id in asked])
        return {
            name: job_id
            for (name, job_id), job in zip(asked, jobs, strict=True)
            if job is not None and not job.state.is_finished
        }

    def _definition(self, record: ScheduleRecord) -> Definition | None:
        from windlass.core.definition import decode

        try:
            return decode(record.definition)
        except InvalidOption as error:
            if self._strange.get(record.name) != record.version:
                said = "schedule %r does not fire here, another version may know it: %s"
                log.error(said, record.name, error)  # noqa: TRY400 - the message says it all
                self._strange[record.name] = record.version
            return None


def _batches(firings: Sequence[Firing]) -> Iterator[list[Firing]]:
    """Cut firings into calls that are not too large."""
    batch: list[Firing] = []
    jobs = size = 0
    for firing in firings:
        weight = sum(len(job.payload) for job in firing.jobs)
        if batch and (jobs + len(firing.jobs) > MAX_BATCH or size + weight > MAX_CALL_BYTES):
            yield batch
            batch, jobs, size = [], 0, 0
        batch.append(firing)
        jobs += len(firing.jobs)
        size += weight
    if batch:
        yield batch
