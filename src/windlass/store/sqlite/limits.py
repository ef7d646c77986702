"""Limit records: what may start now."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from windlass.core.clock import Instant, Span
from windlass.core.model import MAX_BATCH
from windlass.core.records import Limit, LimitScope, Rate
from windlass.store.sqlite.rows import RowStatement
from windlass.store.sqlite.transaction import Transaction
from windlass.store.statements import statements

_SQL = statements("sqlite")
_LET_BARS_OF = RowStatement(_SQL["let_bars_of"])


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

    ``ended``: row numbers of jobs that ended in a statement that lifts no bars (see migration 0002).
    """
    if ended and tx.execute(_SQL["any_line_full"]).fetchone() is not None:
        _LET_BARS_OF.run(tx.db, ended)
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


class Gate:
    """What one limit still allows within one claim, of what is counted under one name."""

    __slots__ = ("_bucket", "_most", "name", "running", "scope")

    def __init__(self, scope: LimitScope, name: str, limit: Limit, running: int, bucket: _Bucket | None) -> None:
        self.scope = scope
        self.name = name
        self._most = 0 if limit.paused else limit.concurrency
        self.running = running
        self._bucket = bucket

    def wait(self) -> Span | None:
        """How long until one more may start; 0: now, ``None``: nobody knows."""
        if self._most is not None and self.running >= self._most:
            return None
        return 0 if self._bucket is None else self._bucket.wait()

    def take(self) -> None:
        """Count one that starts."""
        self.running += 1
        if self._bucket is not None:
            self._bucket.spend()


class Allowances:
    """The gates of one claim. They count what the claim takes, so that each name has one gate."""

    def __init__(self, tx: Transaction, book: LimitBook) -> None:
        self._tx = tx
        self._limits = book.by_scope
        self._queues: dict[str, Gate | None] = {}
        self._tasks: dict[int, Gate | None] = {}
        self._keys: dict[str, Gate | int | None] = {}
        """Gates of limit keys; of one that let a single job pass, only how many run."""
        self._running: dict[LimitScope, dict[str, int]] | None = None
        self._buckets: list[tuple[LimitScope, str, _Bucket]] = []

    def of_queue(self, queue: str) -> Gate | None:
        """The gate of a queue, if it has one."""
        if queue not in self._queues:
            self._queues[queue] = self._gate(LimitScope.QUEUE, queue, None)
        return self._queues[queue]

    def of_task(self, task: int) -> Gate | None:
        """The gate of a task, if it has one."""
        if task not in self._tasks:
            self._tasks[task] = self._gate(LimitScope.TASK, self._tx.names.task_name(task), None)
        return self._tasks[task]

    def of_key(self, key: str, running: int | None) -> Gate | None:
        """The gate of a limit key, if it has one. ``running``: how many of the key run, if that is known."""
        gate = self._keys.get(key, running)
        if gate is None or isinstance(gate, int):
            gate = self._keys[key] = self._gate(LimitScope.KEY, key, gate)
        return gate

    def lets_first_pass(self, key: str, running: int) -> bool:
        """Count the first job that a claim takes of a limit key, if nothing speaks against it. Most keys give
        one only, and a gate would cost as much as all else that is done for it here."""
        keys = self._keys
        if key in keys:
            return False
        limits = self._limits[LimitScope.KEY]
        limit = limits.get(key) or limits.get(key.partition(":")[0])
        if limit is None or limit.rate is not None or limit.concurrency is None or running >= limit.concurrency:
            return False
        keys[key] = running + 1
        return True

    def _gate(self, scope: LimitScope, name: str, running: int | None) -> Gate | None:
        limit = _record(self._limits[scope], scope, name)
        if limit is None:
            return None
        if limit.concurrency is None:
            running = 0
        elif running is None:
            running = self._runs(scope, name, limit.concurrency)
        return Gate(scope, name, limit, running, None if limit.rate is None else self._bucket(scope, name, limit.rate))

    def _runs(self, scope: LimitScope, name: str, up_to: int) -> int:
        """Count what runs, from the jobs themselves, so that nothing can leak."""
        if scope is LimitScope.KEY:
            count: int = self._tx.execute(_SQL["running_of_key"], (name, up_to)).fetchone()[0]
            return count
        if self._running is None:
            names, by_queue, by_task = self._tx.names, Counter[str](), Counter[str]()
            for lane, task, count in self._tx.execute(_SQL["running_counts"]).fetchall():
                by_queue[names.lane_name(lane)[0]] += count
                by_task[names.task_name(task)] += count
            self._running = {LimitScope.QUEUE: by_queue, LimitScope.TASK: by_task}
        return self._running[scope].get(name, 0)

    def _bucket(self, scope: LimitScope, name: str, rate: Rate) -> _Bucket:
        row = self._tx.execute(_SQL["read_bucket"], (scope, name)).fetchone()
        debt, at = (0, self._tx.now) if row is None else row
        bucket = _Bucket(rate, debt, at, self._tx.now)
        self._buckets.append((scope, name, bucket))
        return bucket

    def save(self) -> None:
        """Write the buckets that changed."""
        for scope, name, bucket in self._buckets:
            if bucket.changed:
                self._tx.execute(_SQL["put_bucket"], (scope, name, bucket.debt, bucket.at, bucket.full_at()))


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
