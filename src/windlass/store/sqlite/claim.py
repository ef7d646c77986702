"""Taking ready jobs."""

from __future__ import annotations

from windlass.core.clock import Span
from windlass.core.model import MAX_BATCH, MAX_PRIORITY, ClaimAnswer, ClaimedJob, ClaimRequest, Refusal
from windlass.core.records import LimitScope
from windlass.store.sqlite.limits import Allowances, Gate, LimitBook, limit_book
from windlass.store.sqlite.rotation import EXPIRED, JOB, KEY, RUNNING, TASK, Row
from windlass.store.sqlite.rows import RowStatement
from windlass.store.sqlite.transaction import Transaction
from windlass.store.sqlite.walk import Walk, any_aside, any_expired
from windlass.store.statements import statements

_SQL = statements("sqlite")
_CLAIM_SESSION, _FIRST, _CLAIM_FIRST = _SQL["claim_session"], _SQL["first_ready"], _SQL["claim_first"]
_SUSPECTS, _CLAIM_SOME = _SQL["walk_suspects"], RowStatement(_SQL["claim_some"])
_STEP = 250
"""Rows read in one go."""
_MOST_HELD = 50_000
"""Row numbers remembered; beyond that some are of jobs that the session lost, and all are dropped."""


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
        self._allowances = Allowances(tx, self._book)
        self._retry_in: Span | None = None
        self._more = False
        by_scope = self._book.by_scope
        self._has_queues, self._has_tasks, self._has_keys = (bool(by_scope[scope]) for scope in LimitScope)

    def carry_out(self) -> ClaimAnswer:
        """Try the lanes in their order."""
        for lane in self._request.lanes:
            most = 1 if self._request.alone else min(lane.until, MAX_BATCH)
            number = self._tx.names.find_lane(lane.queue, lane.requires)
            if number is not None and most > len(self._jobs) and self._bytes > 0:
                self._take_from(number, lane.queue, most)
        self._allowances.save()
        for held in (self._tx.held, self._tx.held_linked):
            if len(held) > _MOST_HELD:
                held.clear()
        return ClaimAnswer(self._jobs, more=self._more, retry_in=self._retry_in)

    def _take_from(self, lane: int, queue: str, most: int) -> None:
        if self._request.alone:
            self._take_suspect(lane, queue)
        elif _is_free(self._book, queue) and not any_aside(self._tx, lane) and not any_expired(self._tx):
            self._take_first(lane, most - len(self._jobs))
        else:
            self._walk(lane, queue, most)

    # --------------------------------------------------------------------------------------- where all are alike

    def _take_first(self, lane: int, limit: int) -> None:
        """Take what comes first in the lane."""
        tx = self._tx
        cursor = tx.execute(_FIRST, (lane, limit))
        rows: list[Row] = []
        while self._bytes > 0 and (some := cursor.fetchmany(_STEP)):
            rows += self._fitting(some, first=not rows and not self._jobs)
        # An open cursor would see what comes now.
        cursor.close()
        if rows:
            tx.execute(_CLAIM_FIRST, (self._session, self._request.number, tx.now, lane, *rows[-1][-2:]))
            self._add(lane, rows)

    def _fitting(self, rows: list[Row], *, first: bool) -> list[Row]:
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

    # ---------------------------------------------------------------------------------- where limits may touch some

    def _walk(self, lane: int, queue: str, most: int) -> None:
        """Look at jobs in their order, and take those that may start and fit."""
        limit = most - len(self._jobs)
        walk = Walk(self._tx, lane, (self._session, self._request.number), self._book.most_running_of_a_key, limit)
        waits = self._go(walk, lane, queue, limit)
        walk.close()
        self._more |= walk.more
        if waits is not None:
            until = walk.first_bar_to_end()
            self._come_back_in(waits if until is None else [*waits, until - self._tx.now])

    def _go(self, walk: Walk, lane: int, queue: str, limit: int) -> list[Span] | None:
        """Take what may start; answer the waits of the limits that held something back, ``None`` if that is all we want
        of this lane."""
        taken: list[Row] = []
        waits: list[Span] = []
        enough = True
        allowances = self._allowances
        only_keys = self._has_keys and not self._has_queues and not self._has_tasks
        while len(taken) < limit:
            row = walk.first()
            if row is None:
                enough = False
                break
            if only_keys and row[KEY] is not None and allowances.lets_first_pass(row[KEY], row[RUNNING]):
                gates, shut = [], None
            else:
                gates = self._gates(queue, row)
                shut = _first_shut(gates) if gates else None
            if shut is None:
                if len(row[3]) > self._bytes and (taken or self._jobs):
                    self._bytes = 0
                    break
                self._bytes -= len(row[3])
                taken.append(row)
                walk.take(row)
                for gate in gates:
                    gate.take()
                continue
            scope, wait = shut
            if wait is not None:
                waits.append(wait)
            if scope is LimitScope.QUEUE:
                enough = False
                break
            if scope is LimitScope.TASK:
                walk.leave_out(row[TASK])
            else:
                walk.bar(None if wait is None else self._tx.now + wait)
        self._add(lane, [row[:EXPIRED] for row in taken])
        return None if enough else waits

    def _gates(self, queue: str, row: Row) -> list[Gate]:
        """The gates that a job has to pass: its queue's, its task's, its key's, as far as there are such."""
        allowances = self._allowances
        gates = []
        if self._has_queues and (gate := allowances.of_queue(queue)) is not None:
            gates.append(gate)
        if self._has_tasks and (gate := allowances.of_task(row[TASK])) is not None:
            gates.append(gate)
        key = row[KEY]
        if self._has_keys and key is not None:
            gate = allowances.of_key(key, row[RUNNING] if len(row) > RUNNING else None)
            if gate is not None:
                gates.append(gate)
        return gates

    def _come_back_in(self, waits: list[Span]) -> None:
        if self._retry_in is not None:
            waits = [*waits, self._retry_in]
        self._retry_in = min(waits, default=None)

    def _take_suspect(self, lane: int, queue: str) -> None:
        """Take the first suspect that may start."""
        tx = self._tx
        waits = []
        for row in tx.execute(_SUSPECTS, (lane, -1, 0, tx.now, MAX_BATCH)).fetchall():
            gates = self._gates(queue, row)
            shut = _first_shut(gates)
            if shut is None:
                for gate in gates:
                    gate.take()
                _CLAIM_SOME.run(tx.db, [(row[JOB],)], (self._session, self._request.number, tx.now))
                self._add(lane, [row])
                return
            if shut[1] is not None:
                waits.append(shut[1])
        self._come_back_in(waits)

    def _add(self, lane: int, rows: list[Row]) -> None:
        """Answer these rows, which are as they were before the claim."""
        tx = self._tx
        now = tx.now
        name_of = tx.names.task_of
        queue, requires = tx.names.lane_name(lane)
        held, held_linked, jobs = tx.held, tx.held_linked, self._jobs
        for id, token, task, payload, options, attempt, failures, snoozes, at, since, key, n, linked, rank, _ in rows:  # noqa: A001
            if linked:
                held_linked[id] = n
            else:
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


def _first_shut(gates: list[Gate]) -> tuple[LimitScope, Span | None] | None:
    """The first gate that lets nothing pass now, and how long that is so (``None``: nobody knows)."""
    for gate in gates:
        wait = gate.wait()
        if wait != 0:
            return gate.scope, wait
    return None


def _is_free(book: LimitBook, queue: str) -> bool:
    """Whether no limit touches a queue's jobs."""
    return book.spares_tasks_and_keys and queue not in book.by_scope[LimitScope.QUEUE]
