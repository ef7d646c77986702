"""Taking ready jobs."""

from __future__ import annotations

from operator import itemgetter
from typing import Any

from windlass.core.clock import Span
from windlass.core.model import MAX_BATCH, MAX_PRIORITY, ClaimAnswer, ClaimedJob, ClaimRequest, LimitScope, Refusal
from windlass.store.sqlite.limits import Allowances, LimitBook, limit_book
from windlass.store.sqlite.transaction import Transaction
from windlass.store.sqlite.writer import NeedsCare
from windlass.store.statements import statements

_SQL = statements("sqlite")
_CLAIM_SESSION, _CLAIM_READY, _CLAIM_ONE = _SQL["claim_session"], _SQL["claim_ready"], _SQL["claim_one"]
_WALK, _WALK_SUSPECTS = _SQL["walk_ready"], _SQL["walk_suspects"]
_STEP = 250
"""Jobs looked at in one go when each has to be looked at."""
_POSITION = itemgetter(14, 15)
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
        heavy = lane in _heavy_lanes(self._tx)
        if self._request.alone or heavy or not _is_free(self._book, queue):
            self._take_each(lane, queue, limit)
        else:
            self._take_all(lane, limit)

    def _take_all(self, lane: int, limit: int) -> None:
        """Take what comes first, in one statement."""
        tx = self._tx
        now = tx.now
        rows = tx.execute(
            _CLAIM_READY, (self._session, self._request.number, now, lane, now, limit)
        ).fetchall()
        if not rows:
            return
        size = sum([len(row[3]) for row in rows])
        if size > self._bytes and (len(rows) > 1 or self._jobs):
            # Too late to leave some: once more, looking at each size first, and in this lane from now on.
            _heavy_lanes(tx).add(lane)
            raise NeedsCare
        self._bytes -= size
        rows.sort(key=_POSITION)
        self._add(lane, rows)

    def _take_each(self, lane: int, queue: str, limit: int) -> None:
        """Look at jobs in their order, and take those that may start and fit."""
        tx = self._tx
        allowances = self._allowances
        if allowances is None:
            allowances = self._allowances = Allowances(tx, self._book)
        walk = _WALK_SUSPECTS if self._request.alone else _WALK
        rank, seq = -1, 0
        taken: list[_Row] = []
        of_queue = allowances.governing(queue, "", None)
        while len(taken) < limit and (not of_queue or allowances.allows(of_queue)):
            found = tx.execute(walk, (lane, rank, seq, tx.now, _STEP)).fetchall()
            for n, task, key, size, rank, seq in found:
                if size > self._bytes and (taken or self._jobs):
                    self._bytes = 0
                    break
                governing = allowances.governing(queue, tx.names.task_name(task), key)
                if governing and not allowances.allows(governing):
                    continue
                allowances.take(governing)
                row = (self._session, self._request.number, tx.now, n)
                taken.append(tx.execute(_CLAIM_ONE, row).fetchone())
                self._bytes -= size
                if len(taken) == limit:
                    break
            if len(found) < _STEP or self._bytes <= 0:
                break
        if taken:
            self._add(lane, taken)

    def _add(self, lane: int, rows: list[_Row]) -> None:
        tx = self._tx
        now = tx.now
        names = tx.names.task_of
        queue, requires = tx.names.lane_name(lane)
        held = tx.held
        for row in rows:
            id, token, task, payload, options, rank, attempt, failures, snoozes, enqueued, since, key, n, linked, *_ = row
            if not linked:
                held[id] = n
            name = names.get(task) or tx.names.task_name(task)
            undeliverable = 0 if since is None else max(0, now - since)
            self._jobs.append(
                ClaimedJob(
                    id,
                    token,
                    name,
                    payload,
                    options,
                    queue,
                    requires,
                    MAX_PRIORITY - rank,
                    attempt,
                    failures,
                    snoozes,
                    enqueued,
                    undeliverable,
                    key,
                )
            )


def _is_free(book: LimitBook, queue: str) -> bool:
    """Whether no limit touches a queue's jobs."""
    return book.spares_tasks_and_keys and queue not in book.by_scope[LimitScope.QUEUE]


def _heavy_lanes(tx: Transaction) -> set[int]:
    """Lanes in which a claim once brought more bytes than it may: there sizes are looked at first."""
    lanes: set[int] = tx.memory.setdefault("heavy lanes", set())
    return lanes
