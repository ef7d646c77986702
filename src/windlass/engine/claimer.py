"""Decides when to look for jobs, and what to ask for."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable

from windlass.core.errors import StoreError
from windlass.core.model import ClaimAnswer, ClaimedJob, ClaimRequest
from windlass.core.records import LimitScope
from windlass.engine.holding import Holding
from windlass.engine.lanes import WorkerLanes
from windlass.engine.pump import Pump
from windlass.engine.runner import Runner
from windlass.engine.suspects import SuspectTurn
from windlass.store.port import Insights, Notifier, Subscription

log = logging.getLogger("windlass.engine")

YIELD = 0.05
"""Seconds for which an idle worker lets others go first, if it has met a job that it cannot run: two versions of an
application are at work, and each job should find the one that has its task."""
YIELD_FOR = 60.0
"""Seconds since it met the last one."""


class Claimer:
    """The claims of one worker."""

    def __init__(self, lanes: WorkerLanes, suspects: SuspectTurn, runner: Runner, pump: Pump) -> None:
        self._lanes = lanes
        self._suspects = suspects
        self._runner = runner
        self._pump = pump
        self._yielding: asyncio.TimerHandle | None = None
        self._hints: Subscription | None = None
        self._limit_hints: Subscription | None = None
        self._armed = False
        self._brought = False
        """The last claim brought something: after a second one hints are done without."""
        self.look = True
        """There may be something to claim: a hint has come, or enough time has passed since the last look."""
        self._heard = self._heard_before = self._heard_answered = 0
        """Hints in all; when the claim was made that is under way; and when that before it was."""
        self.was_misled: Callable[[], None] = lambda: None
        """Called when a hint led to nothing."""
        self.limits_changed = False
        """Something may be paused of which jobs wait here for a slot: `give_back_paused` looks."""

    def subscribe(self, store: Notifier, queues: Iterable[str]) -> None:
        """Hear of jobs that become ready in these queues, and of limits, in place of what was subscribed to before."""
        self.unsubscribe()
        self._hints = store.subscribe([f"ready/{queue}" for queue in queues], self.hint)
        self._hints.disarm()
        self._limit_hints = store.subscribe(["limits"], self._limit_hint)
        self.look = True

    def unsubscribe(self) -> None:
        """Hear of nothing any more."""
        for hints in (self._hints, self._limit_hints):
            if hints is not None:
                hints.close()
        self._hints, self._limit_hints, self._armed, self._brought = None, None, False, False
        if self._yielding is not None:
            self._yielding.cancel()
            self._yielding = None

    def hint(self) -> None:
        """Have the next trip look for jobs; if there are such about as this worker cannot run, after a moment in which
        one that can may take them."""
        if self._yielding is not None:
            return
        if time.monotonic() - self._pump.outbox.undeliverable_at < YIELD_FOR:
            self._yielding = asyncio.get_running_loop().call_later(YIELD, self._look)
        else:
            self._look()

    def _look(self) -> None:
        self._yielding = None
        self.look = True
        self._heard += 1
        self._pump.wake()

    def _limit_hint(self) -> None:
        self.limits_changed = self._runner.paused_runs.stale = True
        self._pump.wake()

    async def give_back_paused(self, store: Insights) -> None:
        """Give back what waits for a slot and is paused by now. To be called between two trips, so that what an earlier
        claim brought is here, and a later one finds the pause in the store."""
        self.limits_changed = False
        if not self._runner.buffered:
            return
        try:
            queues, tasks = [await _paused(store, scope) for scope in (LimitScope.QUEUE, LimitScope.TASK)]
        except StoreError as error:
            # Then it goes back like all that has waited for a slot for a second.
            log.warning("what is paused could not be read: %s", error)
            return

        def is_paused(job: ClaimedJob) -> bool:
            return job.queue in queues or job.task in tasks

        self._runner.give_back_buffer(is_paused)

    def next_claim(self, holding: Holding, *, free_ride: bool) -> ClaimRequest | None:
        """Say what to ask for now, if anything. ``free_ride``: a trip is made anyway, so that a look costs little."""
        if self._runner.paused or not (self.look or free_ride):
            return None
        alone = self._suspects.claim_alone(empty=not holding.held)
        if alone is None:
            return None
        self._heard_before = self._heard
        lanes = self._lanes.request(
            self._runner.occupied, self._runner.in_processes, time.monotonic(), self._runner.requirements
        )
        return ClaimRequest(holding.next_number(), lanes, alone) if lanes else None

    def became_free(self, holding: Holding) -> bool:
        """Whether the last trip took home what kept this worker from claiming a suspect, so that the next one may
        follow at once: nothing else will wake it."""
        return self.look and not holding.held and self._suspects.alone and not self._runner.paused

    def hear(self, answer: ClaimAnswer) -> bool:
        """Draw the conclusions from an answer; say whether the worker has nothing left to live for."""
        was_told = self._heard_before != self._heard_answered
        self._heard_answered = self._heard_before
        if answer.jobs or answer.more:
            self.look = True
            if answer.jobs:
                self._suspects.found()
            if self._armed and self._brought and self._hints is not None:
                self._armed = False
                self._hints.disarm()
            self._brought = True
            return False
        if was_told:
            self.was_misled()
        self._brought = False
        if not self._armed and self._hints is not None:
            # Hints are asked for *before* the last look, so that no job falls between the look and the sleep. Whoever
            # was woken for a single job still has them, and needs no second look.
            self._hints.arm()
            self._armed = self.look = True
        elif self._heard == self._heard_before:
            self.look = False
            return self._suspects.found_none(time.monotonic())
        # Else a hint has come while the claim was under way, perhaps of what it did not see.
        return False


async def _paused(store: Insights, scope: LimitScope) -> set[str]:
    return {limit.name for limit in await store.limits(scope) if limit.paused}
