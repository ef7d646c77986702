"""How jobs finish, and what follows along their edges."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from itertools import islice, takewhile
from typing import NamedTuple

from windlass.core.clock import Instant, Span
from windlass.core.graph import MAX_EDGES_PER_CALL, EdgePolicy, Verdict, verdict
from windlass.core.lifecycle import Outcome, State
from windlass.core.model import KEEP_AT_LEAST, Progress
from windlass.core.records import Reason
from windlass.store.sqlite.rows import MANY, RowStatement, blob
from windlass.store.sqlite.transaction import Transaction
from windlass.store.statements import statements

_SQL = statements("sqlite")
_FINISH, _START_RETENTION = _SQL["finish_job"], _SQL["start_retention"]
_START_RETENTION_OF = RowStatement(_SQL["start_retention_of"])
_CHILDREN, _PARENTS = RowStatement(_SQL["unmarked_children_of"]), RowStatement(_SQL["open_parents_of"])
_SUCCEED_LINKED, _LET_GO = RowStatement(_SQL["succeed_linked"]), RowStatement(_SQL["let_go"])
_MARK_EDGES, _CLOSE_EDGES = RowStatement(_SQL["mark_edges"]), RowStatement(_SQL["close_edges"])
_JUDGE_CHILDREN = RowStatement(_SQL["judge_children"])


FEW = 8
"""So many rows or more are worth a statement for all of them together."""


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
        self._closed: dict[bytes, None] = {}
        """Jobs that may have no unfinished dependant any more, and no edges to carry on along."""
        self._succeeded: list[tuple[int, bytearray | None, Span | None]] = []
        """Row, result and retention of those that `run` writes down as succeeded, before all else."""
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
        if job.linked and state is State.SUCCEEDED and settled is Outcome.SUCCEEDED:
            self._succeeded.append((job.n, blob(result), kept))
        else:
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

    def run(self) -> bool:
        """Mark and close edges until all is done or the budget is spent; say whether something was left behind."""
        _SUCCEED_LINKED.run(self._tx.db, self._succeeded, (self._tx.now,))
        self._succeeded.clear()
        more = self._go_on()
        if len(self._closed) < FEW:
            for job in self._closed:
                self._tx.execute(_START_RETENTION, (self._tx.now, job))
        else:
            _START_RETENTION_OF.run(self._tx.db, [(job,) for job in self._closed], (self._tx.now,))
        self._closed.clear()
        return more

    def _go_on(self) -> bool:
        while self._finished or self._to_judge:
            if not self._finished:
                self._judge_all()
                continue
            if self._carry_on_together():
                continue
            job = self._finished[0]
            if not self._carry_on(job):
                self._judge_all()
                for left in self._finished:
                    self._tx.execute(_SQL["leave_behind"], (left.n,))
                return True
            self._finished.popleft()
            if self._behind:
                self._tx.execute(_SQL["catch_up"], (job.n,))
            self._closed[job.id] = None
        return False

    def _judge_all(self) -> None:
        children, self._to_judge = self._to_judge, {}
        if children:
            self.judge(list(children))

    def judge(self, children: Sequence[int]) -> None:
        """Let jobs that wait go, in this order, or cancel them, if their edges say so."""
        found = _read_children(self._tx, children)
        gone = []
        for n in children:
            if n not in found:
                continue
            says = found[n].verdict()
            if says is Verdict.GO:
                gone.append((n, found[n]))
            elif says is Verdict.CANCEL:
                self.cancel(Target(n, found[n].id, 1), Reason.PARENT)
        let_go(self._tx, gone)

    def _carry_on_together(self) -> bool:
        """Do as `_carry_on` for several jobs that have succeeded, if there are several and the budget suffices for all
        of their edges; say whether it did."""
        some = [*takewhile(lambda job: job.state == State.SUCCEEDED, islice(self._finished, MANY))]
        if len(some) < 2:
            return False
        db, left = self._tx.db, self._budget - self.moved
        children = _CHILDREN.fetch(db, [(job.id,) for job in some], (left + 1,))
        parents = _PARENTS.fetch(db, [(job.n,) for job in some], (left + 1,))
        if len(children) + len(parents) > left:
            return False
        _MARK_EDGES.run(db, [(bytearray(parent), child) for parent, child in children])
        _CLOSE_EDGES.run(db, [(bytearray(parent), child) for parent, child in parents])
        self.moved += len(children) + len(parents)
        of_job: dict[bytes, list[int]] = {}
        for parent, child in children:
            of_job.setdefault(parent, []).append(child)
        for job in some:  # in this order dependants are let go
            self._to_judge.update(dict.fromkeys(of_job.get(job.id, ())))
            self._finished.popleft()
            self._closed[job.id] = None
        self._closed.update(dict.fromkeys(parent for parent, _ in parents))
        if self._behind:
            db.executemany(_SQL["catch_up"], [(job.n,) for job in some])
        return True

    def _carry_on(self, job: _Finished) -> bool:
        """Mark what depends on the job, then close its own edges; say whether that is all."""
        execute = self._tx.execute
        left = self._budget - self.moved
        # One more than we may move tells whether anything stays.
        children = execute(_SQL["unmarked_children"], (job.id, left + 1)).fetchall()
        self._tx.db.executemany(_SQL["mark_edge"], [(job.state, job.id, child) for (child,) in children[:left]])
        for (child,) in children[:left]:
            if job.state == State.SUCCEEDED:
                self._to_judge[child] = None
            else:
                self.judge([child])
        self.moved += min(left, len(children))
        if len(children) > left:
            return False
        left = self._budget - self.moved
        parents = execute(_SQL["open_parents"], (job.n, left + 1)).fetchall()
        for (parent,) in parents[:left]:
            execute(_SQL["close_edge"], (parent, job.n))
            self._closed[parent] = None
        self.moved += min(left, len(parents))
        return len(parents) <= left


class _Child(NamedTuple):
    """A job that waits, and the pairs of policy and mark among its edges."""

    id: bytes
    lane: int
    due_at: Instant | None
    marks: list[tuple[int, int | None]]

    def verdict(self) -> Verdict:
        """What its edges say."""
        return _verdict(self.marks)


def _verdict(marks: Iterable[tuple[int, int | None]]) -> Verdict:
    return verdict((EdgePolicy(policy), None if mark is None else State(mark)) for policy, mark in marks)


def judge_marks(tx: Transaction, child: int) -> Verdict:
    """Ask what the marks on a job's edges say."""
    return _verdict(tx.execute(_SQL["marks"], (child,)).fetchall())


def _read_children(tx: Transaction, children: Sequence[int]) -> dict[int, _Child]:
    """Those of them that wait."""
    found: dict[int, _Child] = {}
    if len(children) < FEW:
        for n in children:
            id_, state, lane, due_at = tx.execute(_SQL["read_child"], (n,)).fetchone()
            if state == State.WAITING:
                found[n] = _Child(id_, lane, due_at, tx.execute(_SQL["marks"], (n,)).fetchall())
    else:
        for n, id_, lane, due_at, *pair in _JUDGE_CHILDREN.fetch(tx.db, [(n,) for n in children]):
            found.setdefault(n, _Child(id_, lane, due_at, [])).marks.append((pair[0], pair[1]))
    return found


def let_go(tx: Transaction, jobs: Sequence[tuple[int, _Child]]) -> None:
    """Make jobs whose parents are settled ready, in this order, or scheduled if they are due later."""
    if not jobs:
        return
    rows: list[tuple[State, int | None, int]] = []
    for seq, (n, job) in enumerate(jobs, tx.sequences(len(jobs))):
        if job.due_at is not None and job.due_at > tx.now:
            rows.append((State.SCHEDULED, None, n))
            tx.hints.scheduled(job.due_at)
        else:
            rows.append((State.READY, seq, n))
            tx.hints.ready.add(tx.names.lane_name(job.lane)[0])
    _LET_GO.run(tx.db, rows)


def release_edges(tx: Transaction, limit: int) -> Progress:
    """Carry on behind the cursor."""
    cascade = Cascade(tx, limit, behind=True)
    jobs = tx.execute(_SQL["left_behind"], (limit,)).fetchall()
    for n, job_id, state in jobs:
        cascade.follow(n, job_id, State(state))
    more = cascade.run() or tx.execute(_SQL["any_left_behind"]).fetchone() is not None
    return Progress(done=cascade.moved, more=more)
