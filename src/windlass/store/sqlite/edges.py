"""How jobs finish, and what follows along their edges."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from windlass.core.clock import Instant, Span
from windlass.core.graph import MAX_EDGES_PER_CALL, EdgePolicy, Verdict, verdict
from windlass.core.lifecycle import Outcome, State
from windlass.core.model import KEEP_AT_LEAST, Progress
from windlass.core.records import Reason
from windlass.store.sqlite.transaction import Transaction
from windlass.store.statements import statements

_SQL = statements("sqlite")
_FINISH, _START_RETENTION = _SQL["finish_job"], _SQL["start_retention"]


class Target(NamedTuple):
    """A job that something is done to."""

    n: int
    id: bytes
    linked: int


class _Finished(NamedTuple):
    """A job that has finished and has edges."""

    n: int
    id: bytes
    state: State


class Cascade:
    """Ends jobs within one call of a verb, and carries on along their edges until its budget is spent.

    What remains then is left to the durable cursor: `release_edges` goes on there. A dependant that is cancelled on
    the way queues up like any other finished job, so that a long chain is work in bounded parts too.
    """

    def __init__(self, tx: Transaction, budget: int = MAX_EDGES_PER_CALL, *, behind: bool = False) -> None:
        self._tx = tx
        self._behind = behind
        self._budget = budget
        self._finished: deque[_Finished] = deque()
        self._pending: set[bytes] = set()
        self._to_judge: dict[int, None] = {}
        """Dependants of jobs that have succeeded: each is judged once, whatever number of its edges was marked."""
        self.moved = 0
        """Edges marked and closed so far."""

    def finish(
        self,
        job: Target,
        state: State,
        keep: Span,
        reason: Reason = Reason.NONE,
        *,
        result: bytes | None = None,
        settled: Outcome | None = None,
    ) -> None:
        """Make a job finished. Its edges follow in `run`."""
        now = self._tx.now
        keep = max(keep, KEEP_AT_LEAST)
        purge_at, kept = (None, keep) if job.linked else (now + keep, None)
        row = (state, reason, result, settled, now, purge_at, kept, job.n)
        self._tx.execute(_FINISH, row)
        self._tx.hints.finished.append(job.id)
        if job.linked:
            self.follow(job.n, job.id, state)

    def cancel(self, job: Target, reason: Reason) -> None:
        """Make a job cancelled, by the store itself."""
        self.finish(job, State.CANCELLED, self._tx.settings.keep, reason)

    def follow(self, n: int, id: bytes, state: State) -> None:
        """Queue up a job that is finished already."""
        self._finished.append(_Finished(n, id, state))
        self._pending.add(id)

    def run(self) -> bool:
        """Mark and close edges until all is done or the budget is spent; say whether something was left behind."""
        while self._finished or self._to_judge:
            if not self._finished:
                self._judge_all()
                continue
            job = self._finished[0]
            if not self._carry_on(job):
                self._judge_all()
                for left in self._finished:
                    self._tx.execute(_SQL["leave_behind"], (left.n,))
                return True
            self._finished.popleft()
            self._pending.discard(job.id)
            if self._behind:
                self._tx.execute(_SQL["catch_up"], (job.n,))
            self._tx.execute(_START_RETENTION, (self._tx.now, job.id))
        return False

    def _judge_all(self) -> None:
        children, self._to_judge = self._to_judge, {}
        for child in children:
            self.judge(child)

    def judge(self, child: int) -> None:
        """Let a waiting job go, or cancel it, if its edges say so."""
        child_id, state, lane, due_at = self._tx.execute(_SQL["read_child"], (child,)).fetchone()
        if state != State.WAITING:
            return
        says = judge_marks(self._tx, child)
        if says is Verdict.GO:
            let_go(self._tx, child, lane, due_at)
        elif says is Verdict.CANCEL:
            self.cancel(Target(child, child_id, 1), Reason.PARENT)

    def _carry_on(self, job: _Finished) -> bool:
        """Mark what depends on the job, then close its own edges; say whether that is all."""
        execute = self._tx.execute
        left = self._budget - self.moved
        # One more than we may move tells whether anything stays.
        children = execute(_SQL["unmarked_children"], (job.id, left + 1)).fetchall()
        for (child,) in children[:left]:
            execute(_SQL["mark_edge"], (job.state, job.id, child))
            if job.state == State.SUCCEEDED:
                self._to_judge[child] = None
            else:
                self.judge(child)
        self.moved += min(left, len(children))
        if len(children) > left:
            return False
        left = self._budget - self.moved
        parents = execute(_SQL["open_parents"], (job.n, left + 1)).fetchall()
        for (parent,) in parents[:left]:
            execute(_SQL["close_edge"], (parent, job.n))
            # A parent whose own turn is still to come is not done with.
            if parent not in self._pending:
                execute(_START_RETENTION, (self._tx.now, parent))
        self.moved += min(left, len(parents))
        return len(parents) <= left


def judge_marks(tx: Transaction, child: int) -> Verdict:
    """Ask what the marks on a job's edges say."""
    return verdict(
        (EdgePolicy(policy), None if mark is None else State(mark))
        for policy, mark in tx.execute(_SQL["marks"], (child,)).fetchall()
    )


def let_go(tx: Transaction, n: int, lane: int, due_at: Instant | None) -> None:
    """Make a job whose parents are settled ready, or scheduled if it is due later."""
    if due_at is not None and due_at > tx.now:
        tx.execute(_SQL["let_go"], (State.SCHEDULED, None, n))
        tx.hints.scheduled(due_at)
    else:
        tx.execute(_SQL["let_go"], (State.READY, tx.sequences(1), n))
        tx.hints.ready.add(tx.names.lane_name(lane)[0])


def release_edges(tx: Transaction, limit: int) -> Progress:
    """Carry on behind the cursor."""
    cascade = Cascade(tx, limit, behind=True)
    jobs = tx.execute(_SQL["left_behind"], (limit,)).fetchall()
    for n, job_id, state in jobs:
        cascade.follow(n, job_id, State(state))
    more = cascade.run() or tx.execute(_SQL["any_left_behind"]).fetchone() is not None
    return Progress(done=cascade.moved, more=more)
