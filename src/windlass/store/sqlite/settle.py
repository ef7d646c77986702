"""Ending attempts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from windlass.core.clock import Instant, Span
from windlass.core.graph import EDGES_PER_SETTLEMENT, MAX_EDGES_PER_CALL
from windlass.core.lifecycle import EVENT_OF, Outcome, State, after
from windlass.core.model import (
    KEEP_AT_LEAST,
    MAX_ERRORS,
    MAX_LOG,
    ClaimRequest,
    Note,
    Settled,
    Settlement,
    SettleResult,
)
from windlass.core.records import Reason
from windlass.store.sqlite.claim import claim
from windlass.store.sqlite.edges import Cascade, Target
from windlass.store.sqlite.limits import announce_free_places
from windlass.store.sqlite.rows import RowStatement, blob
from windlass.store.sqlite.transaction import MANY, Transaction
from windlass.store.sqlite.writer import NeedsCare
from windlass.store.statements import statements

_SQL = statements("sqlite")
_SUCCEED_PLAIN, _SUCCEED_LINKED = RowStatement(_SQL["succeed_plain"]), RowStatement(_SQL["succeed_linked"])
_READ_ATTEMPTS = RowStatement(_SQL["read_attempts"])
_MOST = 200
"""Settlements that are judged one by one in one hold of the lock."""
_MOST_LINKED = 500
"""Jobs with edges that succeed together in one hold of the lock."""
_SUCCEEDED, _APPLIED = Outcome.SUCCEEDED, Settled.APPLIED


class Unfinished(NamedTuple):
    """A settle that stopped in between, so as not to hold the lock for long. The claim is still to come."""

    judged: dict[bytes, Settled]
    """Answers so far; those that are neither here nor in `left` were applied."""
    left: Sequence[Settlement]
    more_edges: bool


class Settle:
    """One call of `JobStore.settle`; may be run more than once, if the transaction was rolled back."""

    def __init__(self, session: bytes, settlements: Sequence[Settlement], request: ClaimRequest | None) -> None:
        self._session = session
        self._settlements = settlements
        self._request = request
        self._careful = False

    def __call__(self, tx: Transaction) -> SettleResult | Unfinished:
        settlements = self._settlements
        cascade = Cascade(tx, 0)
        others, left = (settlements, []) if self._careful else self._succeed(tx, cascade)
        judged = self._judge(tx, others[:_MOST], cascade) if others else {}
        left += others[_MOST:]
        if not left:
            cascade.budget += MAX_EDGES_PER_CALL
        more_edges = cascade.run()
        if left:
            return Unfinished(judged, left, more_edges)
        answers = [judged.get(settlement.id, _APPLIED) for settlement in settlements]
        answer = None if self._request is None else claim(tx, self._session, self._request)
        return SettleResult(answers, answer, more_edges)

    def _judge(self, tx: Transaction, some: Sequence[Settlement], cascade: Cascade) -> dict[bytes, Settled]:
        """Settle those that need a look of their own, one by one."""
        cascade.budget += EDGES_PER_SETTLEMENT * len(some)
        rows = _READ_ATTEMPTS.fetch(tx.db, [(blob(settlement.id),) for settlement in some])
        attempts = {row[0]: _Attempt(*row[1:]) for row in rows}
        judged = {
            settlement.id: _settle_one(tx, self._session, settlement, attempts.get(settlement.id), cascade)
            for settlement in some
        }
        if _APPLIED in judged.values():
            announce_free_places(tx)
        return judged

    def _succeed(self, tx: Transaction, cascade: Cascade) -> tuple[list[Settlement], list[Settlement]]:
        """Settle successes together, those with edges, too; return the others, and what has to wait for the next hold
        of the lock."""
        held, held_linked, now = tx.held, tx.held_linked, tx.now
        rows: list[tuple[int, int, bytearray | None, Instant]] = []
        linked: list[tuple[int, int, bytearray | None, Span]] = []
        done = []
        others = []
        left = []
        for settlement in self._settlements:
            n = held.pop(settlement.id, None)
            if settlement.outcome is not _SUCCEEDED:
                others.append(settlement)
                continue
            keep = settlement.keep
            # Not max(): it would cost a tenth of all that happens here.
            keep = keep if keep > KEEP_AT_LEAST else KEEP_AT_LEAST  # noqa: FURB136
            if n is not None:
                rows.append((n, settlement.token, blob(settlement.result), now + keep))
                done.append(settlement.id)
            elif settlement.id not in held_linked:
                others.append(settlement)
            elif len(linked) == _MOST_LINKED:
                left.append(settlement)
            else:
                n = held_linked.pop(settlement.id)
                linked.append((n, settlement.token, blob(settlement.result), keep))
                done.append(settlement.id)
                cascade.follow(n, settlement.id, State.SUCCEEDED)
        proof = (self._session,)
        if (rows and _SUCCEED_PLAIN.run(tx.db, rows, (now,), proof) != len(rows)) or (
            linked and _SUCCEED_LINKED.run(tx.db, linked, (now,), proof) != len(linked)
        ):
            # One was lost, is repeated, or has got a dependant since it was claimed. Which? Judge each alone.
            self._careful = True
            raise NeedsCare
        if rows or linked:
            announce_free_places(tx, [row[:1] for row in (*rows, *linked)])
        cascade.budget += EDGES_PER_SETTLEMENT * len(linked)
        tx.hints.finished += done[: MANY + 1]
        return others, left


class _Attempt(NamedTuple):
    """A row of ``read_attempts``."""

    n: int
    state: int
    session: bytes | None
    token: int
    settled: int | None
    cancel_requested: int
    linked: int
    lane: int


def _settle_one(
    tx: Transaction, session: bytes, settlement: Settlement, attempt: _Attempt | None, cascade: Cascade
) -> Settled:
    if attempt is None:
        return Settled.LOST
    if attempt.session != session or attempt.token != settlement.token:
        return Settled.LOST
    if attempt.state != State.RUNNING:
        return Settled.ALREADY if attempt.settled == settlement.outcome else Settled.LOST
    _apply(tx, attempt, settlement, cascade)
    return _APPLIED


def _apply(tx: Transaction, attempt: _Attempt, settlement: Settlement, cascade: Cascade) -> None:
    outcome = settlement.outcome
    state = after(
        State.RUNNING,
        EVENT_OF[outcome],
        cancel_requested=bool(attempt.cancel_requested),
        later=settlement.delay > 0,
    )
    undelivered = outcome is Outcome.UNDELIVERABLE
    # The attempt does not count where its function never began.
    unstarted = undelivered or (outcome is Outcome.RELEASED and not settlement.started)
    failed = outcome in (Outcome.RETRY, Outcome.DEAD)
    counts = (unstarted, failed, outcome is Outcome.SNOOZED, tx.now if undelivered else None)
    if settlement.error is not None:
        add_error(tx, attempt.n, settlement.error)
    if state.is_finished:
        if any(counts):
            tx.execute(_SQL["count_end"], (*counts, attempt.n))
        _finish(tx, attempt, settlement, state, cascade)
    elif outcome is Outcome.RELEASED:
        tx.execute(_SQL["release_attempt"], (outcome, unstarted, attempt.n))
        tx.hints.ready.add(tx.names.lane_name(attempt.lane)[0])
    else:
        _try_again(tx, attempt, settlement, state, counts)


def _finish(tx: Transaction, attempt: _Attempt, settlement: Settlement, state: State, cascade: Cascade) -> None:
    reason = Reason.CANCELLED if state is State.CANCELLED else Reason.NONE
    # What was not meant to be final says nothing of its retention.
    final = settlement.outcome in (Outcome.SUCCEEDED, Outcome.DEAD, Outcome.CANCELLED)
    keep = settlement.keep if final else tx.settings.keep
    result = settlement.result if state is State.SUCCEEDED else None
    cascade.finish(
        Target(attempt.n, settlement.id, attempt.linked), state, keep, reason, result=result, settled=settlement.outcome
    )


def _try_again(
    tx: Transaction,
    attempt: _Attempt,
    settlement: Settlement,
    state: State,
    counts: tuple[bool, bool, bool, int | None],
) -> None:
    due_at = tx.now + settlement.delay if state is State.SCHEDULED else None
    seq = None if state is State.SCHEDULED else tx.sequences(1)
    tx.execute(_SQL["give_up_attempt"], (state, seq, due_at, settlement.outcome, *counts, attempt.n))
    if due_at is None:
        tx.hints.ready.add(tx.names.lane_name(attempt.lane)[0])
    else:
        tx.hints.scheduled(due_at)


def add_error(tx: Transaction, n: int, error: bytes) -> None:
    """Append to a job's errors, and drop the oldest beyond those that are kept."""
    tx.execute(_SQL["add_error"], (n, error))
    tx.execute(_SQL["trim_errors"], (n, MAX_ERRORS))


def unclaim(tx: Transaction, session: bytes, request: int) -> None:
    """See `JobStore.unclaim`."""
    if tx.execute(_SQL["see_request"], (request, session)).fetchone() is None:
        return
    lanes = tx.execute(_SQL["unclaim_plain"], (session, request)).fetchall()
    tx.hints.ready.update(tx.names.lane_name(lane)[0] for (lane,) in lanes)
    if lanes:
        announce_free_places(tx)
    # What is left of the request was asked to be cancelled.
    cascade = Cascade(tx)
    for n, job_id, linked, lane in tx.execute(_SQL["held_of_request"], (session, request)).fetchall():
        give_back(tx, cascade, Target(n, job_id, linked), lane, cancelled=True)
    cascade.run()


def give_back(tx: Transaction, cascade: Cascade, job: Target, lane: int, *, cancelled: bool) -> None:
    """Put a running job that nobody started back to its old position, or cancel it if somebody asked."""
    tx.held.pop(job.id, None)
    announce_free_places(tx)
    if cancelled:
        tx.execute(_SQL["take_back_attempt"], (job.n,))
        cascade.cancel(job, Reason.CANCELLED)
    else:
        tx.execute(_SQL["give_back"], (job.n,))
        tx.hints.ready.add(tx.names.lane_name(lane)[0])


def annotate(tx: Transaction, session: bytes, notes: Sequence[Note]) -> None:
    """See `JobStore.annotate`."""
    for note in notes:
        row = tx.execute(_SQL["proven"], (note.id, session, note.token)).fetchone()
        if row is None:
            continue
        old = tx.execute(_SQL["read_note"], row).fetchone()
        progress, message, log = (None, None, "") if old is None else old
        progress = progress if note.progress is None else note.progress
        message = message if note.message is None else note.message
        tx.execute(_SQL["put_note"], (row[0], progress, message, _last_of(log + note.log)))


def _last_of(log: str) -> str:
    """The last `MAX_LOG` bytes, without a character cut in two."""
    if len(log) * 4 <= MAX_LOG:
        return log
    return log.encode("utf-8", "surrogatepass")[-MAX_LOG:].decode("utf-8", "ignore")
