"""Taking ready jobs."""

from __future__ import annotations

from typing import Any

from windlass.core.clock import Span
from windlass.core.model import MAX_BATCH, MAX_PRIORITY, ClaimAnswer, ClaimedJob, ClaimRequest, Refusal
from windlass.core.records import LimitScope
from windlass.store.sqlite.limits import Allowances, LimitBook, limit_book
from windlass.store.sqlite.transaction import Transaction
from windlass.store.statements import statements

_SQL = statements("sqlite")
_CLAIM_SESSION, _FIRST, _CLAIM_FIRST = _SQL["claim_session"], _SQL["first_ready"], _SQL["claim_first"]
_READ_READY, _CLAIM_ONE = _SQL["read_ready"], _SQL["claim_one"]
_WALK, _WALK_SUSPECTS = _SQL["walk_ready"], _SQL["walk_suspects"]
_STEP = 250
"""Jobs looked at in one go when each has to be looked at."""
_MOST_HELD = 50_000
"""Row numbers remembered; beyond that some are of jobs that the session lost, and all are dropped."""

_Row = tuple[Any, ...]


def claim(tx: Transaction, session: bytes, request: ClaimRequest) -> ClaimAnswer:
    """See `JobStore.claim`."""
    if request.alone or tx.execute(_CLAIM_SESSION, (request.number, session)).fetchone() is None:
        refused = _spend_request(tx, session, request)
        if refused is not None:
            return ClaimAnswer(refused=refused)
    return _Claim(tx, session, request).carry_out()


def _spend_request(tx: Transaction, session: bytes, request: ClaimRequest) -> Refusal | None:
    """Judge the request by all the rules, and spend its number unless one speaks against it."""
    row = tx.execute(_SQL["read_claimer"], (session,)).fetchone()
    if row is None:
        return Refusal.UNKNOWN_SESSION
    revoked, last, alone = row
    if revoked:
        return Refusal.REVOKED
    if request.number <= last:
        return Refusal.STALE_REQUEST
    if request.alone and tx.execute(_SQL["holds_any"], (session,)).fetchone() is not None:
        return Refusal.NOT_ALONE
    # The mark says that a suspect was given once; whether it is still held, the jobs say.
    if alone and tx.execute(_SQL["holds_suspect"], (session,)).fetchone() is not None:
        return Refusal.NOT_ALONE
    tx.execute(_SQL["spend_request"], (request.number, request.alone, session))
    return None


class _Claim:
    """One claim that was not refused."""

    def __init__(self, tx: Transaction, session: bytes, request: ClaimRequest) -> None:
        self._tx = tx
        self._session = session
        self._request = request
        self._bytes = request.max_bytes
        self._jobs: list[ClaimedJob] = []
        self._book = limit_book(tx)
        self._allowances: Allowances | None = None

    def carry_out(self) -> ClaimAnswer:
        """Try the lanes in their order."""
        for lane in self._request.lanes:
            most = 1 if self._request.alone else min(lane.until, MAX_BATCH)
            number = self._tx.names.find_lane(lane.queue, lane.requires)
            if number is not None and most > len(self._jobs) and self._bytes > 0:
                self._take_from(number, lane.queue, most - len(self._jobs))
        if len(self._tx.held) > _MOST_HELD:
            self._tx.held.clear()
        return ClaimAnswer(self._jobs, retry_in=self._save())

    def _save(self) -> Span | None:
        if self._allowances is None:
            return None
        self._allowances.save()
        return self._allowances.retry_in

    def _take_from(self, lane: int, queue: str, limit: int) -> None:
        if self._request.alone or not _is_free(self._book, queue):
            self._take_each(lane, queue, limit)
        else:
            self._take_first(lane, limit)

    def _take_first(self, lane: int, limit: int) -> None:
        """Take what comes first in the lane."""
        tx = self._tx
        cursor = tx.execute(_FIRST, (lane, tx.now, limit))
        rows: list[_Row] = []
        while self._bytes > 0 and (some := cursor.fetchmany(_STEP)):
            rows += self._fitting(some, first=not rows and not self._jobs)
        # An open cursor would see what comes now.
        cursor.close()
        if rows:
            tx.execute(_CLAIM_FIRST, (self._session, self._request.number, tx.now, lane, *rows[-1][-2:], tx.now))
            self._add(lane, rows)

    def _fitting(self, rows: list[_Row], *, first: bool) -> list[_Row]:
        """As many of these rows as fit into the bytes that are left; but one always does."""
        sizes = [len(row[3]) for row in rows]
        left = self._bytes - sum(sizes)
        if left < 0:
            left = self._bytes
            for index, size in enumerate(sizes):
                if size > left and (index or not first):
                    # Nothing after it is taken either, so that nothing overtakes it.
                    self._bytes = 0
                    return rows[:index]
                left -= size
        self._bytes = left
        return rows

    def _take_each(self, lane: int, queue: str, limit: int) -> None:
        """Look at jobs in their order, and take those that may start and fit."""
        tx = self._tx
        allowances = self._allowances
        if allowances is None:
            allowances = self._allowances = Allowances(tx, self._book)
        walk = _WALK_SUSPECTS if self._request.alone else _WALK
        after = (-1, 0)
        taken: list[_Row] = []
        of_queue = allowances.governing(queue, "", None)
        while len(taken) < limit:
            found = tx.execute(walk, (lane, *after, tx.now, _STEP)).fetchall()
            if not found or (of_queue and not allowances.allows(of_queue)):
                break
            for n, task, key, size, *position in found:
                after = position[0], position[1]
                governing = allowances.governing(queue, tx.names.task_name(task), key)
                if governing and not allowances.allows(governing):
                    continue
                if size > self._bytes and (taken or self._jobs):
                    self._bytes = 0
                    break
                allowances.take(governing)
                taken.append(tx.execute(_READ_READY, (n,)).fetchone())
                tx.execute(_CLAIM_ONE, (self._session, self._request.number, tx.now, n))
                self._bytes -= size
                if len(taken) == limit:
                    break
            if len(found) < _STEP or self._bytes <= 0:
                break
        if taken:
            self._add(lane, taken)

    def _add(self, lane: int, rows: list[_Row]) -> None:
        """Answer these rows, which are as they were before the claim."""
        tx = self._tx
        now = tx.now
        name_of = tx.names.task_of
        queue, requires = tx.names.lane_name(lane)
        held, jobs = tx.held, self._jobs
        for id, token, task, payload, options, attempt, failures, snoozes, at, since, key, n, linked, rank, _ in rows:  # noqa: A001
            if not linked:
                held[id] = n
            jobs.append(
                ClaimedJob(
                    id,
                    token + 1,
                    name_of.get(task) or tx.names.task_name(task),
                    payload,
                    options,
                    queue,
                    requires,
                    MAX_PRIORITY - rank,
                    attempt + 1,
                    failures,
                    snoozes,
                    at,
                    0 if since is None else max(0, now - since),
                    key,
                )
            )


def _is_free(book: LimitBook, queue: str) -> bool:
    """Whether no limit touches a queue's jobs."""
    return book.spares_tasks_and_keys and queue not in book.by_scope[LimitScope.QUEUE]
