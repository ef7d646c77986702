"""Storing jobs, and edges to jobs that wait."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from windlass.core.clock import Instant
from windlass.core.errors import StaleEnqueue
from windlass.core.graph import Verdict, verdict
from windlass.core.lifecycle import State
from windlass.core.model import (
    KEEP_AT_LEAST,
    MAX_PRIORITY,
    STALE_AFTER,
    STORED,
    Edge,
    EdgeAnswer,
    EnqueueAnswer,
    Enqueued,
    EnqueueResult,
    NewJob,
    Parent,
)
from windlass.core.records import Reason
from windlass.store.sqlite.edges import Cascade, Target
from windlass.store.sqlite.rows import RowStatement, blob
from windlass.store.sqlite.transaction import Transaction
from windlass.store.statements import statements

_SQL = statements("sqlite")
_INSERT_PLAIN, _INSERT_READY = RowStatement(_SQL["insert_plain"]), RowStatement(_SQL["insert_ready"])
_OPEN_LINES, _TAKE_TURNS = _SQL["open_lines"], _SQL["take_turns"]
_UNKNOWN_PARENT = EnqueueAnswer(Enqueued.UNKNOWN_PARENT)


def enqueue(
    tx: Transaction, jobs: Sequence[NewJob] = (), edges: Sequence[Edge] = (), *, first_sent: Instant
) -> EnqueueResult | StaleEnqueue:
    """See `JobStore.enqueue`."""
    if first_sent < tx.now - STALE_AFTER:
        return StaleEnqueue(
            f"first sent {(tx.now - first_sent) / 1e6:.0f} s ago, too long to repeat it safely: look the jobs up by id"
        )
    if not edges and all(map(is_plain, jobs)):
        if jobs:
            _store_ready(tx, jobs)
        return EnqueueResult([STORED] * len(jobs))
    cascade = Cascade(tx)
    answers = store_jobs(tx, jobs, cascade)
    added = [_add_edge(tx, edge, cascade) for edge in edges]
    cascade.run()
    return EnqueueResult(answers, added)


def is_plain(job: NewJob) -> bool:
    """Whether a job is simply ready, and nothing can be said against it."""
    return (
        job.unique is None
        and not job.delay
        and not job.parents
        and job.at is None
        and job.expires_in is None
        and job.expires_at is None
    )


def store_jobs(tx: Transaction, jobs: Sequence[NewJob], cascade: Cascade) -> list[EnqueueAnswer]:
    """Store in the order of the call: plain jobs together, each of the others by itself."""
    answers: list[EnqueueAnswer] = []
    edges = _NewEdges(tx)
    for plain, some in groupby(jobs, is_plain):
        if plain:
            alike = list(some)
            _store_ready(tx, alike)
            answers += [STORED] * len(alike)
        else:
            answers += [_store_one(tx, job, cascade, edges) for job in some]
    edges.write()
    return answers


def _store_ready(tx: Transaction, jobs: Sequence[NewJob]) -> None:
    names, now = tx.names, tx.now
    rows: list[tuple[Any, ...]] = []
    first = tx.sequences(len(jobs))
    for seq, job in enumerate(jobs, first):
        lane = names.lanes.get((job.queue, job.requires)) or names.lane(job.queue, job.requires)
        task = names.tasks.get(job.task) or names.task(job.task)
        rank = MAX_PRIORITY - job.priority
        rows.append((seq, bytearray(job.id), lane, task, rank, seq, now, bytearray(job.payload)))
    if any([job.options is not None or job.limit_key is not None for job in jobs]):  # noqa: C419 - twice as fast
        stored = _INSERT_READY.run(tx.db, _with_turns(rows, jobs))
        # With a job that was stored before, another may be the first of a line.
        tx.execute(_TAKE_TURNS if stored == len(rows) else _OPEN_LINES, (first, first + len(jobs) - 1))
    else:
        _INSERT_PLAIN.run(tx.db, rows)
    tx.hints.ready.update([job.queue for job in jobs])


def _with_turns(rows: Sequence[tuple[Any, ...]], jobs: Sequence[NewJob]) -> list[tuple[Any, ...]]:
    """Add what ``insert_ready`` has in addition. Whichever is the first of its line here may be the first of all."""
    lines: set[tuple[Any, ...]] = set()
    complete = []
    for row, job in zip(rows, jobs, strict=True):
        key = job.limit_key
        turn = None
        if key is not None and (line := (*row[2:5], key)) not in lines:
            lines.add(line)
            turn = row[0]
        complete.append((*row, key, blob(job.options), key is not None, turn))
    return complete


def _store_one(tx: Transaction, job: NewJob, cascade: Cascade, edges: _NewEdges) -> EnqueueAnswer:
    """Store a job that has more to it. Nothing is written before all that may refuse it has been looked at."""
    if tx.execute(_SQL["find_job"], (job.id,)).fetchone() is not None:
        return STORED
    parents = edges.find_parents(job.parents)
    if parents is None:
        return _UNKNOWN_PARENT
    task = tx.names.task(job.task)
    if job.unique is not None:
        edges.write()  # who holds the key may have got a dependant in this call
        holder = tx.execute(_SQL["key_holder"], (task, job.unique.key)).fetchone()
        if holder is not None:
            n, holder_id, holder_state, linked = holder
            if not job.unique.replace or holder_state == State.RUNNING:
                return EnqueueAnswer(Enqueued.DUPLICATE, holder_id)
            cascade.cancel(Target(n, holder_id, linked), Reason.REPLACED)
            # It may be one of the parents.
            parents = edges.find_parents(job.parents) or []
    state, reason = _first_state(tx, job, verdict((parent.policy, mark) for parent, _, mark in parents))
    n = _insert(tx, job, task, state, reason, linked=bool(parents))
    for parent, parent_n, mark in parents:
        edges.add(parent, parent_n, n, mark, closed=state.is_finished)
    if state.is_finished and parents:
        cascade.follow(n, job.id, state)
    return STORED


_FoundParent = tuple[Parent, int, State | None]
"""The edge, the parent's row number, and how it ended, if it has."""


class _NewEdges:
    """Edges of the jobs of one call, written together; and their parents, each of which is looked up once. Many jobs
    often have the same."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx
        self._known: dict[bytes, tuple[int, State | None]] = {}
        """Row number, and how it ended, if it has."""
        self._rows: list[tuple[bytes, int, int, State | None, bool]] = []
        self._gained: dict[tuple[str, int], None] = {}

    def find_parents(self, parents: Sequence[Parent]) -> list[_FoundParent] | None:
        """Look parents up; ``None`` if one is not known. Of two edges to the same parent, the first counts."""
        found: dict[bytes, _FoundParent] = {}
        for parent in parents:
            known = self._known.get(parent.id) or self._look_up(parent.id)
            if known is None:
                return None
            found.setdefault(parent.id, (parent, *known))
        return list(found.values())

    def _look_up(self, id: bytes) -> tuple[int, State | None] | None:
        row = self._tx.execute(_SQL["find_job"], (id,)).fetchone()
        if row is None:
            return None
        known = self._known[id] = row[0], _ended(row[1])
        return known

    def add(self, parent: Parent, parent_n: int, child: int, mark: State | None, *, closed: bool) -> None:
        """Store an edge, with the next `write`."""
        self._rows.append((parent.id, child, parent.policy, mark, closed))
        self._gained["gain_parent" if closed else "gain_dependant", parent_n] = None

    def write(self) -> None:
        """Write what has gathered; what is looked up after it is looked up anew."""
        self._tx.db.executemany(_SQL["insert_edge"], self._rows)
        for name, parent in self._gained:
            self._tx.execute(_SQL[name], (parent,))
        self._rows.clear()
        self._gained.clear()
        self._known.clear()


def _first_state(tx: Transaction, job: NewJob, says: Verdict) -> tuple[State, Reason]:
    expires_at = _expires_at(tx, job)
    if says is Verdict.CANCEL:
        return State.CANCELLED, Reason.PARENT
    if expires_at is not None and expires_at <= tx.now:
        return State.CANCELLED, Reason.EXPIRED
    if says is Verdict.WAIT:
        return State.WAITING, Reason.NONE
    due_at = _due_at(tx, job)
    return State.SCHEDULED if due_at is not None and due_at > tx.now else State.READY, Reason.NONE


def _insert(tx: Transaction, job: NewJob, task: int, state: State, reason: Reason, *, linked: bool) -> int:
    now, finished = tx.now, state.is_finished
    due_at = _due_at(tx, job)
    keep = max(tx.settings.keep, KEEP_AT_LEAST)
    # Row numbers come from the sequences too, so that none is ever used twice; the first position is the same number.
    n = tx.sequences(1)
    holds = None if job.unique is None else -job.unique.until if finished else job.unique.until
    row = (
        n,
        job.id,
        tx.names.lane(job.queue, job.requires),
        task,
        state,
        MAX_PRIORITY - job.priority,
        n if state is State.READY else None,
        linked,
        holds,
        reason,
        now,
        due_at,
        _expires_at(tx, job),
        now if finished else None,
        now + keep if finished and not linked else None,
        keep if finished and linked else None,
        None if job.unique is None else job.unique.key,
        job.limit_key,
        job.options,
        job.payload,
        job.limit_key is not None,
    )
    tx.execute(_SQL["insert_job"], row)
    if state is State.READY:
        if job.limit_key is not None:
            tx.execute(_OPEN_LINES, (n, n))
        tx.hints.ready.add(job.queue)
    elif state is State.SCHEDULED and due_at is not None:
        tx.hints.scheduled(due_at)
    elif finished:
        tx.hints.finished.append(job.id)
    return n


def _due_at(tx: Transaction, job: NewJob) -> Instant | None:
    return tx.now + job.delay if job.delay else job.at


def _expires_at(tx: Transaction, job: NewJob) -> Instant | None:
    return job.expires_at if job.expires_in is None else tx.now + job.expires_in


def _add_edge(tx: Transaction, edge: Edge, cascade: Cascade) -> EdgeAnswer:
    child = tx.execute(_SQL["find_job"], (edge.dependant,)).fetchone()
    if child is None:
        return EdgeAnswer.NOT_WAITING
    child_n, state, _ = child
    if tx.execute(_SQL["find_edge"], (edge.parent, child_n)).fetchone() is not None:
        return EdgeAnswer.ADDED
    if state != State.WAITING:
        return EdgeAnswer.NOT_WAITING
    parent = tx.execute(_SQL["find_job"], (edge.parent,)).fetchone()
    if parent is None:
        return EdgeAnswer.UNKNOWN_PARENT
    mark = _ended(parent[1])
    tx.execute(_SQL["insert_edge"], (edge.parent, child_n, edge.policy, mark, 0))
    tx.execute(_SQL["gain_dependant"], (parent[0],))
    if mark is not None:  # an edge to a parent that is unfinished lets nobody go, and cancels nobody
        cascade.judge([child_n])
    return EdgeAnswer.ADDED


def _ended(state: int) -> State | None:
    ended = State(state)
    return ended if ended.is_finished else None
