"""Runs of workflows that somebody has paused, as far as a worker knows."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Set as AbstractSet

from windlass.core.clock import SECOND
from windlass.core.errors import StoreError
from windlass.core.lifecycle import Outcome
from windlass.core.model import ClaimedJob, Settlement
from windlass.core.records import LimitScope
from windlass.core.steps import PAUSED_FOR, StepInfo, paused_run
from windlass.store.port import Insights

log = logging.getLogger("windlass.engine")

EVERY = 60.0
"""Seconds between looks, beside those at each hint that limits have changed."""


class PausedRuns:
    """Which runs are paused. What is claimed of them goes back, for a minute."""

    def __init__(self, store: Insights) -> None:
        self._store = store
        self._runs: AbstractSet[bytes] = frozenset()
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
        if not self._runs or (info.run if info is not None else job.id) not in self._runs:
            return None
        delay = int(PAUSED_FOR * random.uniform(0.8, 1.0))  # noqa: S311 - no secret
        return Settlement(job.id, job.token, Outcome.SNOOZED, delay=max(SECOND, delay))
