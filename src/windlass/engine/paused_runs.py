"""Runs of workflows that somebody has paused, as far as a worker knows.

What it knows may be older than the claim that it is asked about: a run may go on between the two. Whoever resumes a run
lets those steps go on that he finds put back; a step that a worker puts back a moment later is the worker's to let go.
So it asks again when the store has what it put back.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Sequence
from collections.abc import Set as AbstractSet

from windlass.core.clock import SECOND
from windlass.core.errors import StoreError
from windlass.core.lifecycle import Outcome
from windlass.core.model import MAX_BATCH, ClaimedJob, Settled, Settlement
from windlass.core.records import LimitScope
from windlass.core.steps import PAUSED_FOR, StepInfo, paused_run
from windlass.store.port import Store

log = logging.getLogger("windlass.engine")

EVERY = 60.0
"""Seconds between looks, beside those at each hint that limits have changed."""


class PausedRuns:
    """Which runs are paused. What is claimed of them goes back, for a minute."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._runs: AbstractSet[bytes] = frozenset()
        self._leaving: dict[bytes, bytes] = {}
        """The run of each job that goes back, until the store has heard of it."""
        self.put_back: dict[bytes, bytes] = {}
        """The same of those that the store has heard of since `let_go` last looked."""
        self.stale = False
        """Something has changed since."""

    async def refresh(self) -> None:
        """Read them anew. Raises `StoreError`."""
        self.stale = False
        records = await self._store.limits(LimitScope.TASK)
        runs = (paused_run(record.name) for record in records if record.paused)
        self._runs = frozenset(run for run in runs if run is not None)

    async def catch_up(self) -> None:
        """Read them anew if something has changed; if the store is away, what was known holds."""
        if self.stale:
            try:
                await self.refresh()
            except StoreError as error:
                log.warning("what is paused could not be read: %s", error)

    async def run(self) -> None:
        """Look now and then: a hint may be lost."""
        while True:
            await asyncio.sleep(EVERY)
            self.stale = True
            await self.catch_up()

    def holds(self, job: ClaimedJob, info: StepInfo | None) -> Settlement | None:
        """The settlement that puts a job back whose run is paused; ``None``: it may start."""
        if not self._runs:
            return None
        run = job.id if info is None else info.run
        if run not in self._runs:
            return None
        self._leaving[job.id] = run
        delay = int(PAUSED_FOR * random.uniform(0.8, 1.0))  # noqa: S311 - no secret
        return Settlement(job.id, job.token, Outcome.SNOOZED, delay=max(SECOND, delay))

    def settled(self, settlements: Sequence[Settlement], answers: Sequence[Settled]) -> None:
        """The store has heard of these."""
        if self._leaving:
            for settlement, answer in zip(settlements, answers, strict=True):
                run = self._leaving.pop(settlement.id, None)
                if run is not None and answer is not Settled.LOST:
                    self.put_back[settlement.id] = run

    async def let_go(self) -> None:
        """Look whether a run goes on of which something was put back, and have that be due at once. If the store is
        away, the next call does."""
        try:
            await self.refresh()
            ids = [job_id for job_id, run in self.put_back.items() if run not in self._runs]
            for start in range(0, len(ids), MAX_BATCH):
                await self._store.reschedule(ids[start : start + MAX_BATCH], 0)
            self.put_back.clear()
        except StoreError as error:
            log.warning("what is paused could not be read: %s", error)
