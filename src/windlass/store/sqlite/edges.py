"""How jobs finish, and what follows along their edges."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import islice, takewhile
from typing import NamedTuple

from windlass.core.clock import Instant, Span
from windlass.core.graph import MAX_EDGES_PER_CALL, EdgePolicy, Verdict, verdict
from windlass.core.lifecycle import Outcome, State
from windlass.core.model import KEEP_AT_LEAST, Progress
from windlass.core.records import Reason
from windlass.store.sqlite.rows import MANY, RowStatement
from windlass.store.sqlite.transaction import Transaction
from windlass.store.statements import statements

_SQL = statements("sqlite")
_FINISH, _START_RETENTION, _CATCH_UP = _SQL["finish_job"], _SQL["start_retention"], _SQL["catch_up"]
_LEAVE_BEHIND, _HOLD_RETENTION = _SQL["leave_behind"], _SQL["hold_retention"]
_CHILDREN_OF, _PARENTS_OF = RowStatement(_SQL["unmarked_children_of"]), RowStatement(_SQL["parents_of"])
_MARK_CHILDREN_OF, _COUNT_MARKS = RowStatement(_SQL["mark_children_of"]), RowStatement(_SQL["count_marks"])
_READ_CHILDREN, _LET_GO = RowStatement(_SQL["read_children"]), RowStatement(_SQL["let_go"])
_LOSE_DEPENDANTS = RowStatement(_SQL["lose_dependants"])

FEW = 8
"""So many rows or more are worth a statement for all of them together."""
_ALL_CLOSED = b"\xff" * 17
"""Greater than any id of a parent."""


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
    marked_to: int = 0
    """The last dependant that knows of it."""
    closed_to: bytes = b""
    """The last parent that it is counted for no longer."""


class Cascade:
    """Ends jobs within one call of a verb, and carries on along their edges until its budget is spent.

    What remains then is left to the durable cursor: `release_edges` goes on there. A dependant that is cancelled on
    the way queues up like any other finished job, so that a long chain is work in bounded parts too.
    """

    def __init__(self, tx: Transaction, budget: int = MAX_EDGES_PER_CALL) -> None:
        self._tx = tx
        self.budget = budget
        """How many edges may be marked and closed."""
        self._behind: dict[int, _Finished] = {}
        """Jobs behind the cursor, by row, as it knows them."""
        self._finished: deque[_Finished] = deque()
        self._marked: dict[int, int] = {}
        """Dependants of jobs that have succeeded, with how much less they need: each is judged once, whatever number of
        its edges was marked."""
        self._lost: dict[bytes, int] = {}
        """Parents, with how many of their dependants have finished."""
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
        row = (state, reason, result, settled, now, now + keep, keep if job.linked else None, job.n)
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

    def follow_closed(self, n: int, id: bytes, state: State) -> None:
        """The same for a job that its parents have never counted."""
        self._finished.append(_Finished(n, id, state, closed_to=_ALL_CLOSED))

    def go_on_behind(self, most: int) -> None:
        """Queue up the first of those that were left behind."""
        for n, id_, state, marked_to, closed_to in self._tx.execute(_SQL["left_behind"], (most,)):
            job = self._behind[n] = _Finished(n, id_, State(state), marked_to, closed_to)
            self._finished.append(job)

    def run(self) -> bool:
        """Mark and close edges until all is done or the budget is spent; say whether something was left behind."""
        more = self._go_on()
        rows = [(lost, bytearray(parent)) for parent, lost in self._lost.items()]
        _LOSE_DEPENDANTS.run(self._tx.db, rows, (self._tx.now,))
        self._lost.clear()
        return more

    def _go_on(self) -> bool:
        while self._finished or self._marked:
            if not self._finished:
                self._judge_marked()
                continue
            if self._carry_on_together():
                continue
            job = self._finished.popleft()
            left = self._carry_on(job)
            if left is not None:
                self._finished.appendleft(left)
                self._judge_marked()
                self._leave_behind()
                return True
            self._catch_up([job])
        return False

    def _catch_up(self, jobs: Sequence[_Finished]) -> None:
        """All that follows from the end of these jobs has been done."""
        behind = [job.n for job in jobs if job.n in self._behind]
        if behind:
            self._tx.db.executemany(_CATCH_UP, [(n,) for n in behind])
            self._tx.db.executemany(_START_RETENTION, [(self._tx.now, n) for n in behind])

    def _leave_behind(self) -> None:
        left = [job for job in self._finished if self._behind.get(job.n) != job]
        self._tx.db.executemany(_LEAVE_BEHIND, [(job.n, job.marked_to, job.closed_to) for job in left])
        self._tx.db.executemany(_HOLD_RETENTION, [(job.n,) for job in left])

    def _judge_marked(self) -> None:
        marked, self._marked = self._marked, {}
        self.judge(marked)

    def judge(self, children: Mapping[int, int]) -> None:
        """Let jobs that wait go, in this order, or cancel them, if their edges say so. They need so much less than is
        stored."""
        found = _read_children(self._tx, children)
        gone: list[_Child] = []
        still: list[tuple[int, int]] = []
        for n, less in children.items():
            child = found[n]
            says = child.verdict(less) if child.state == State.WAITING else Verdict.WAIT
            if says is Verdict.GO:
                gone.append(child)
                continue
            if less:
                still.append((less, n))
            if says is Verdict.CANCEL:
                self.cancel(Target(n, child.id, 1), Reason.PARENT)
        _COUNT_MARKS.run(self._tx.db, still)
        _let_go(self._tx, gone)

    def _carry_on_together(self) -> bool:
        """Do as `_carry_on` for several jobs that have succeeded, if there are several and the budget suffices for all
        of their edges; say whether it did."""
        some = [*takewhile(_is_fresh_success, islice(self._finished, MANY))]
        if len(some) < 2:
            return False
        db, left = self._tx.db, self.budget - self.moved
        ids = [(bytearray(job.id),) for job in some]
        children = _CHILDREN_OF.fetch(db, ids, (left + 1,))
        parents = _PARENTS_OF.fetch(db, [(job.n,) for job in some], (left + 1,))
        if len(children) + len(parents) > left:
            return False
        if children:
            _MARK_CHILDREN_OF.fetch(db, ids)
        self.moved += len(children) + len(parents)
        of_job: dict[bytes, list[tuple[int, int]]] = {}
        for parent, child, policy in children:
            of_job.setdefault(parent, []).append((child, policy))
        for job in some:  # in this order dependants are let go
            self._mark(of_job.get(job.id, ()))
            self._finished.popleft()
        for _, parent in parents:
            self._lost[parent] = self._lost.get(parent, 0) + 1
        self._catch_up(some)
        return True

    def _mark(self, children: Iterable[tuple[int, int]]) -> None:
        """Have dependants judged, given with their policies, for which a parent has succeeded."""
        marked = self._marked
        for child, policy in children:
            marked[child] = marked.get(child, 0) + is_needed(policy)

    def _carry_on(self, job: _Finished) -> _Finished | None:
        """Mark what depends on the job, then tell its parents of its end; return how far that is, unless it is all."""
        execute = self._tx.execute
        left = self.budget - self.moved
        # One more than we may move tells whether anything stays.
        children = execute(_SQL["unmarked_children"], (job.id, job.marked_to, left + 1)).fetchall()
        some = children[:left]
        if some:
            execute(_SQL["mark_children"], (job.state, job.id, job.marked_to, some[-1][0]))
            job = job._replace(marked_to=some[-1][0])
        if job.state == State.SUCCEEDED:
            self._mark(some)
        else:
            for child, policy in some:
                self.judge({child: is_needed(policy)})
        self.moved += len(some)
        if len(children) > left:
            return job
        left = self.budget - self.moved
        parents = execute(_SQL["parents"], (job.n, job.closed_to, left + 1)).fetchall()
        for (parent,) in parents[:left]:
            self._lost[parent] = self._lost.get(parent, 0) + 1
        self.moved += min(left, len(parents))
        return job._replace(closed_to=parents[left - 1][0] if left else job.closed_to) if len(parents) > left else None


def _is_fresh_success(job: _Finished) -> bool:
    return job.state == State.SUCCEEDED and not job.marked_to and not job.closed_to


def is_needed(policy: int) -> bool:
    """Whether an edge of this policy is among what a dependant needs, until it is marked."""
    return policy != EdgePolicy.FAILED


class _Child(NamedTuple):
    """A row of ``read_children``."""

    n: int
    id: bytes
    state: int
    lane: int
    due_at: Instant | None
    needs: int
    unsatisfied: int
    failure_open: int
    no_failure: int
    failure: int

    def verdict(self, less: int = 0) -> Verdict:
        """What its edges say, if it needs so much less than is stored."""
        if not any(self[6:]):  # as most
            return Verdict.WAIT if self.needs > less else Verdict.GO
        marks = {
            (EdgePolicy.DONE, None): self.needs > less,
            (EdgePolicy.SUCCEEDED, State.DEAD): self.unsatisfied,
            (EdgePolicy.FAILED, None): self.failure_open,
            (EdgePolicy.FAILED, State.SUCCEEDED): self.no_failure,
            (EdgePolicy.FAILED, State.DEAD): self.failure,
        }
        return verdict(mark for mark, any_ in marks.items() if any_)


def judge_marks(tx: Transaction, child: int) -> Verdict:
    """Ask what the marks on a job's edges say."""
    return _read_children(tx, [child])[child].verdict()


def _read_children(tx: Transaction, children: Collection[int]) -> dict[int, _Child]:
    return {row[0]: _Child(*row) for row in _READ_CHILDREN.fetch(tx.db, [(n,) for n in children])}


def _let_go(tx: Transaction, jobs: Sequence[_Child]) -> None:
    """Make jobs whose parents are settled ready, in this order, or scheduled if they are due later."""
    if not jobs:
        return
    rows: list[tuple[State, int | None, int]] = []
    for seq, job in enumerate(jobs, tx.sequences(len(jobs))):
        if job.due_at is not None and job.due_at > tx.now:
            rows.append((State.SCHEDULED, None, job.n))
            tx.hints.scheduled(job.due_at)
        else:
            rows.append((State.READY, seq, job.n))
            tx.hints.ready.add(tx.names.lane_name(job.lane)[0])
    _LET_GO.run(tx.db, rows)


def release_edges(tx: Transaction, limit: int) -> Progress:
    """Carry on behind the cursor."""
    cascade = Cascade(tx, limit)
    cascade.go_on_behind(limit)
    more = cascade.run() or tx.execute(_SQL["any_left_behind"]).fetchone() is not None
    return Progress(done=cascade.moved, more=more)
