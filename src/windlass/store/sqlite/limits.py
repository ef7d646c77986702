"""Limit records: what may start now."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from windlass.core.clock import Instant, Span
from windlass.core.model import MAX_BATCH
from windlass.core.records import Limit, LimitScope, Rate
from windlass.store.sqlite.rows import RowStatement
from windlass.store.sqlite.transaction import Transaction
from windlass.store.statements import statements

_SQL = statements("sqlite")
_REOPEN_LINES_OF = RowStatement(_SQL["reopen_lines_of"])


class LimitBook(NamedTuple):
    """All limit records, as they stood at a version."""

    version: int
    by_scope: dict[LimitScope, dict[str, Limit]]

    @property
    def spares_tasks_and_keys(self) -> bool:
        """Whether no record of a task or a limit key exists, so that all jobs of a lane are alike."""
        return not self.by_scope[LimitScope.TASK] and not self.by_scope[LimitScope.KEY]

    @property
    def most_running_of_a_key(self) -> int:
        """Up to how many running jobs of a limit key have to be counted."""
        return max((limit.concurrency or 0 for limit in self.by_scope[LimitScope.KEY].values()), default=0)

    @property
    def bounds_running(self) -> bool:
        """Whether a record says how many may run at once, so that the end of one lets another start."""
        return any(limit.concurrency is not None for limits in self.by_scope.values() for limit in limits.values())


def announce_free_places(tx: Transaction, ended: Sequence[tuple[int]] = ()) -> None:
    """Tell those who found nothing, because all that may run did run, that something has ended.

    ``ended``: row numbers of jobs that ended in a statement that does not reopen their lines (see migration 0002).
    """
    if ended and tx.execute(_SQL["any_line_full"]).fetchone() is not None:
        _REOPEN_LINES_OF.run(tx.db, ended)
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
    """Store a record in place of the one with its scope and name."""
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
        self._running: dict[tuple[LimitScope, str], int] = {}
        self._has_counted = False
        self._buckets: dict[tuple[LimitScope, str], _Bucket] = {}

    def runs(self, key: str, count: int) -> None:
        """Be told how many of a limit key ran when this was first asked."""
        self._running.setdefault((LimitScope.KEY, key), count)

    def holds_back(self, counted: Iterable[tuple[LimitScope, str]]) -> tuple[LimitScope, Span | None] | None:
        """Say which of these keeps a job from starting, the first that does, and for how long (``None``: nobody
        knows)."""
        for scope, name in counted:
            limit = _record(self._limits[scope], scope, name)
            if limit is not None:
                wait = self._wait(scope, name, limit)
                if wait != 0:
                    return scope, wait
        return None

    def _wait(self, scope: LimitScope, name: str, limit: Limit) -> Span | None:
        if limit.paused or (limit.concurrency is not None and self._runs(scope, name, limit) >= limit.concurrency):
            return None
        return 0 if limit.rate is None else self._bucket(scope, name, limit.rate).wait()

    def take(self, counted: Iterable[tuple[LimitScope, str]]) -> None:
        """Count a job that starts under these names."""
        for scope, name in counted:
            limit = _record(self._limits[scope], scope, name)
            if limit is None:
                continue
            if limit.concurrency is not None:
                self._running[scope, name] = self._runs(scope, name, limit) + 1
            if limit.rate is not None:
                self._bucket(scope, name, limit.rate).spend()

    def save(self) -> None:
        """Write the buckets that changed."""
        for (scope, name), bucket in self._buckets.items():
            if bucket.changed:
                self._tx.execute(_SQL["put_bucket"], (scope, name, bucket.debt, bucket.at, bucket.full_at()))

    def _runs(self, scope: LimitScope, name: str, limit: Limit) -> int:
        """Count what runs, from the jobs themselves, so that nothing can leak."""
        running = self._running
        if scope is LimitScope.KEY:
            if (scope, name) not in running:
                running[scope, name] = self._tx.execute(_SQL["running_of_key"], (name, limit.concurrency)).fetchone()[0]
            return running[scope, name]
        if not self._has_counted:
            self._count()
        return running.get((scope, name), 0)

    def _count(self) -> None:
        self._has_counted = True
        names, running = self._tx.names, self._running
        for lane, task, count in self._tx.execute(_SQL["running_counts"]).fetchall():
            for counted in ((LimitScope.QUEUE, names.lane_name(lane)[0]), (LimitScope.TASK, names.task_name(task))):
                running[counted] = running.get(counted, 0) + count

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
