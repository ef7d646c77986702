"""Limit records: what may start now."""

from __future__ import annotations

from collections.abc import Iterator

from windlass.core.clock import Instant, Span
from windlass.core.records import Limit, LimitScope, Rate
from windlass.store.memory.data import Data, Step, counted_under
from windlass.store.memory.records import Job


def put_limit(step: Step, limit: Limit) -> None:
    """See `JobStore.put_limit`."""
    key = limit.scope, limit.name
    if limit.paused or limit.concurrency is not None or limit.rate is not None:
        step.data.limits[key] = limit
    else:
        step.data.limits.pop(key, None)
    step.makes_room = True


class Allowances:
    """What limits still allow, within one claim."""

    def __init__(self, step: Step) -> None:
        self._data = step.data
        self._now = step.now
        self.retry_in: Span | None = None
        """The shortest time after which a rate that held something back will allow one more."""

    def allow(self, job: Job) -> bool:
        """Say whether the job may start under all limits that govern it."""
        allowed = True
        for counted, limit in _governing(self._data, job):
            running = len(self._data.running.get(counted, ()))
            if limit.paused or (limit.concurrency is not None and running >= limit.concurrency):
                return False
            if limit.rate is not None:
                wait = self._wait(counted, limit.rate)
                allowed = allowed and wait == 0
                if wait > 0:
                    self.retry_in = wait if self.retry_in is None else min(wait, self.retry_in)
        return allowed

    def spend(self, job: Job) -> None:
        """Take a token from each bucket that governs a job that starts."""
        for counted, limit in _governing(self._data, job):
            if limit.rate is not None:
                self._data.buckets[counted] = self._debt(counted, limit.rate) + limit.rate.per, self._now

    def _wait(self, counted: tuple[LimitScope, str], rate: Rate) -> Span:
        excess = self._debt(counted, rate) - (rate.burst - 1) * rate.per
        return max(0, -(-excess // rate.count))

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


def _governing(data: Data, job: Job) -> Iterator[tuple[tuple[LimitScope, str], Limit]]:
    """Give what governs a job: (under which name it is counted, record)."""
    for counted in counted_under(job):
        limit = data.limits.get(counted)
        if limit is None and counted[0] is LimitScope.KEY:
            limit = data.limits.get((LimitScope.KEY, counted[1].partition(":")[0]))
        if limit is not None:
            yield counted, limit


def drop_full_buckets(data: Data, now: Instant) -> None:
    """Forget buckets that are full again: so they are without a row, too."""
    for counted, (debt, at) in list(data.buckets.items()):
        limit = data.limits.get(counted)
        if limit is None and counted[0] is LimitScope.KEY:
            limit = data.limits.get((LimitScope.KEY, counted[1].partition(":")[0]))
        if limit is None or limit.rate is None or (now - at) * limit.rate.count >= debt:
            del data.buckets[counted]
