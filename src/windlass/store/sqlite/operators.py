"""What people do to jobs."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from windlass.core.clock import Instant
from windlass.core.graph import Verdict
from windlass.core.lifecycle import State
from windlass.core.model import KEEP_AT_LEAST
from windlass.core.records import CancelAnswer, Limit, LimitScope, Reason, ReplayAnswer, SkipAnswer
from windlass.store.sqlite import limits
from windlass.store.sqlite.edges import Cascade, Target, judge_marks
from windlass.store.sqlite.janitor import delete_job
from windlass.store.sqlite.transaction import Transaction
from windlass.store.statements import statements

_SQL = statements("sqlite")
_MOST_CHANGES = 2000
"""Rows changed in one hold of the lock after which no further job is replayed in it: some 10 ms."""


def cancel(tx: Transaction, ids: Sequence[bytes]) -> list[CancelAnswer]:
    """See `JobStore.cancel`."""
    cascade = Cascade(tx)
    answers = [_cancel_one(tx, job_id, cascade) for job_id in ids]
    cascade.run()
    return answers


def _cancel_one(tx: Transaction, id: bytes, cascade: Cascade) -> CancelAnswer:
    row = tx.execute(_SQL["read_target"], (id,)).fetchone()
    if row is None:
        return CancelAnswer.UNKNOWN
    n, number, linked, session, requested = row
    state = State(number)
    if state.is_finished:
        return CancelAnswer.FINISHED
    if state is not State.RUNNING:
        cascade.cancel(Target(n, id, linked), Reason.CANCELLED)
        return CancelAnswer.CANCELLED
    if not requested:
        tx.execute(_SQL["request_cancel"], (n,))
        tx.hints.sessions.add(session)
    return CancelAnswer.REQUESTED


def replay(tx: Transaction, ids: Sequence[bytes]) -> list[ReplayAnswer]:
    """See `JobStore.replay`. Answers the first of them only where their edges would hold the lock for too long; one job
    is never cut."""
    answers: list[ReplayAnswer] = []
    end = tx.db.total_changes + _MOST_CHANGES
    for job_id in ids:
        if tx.db.total_changes > end:
            break
        answers.append(_replay_one(tx, job_id))
    return answers


def _replay_one(tx: Transaction, id: bytes) -> ReplayAnswer:
    row = tx.execute(_SQL["read_dead"], (id,)).fetchone()
    if row is None:
        return ReplayAnswer.UNKNOWN
    n, state, linked, holds_key, task, key, lane = row
    if state not in (State.DEAD, State.CANCELLED):
        return ReplayAnswer.NOT_DEAD
    if holds_key is not None and tx.execute(_SQL["key_holder"], (task, key)).fetchone() is not None:
        return ReplayAnswer.KEY_HELD
    waits = bool(linked) and _rearm(tx, n, id)
    seq = None if waits else tx.sequences(1)
    tx.execute(_SQL["replay_job"], (State.WAITING if waits else State.READY, seq, n))
    tx.execute(_SQL["delete_note"], (n,))
    if not waits:
        tx.hints.ready.add(tx.names.lane_name(lane)[0])
    return ReplayAnswer.REPLAYED


def _rearm(tx: Transaction, n: int, id: bytes) -> bool:
    """Arm a job's edges anew, on both sides; say whether it has to wait for a parent."""
    tx.execute(_SQL["hold_parents"], (n,))
    tx.execute(_SQL["catch_up"], (n,))
    tx.execute(_SQL["need_again"], (id,))
    tx.execute(_SQL["rearm_children"], (id,))
    tx.execute(_SQL["rearm_parents"], (n,))
    tx.execute(_SQL["count_needs"], (n,))
    waits = tx.execute(_SQL["has_unmarked_parent"], (n,)).fetchone() is not None
    return waits and judge_marks(tx, n) is not Verdict.GO


def skip(tx: Transaction, id: bytes, result: bytes) -> SkipAnswer:
    """See `JobStore.skip`."""
    row = tx.execute(_SQL["read_target"], (id,)).fetchone()
    if row is None:
        return SkipAnswer.UNKNOWN
    n, state, linked, _, _ = row
    if state >= State.RUNNING:
        return SkipAnswer.STARTED
    cascade = Cascade(tx)
    cascade.finish(Target(n, id, linked), State.SUCCEEDED, tx.settings.keep, Reason.SKIPPED, result=result)
    cascade.run()
    return SkipAnswer.SKIPPED


def reschedule(tx: Transaction, ids: Sequence[bytes], at: Instant) -> list[bool]:
    """See `JobStore.reschedule`."""
    due_at = max(at, tx.now)
    answers = [tx.execute(_SQL["reschedule_job"], (due_at, job_id)).rowcount == 1 for job_id in ids]
    if any(answers):
        tx.hints.scheduled(due_at)
    return answers


def put_limit(tx: Transaction, limit: Limit) -> None:
    """See `JobStore.put_limit`."""
    stored = _limit(tx, limit.scope, limit.name)
    _put(tx, msgspec.structs.replace(limit, paused=stored.paused))


def pause(tx: Transaction, scope: LimitScope, name: str, *, paused: bool) -> None:
    """See `JobStore.pause`."""
    _put(tx, msgspec.structs.replace(_limit(tx, scope, name), paused=paused))


def _limit(tx: Transaction, scope: LimitScope, name: str) -> Limit:
    return limits.limit_book(tx).by_scope[scope].get(name) or Limit(scope=scope, name=name)


def _put(tx: Transaction, limit: Limit) -> None:
    limits.put_limit(tx, limit)
    tx.hints.limits = True


def delete(tx: Transaction, ids: Sequence[bytes]) -> int:
    """See `JobStore.delete`."""
    deleted = 0
    for job_id in ids:
        row = tx.execute(_SQL["deletable_job"], (job_id, tx.now - KEEP_AT_LEAST)).fetchone()
        if row is not None:
            delete_job(tx, *row)
            deleted += 1
    return deleted
