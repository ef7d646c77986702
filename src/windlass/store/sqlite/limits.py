"""Limit records: what may start now."""

from __future__ import annotations

from typing import NamedTuple

from windlass.core.clock import Instant, Span
from windlass.core.model import MAX_BATCH
from windlass.core.records import Limit, LimitScope, Rate
from windlass.store.sqlite.transaction import Transaction
from windlass.store.statements import statements

_SQL = statements("sqlite")


class LimitBook(NamedTuple):
    """All limit records, as they stood at a version."""

    version: int
    by_scope: dict[LimitScope, dict[str, Limit]]

    @property
    def spares_tasks_and_keys(self) -> bool:
        """Whether no record of a task or a limit key exists, so that all jobs of a lane are alike."""
        return not self.by_scope[LimitScope.TASK] and not self.by_scope[LimitScope.KEY]

    @property
    def bounds_running(self) -> bool:
        """Whether a record says how many may run at once, so that the end of one lets another start."""
        return any(limit.concurrency is not None for limits in self.by_scope.values() for limit in limits.values())


def announce_free_places(tx: Transaction) -> None:
    """Tell those who found nothing, because all that may run did run, that something has ended."""
    # Which queues have jobs under the same limit is not known here; a hint too many costs one look.
    if limit_book(tx).bounds_running:
        tx.hints.everybody = True


def limit_book(tx: Transaction) -> LimitBook:
    """Return the records; from memory, while nobody has changed one."""
    book: LimitBook | None = tx.memory.get("limits")
    if book is None or book.version != tx.limits_version:
        by_scope: dict[LimitScope, dict[str, Limit]] = {scope: {} for scope in LimitScope}
        for row in tx.execute(_SQL["read_limits"]).fetchall():
            limit = limit_of(row)
            by_scope[limit.scope][limit.name] = limit
        book = LimitBook(tx.limits_version, by_scope)
        tx.memory["limits"] = book
    return book


def limit_of(row: tuple[int, str, int, int | None, int | None, int | None, int | None]) -> Limit:
    """Make a record of a row of ``read_limits``."""
    scope, name, paused, concurrency, count, per, burst = row
    rate = None
    if count is not None and per is not None and burst is not None:
        rate = Rate(count=count, per=per, burst=burst)
    return Limit(scope=LimitScope(scope), name=name, paused=bool(paused), concurrency=concurrency, rate=rate)


def put_limit(tx: Transaction, limit: Limit) -> None:
    """See `JobStore.put_limit`."""
    if limit.paused or limit.concurrency is not None or limit.rate is not None:
        rate = limit.rate
        row = (
            limit.scope,
            limit.name,
            limit.paused,
            limit.concurrency,
            rate and rate.count,
            rate and rate.per,
            rate and rate.burst,
        )
        tx.execute(_SQL["put_limit"], row)
    else:
        tx.execute(_SQL["drop_limit"], (limit.scope, limit.name))
    # Whoever was told that there was nothing for it may find something now.
    tx.execute(_SQL["bump_limits"])
    tx.limits_version += 1
    tx.hints.everybody = True


class Allowances:
    """What limits still allow within one claim; what it takes is taken from them at once."""

    def __init__(self, tx: Transaction, book: LimitBook) -> None:
        self._tx = tx
        self._limits = book.by_scope
        self._running: dict[tuple[LimitScope, str], int] | None = None
        self._buckets: dict[tuple[LimitScope, str], _Bucket] = {}
        self.retry_in: Span | None = None
        """The shortest time after which a rate that held something back will allow one more."""

    def governing(self, queue: str, task: str, key: str | None) -> list[tuple[LimitScope, str, Limit]]:
        """List what governs a job: (scope, what is counted, record)."""
        counted = [(LimitScope.QUEUE, queue), (LimitScope.TASK, task)]
        if key is not None:
            counted.append((LimitScope.KEY, key))
        found = []
        for scope, name in counted:
            limit = _record(self._limits[scope], scope, name)
            if limit is not None:
                found.append((scope, name, limit))
        return found

    def allows(self, governing: list[tuple[LimitScope, str, Limit]]) -> bool:
        """Say whether one more job may start under all of these."""
        allowed = True
        for scope, name, limit in governing:
            if limit.paused or (limit.concurrency is not None and self._runs(scope, name) >= limit.concurrency):
                return False
            if limit.rate is not None:
                wait = self._bucket(scope, name, limit.rate).wait()
                if wait > 0:
                    allowed = False
                    self.retry_in = wait if self.retry_in is None else min(wait, self.retry_in)
        return allowed

    def take(self, governing: list[tuple[LimitScope, str, Limit]]) -> None:
        """Count a job that starts."""
        for scope, name, limit in governing:
            if limit.concurrency is not None:
                self._count()[scope, name] = self._runs(scope, name) + 1
            if limit.rate is not None:
                self._bucket(scope, name, limit.rate).spend()

    def save(self) -> None:
        """Write the buckets that changed."""
        for (scope, name), bucket in self._buckets.items():
            if bucket.changed:
                self._tx.execute(_SQL["put_bucket"], (scope, name, bucket.debt, bucket.at, bucket.full_at()))

    def _runs(self, scope: LimitScope, name: str) -> int:
        return self._count().get((scope, name), 0)

    def _count(self) -> dict[tuple[LimitScope, str], int]:
        """Count what runs, from the jobs themselves, so that nothing can leak."""
        if self._running is None:
            running: dict[tuple[LimitScope, str], int] = {}
            self._running = running
            for lane, task, key, count in self._tx.execute(_SQL["running_counts"]).fetchall():
                names = [
                    (LimitScope.QUEUE, self._tx.names.lane_name(lane)[0]),
                    (LimitScope.TASK, self._tx.names.task_name(task)),
                ]
                if key is not None:
                    names.append((LimitScope.KEY, key))
                for name in names:
                    running[name] = running.get(name, 0) + count
        return self._running

    def _bucket(self, scope: LimitScope, name: str, rate: Rate) -> _Bucket:
        bucket = self._buckets.get((scope, name))
        if bucket is None:
            row = self._tx.execute(_SQL["read_bucket"], (scope, name)).fetchone()
            debt, at = (0, self._tx.now) if row is None else row
            bucket = self._buckets[scope, name] = _Bucket(rate, debt, at, self._tx.now)
        return bucket


class _Bucket:
    """A token bucket as it stands now. See the ``buckets`` table for what the debt is."""

    def __init__(self, rate: Rate, debt: int, at: Instant, now: Instant) -> None:
        self._rate = rate
        left = max(0, debt - max(0, now - at) * rate.count)
        most = rate.burst * rate.per
        self.debt = min(left, most)
        self.at = now
        # The clock was set back, or the burst is smaller than it was: from here on the bucket fills again.
        self.changed = at > now or left > most

    def wait(self) -> Span:
        """Time until there is a token; 0: now."""
        excess = self.debt - (self._rate.burst - 1) * self._rate.per
        return max(0, -(-excess // self._rate.count))

    def spend(self) -> None:
        """Take a token."""
        self.debt += self._rate.per
        self.changed = True

    def full_at(self) -> Instant:
        return self.at + -(-self.debt // self._rate.count)


def drop_full_buckets(tx: Transaction) -> None:
    """Forget buckets that are full again: so they are without a row, too."""
    limits = limit_book(tx).by_scope
    for number, name, debt, at in tx.execute(_SQL["full_buckets"], (tx.now, MAX_BATCH)).fetchall():
        scope = LimitScope(number)
        limit = _record(limits[scope], scope, name)
        # The rate may have changed since it was reckoned when this one would be full.
        bucket = None if limit is None or limit.rate is None else _Bucket(limit.rate, debt, at, tx.now)
        if bucket is None or not bucket.debt:
            tx.execute(_SQL["drop_bucket"], (scope, name))
        else:
            tx.execute(_SQL["put_bucket"], (scope, name, bucket.debt, bucket.at, bucket.full_at()))


def _record(limits: dict[str, Limit], scope: LimitScope, name: str) -> Limit | None:
    """The record that governs what is counted under a name: its own or, for a limit key, its group's."""
    found = limits.get(name)
    if found is None and scope is LimitScope.KEY:
        found = limits.get(name.partition(":")[0])
    return found
