"""Limit records: what may start now."""

from __future__ import annotations

from windlass.core.clock import Instant, Span
from windlass.core.records import Limit, LimitScope, Rate
from windlass.store.memory.data import Data, Step, counted_under
from windlass.store.memory.records import Job


def put_limit(step: Step, limit: Limit) -> None:
    """Store a record in place of the one with its scope and name."""
    key = limit.scope, limit.name
    if limit.paused or limit.concurrency is not None or limit.rate is not None:
        step.data.limits[key] = limit
    else:
        step.data.limits.pop(key, None)
    step.makes_room = True
    if limit.scope is LimitScope.KEY:
        step.data.at_limit.clear()
        for lane in step.data.ready.values():
            lane.reopen_all()


class Allowances:
    """What limits still allow, within one claim."""

    def __init__(self, step: Step) -> None:
        self._data = step.data
        self._now = step.now

    def wait(self, scope: LimitScope, name: str) -> Span | None:
        """How long until one more may start under what governs this name; 0: now, ``None``: nobody knows."""
        counted = scope, name
        limit = record_of(self._data, counted)
        if limit is None:
            return 0
        running = len(self._data.running.get(counted, ()))
        if limit.paused or (limit.concurrency is not None and running >= limit.concurrency):
            return None
        if limit.rate is None:
            return 0
        excess = self._debt(counted, limit.rate) - (limit.rate.burst - 1) * limit.rate.per
        return max(0, -(-excess // limit.rate.count))

    def spend(self, job: Job) -> None:
        """Take a token from each bucket that governs a job that starts."""
        for counted in counted_under(job):
            limit = record_of(self._data, counted)
            if limit is not None and limit.rate is not None:
                self._data.buckets[counted] = self._debt(counted, limit.rate) + limit.rate.per, self._now

    def _debt(self, counted: tuple[LimitScope, str], rate: Rate) -> int:
        """What is missing from a bucket now, in tokens times `Rate.per`: it shrinks by `Rate.count` each microsecond,
        and so is exact in integers."""
        debt, at = self._data.buckets.get(counted, (0, self._now))
        left = max(0, debt - max(0, self._now - at) * rate.count)
        cap = rate.burst * rate.per
        if left > cap or at > self._now:
            # The burst is smaller than it was, or the clock was set back: from here on the bucket fills again.
            left = min(left, cap)
            self._data.buckets[counted] = left, self._now
        return left


def record_of(data: Data, counted: tuple[LimitScope, str]) -> Limit | None:
    """The record that governs what is counted under a name: its own or, for a limit key, its group's."""
    found = data.limits.get(counted)
    if found is None and counted[0] is LimitScope.KEY:
        found = data.limits.get((LimitScope.KEY, counted[1].partition(":")[0]))
    return found


def drop_full_buckets(data: Data, now: Instant) -> None:
    """Forget buckets that are full again: so they are without a row, too."""
    for counted, (debt, at) in list(data.buckets.items()):
        limit = record_of(data, counted)
        if limit is None or limit.rate is None or (now - at) * limit.rate.count >= debt:
            del data.buckets[counted]
