"""Storing jobs, and edges to jobs that wait."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
from windlass.store.sqlite.edges import FEW, Cascade, Target, is_needed
from windlass.store.sqlite.rows import RowStatement, blob
from windlass.store.sqlite.transaction import Transaction
from windlass.store.statements import statements

_SQL = statements("sqlite")
_INSERT_PLAIN, _INSERT_READY = RowStatement(_SQL["insert_plain"]), RowStatement(_SQL["insert_ready"])
_INSERT_LINKED, _INSERT_OPEN_EDGE = RowStatement(_SQL["insert_linked"]), RowStatement(_SQL["insert_open_edge"])
_GAIN_DEPENDANTS, _GAIN_NEEDS = RowStatement(_SQL["gain_dependants"]), RowStatement(_SQL["gain_needs"])
_FIND_JOBS, _FIND_EDGES = RowStatement(_SQL["find_jobs"]), RowStatement(_SQL["find_edges"])
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
    added = _add_edges(tx, edges, cascade)
    cascade.run()
    return EnqueueResult(answers, added)


def is_plain(job: NewJob) -> bool:
    """Whether a job is simply ready, and nothing can be said against it."""
    return not job.parents and _is_at_once(job)


def _is_at_once(job: NewJob) -> bool:
    """Whether nothing but parents can keep a job from being stored, and from being ready."""
    return job.unique is None and not job.delay and job.at is None and job.expires_in is None and job.expires_at is None


def store_jobs(tx: Transaction, jobs: Sequence[NewJob], cascade: Cascade) -> list[EnqueueAnswer]:
    """Store in the order of the call: plain jobs together, and those that only have parents; the others one by one."""
    answers: list[EnqueueAnswer] = []
    edges = _NewEdges(tx)
    for (at_once, linked), some in groupby(jobs, lambda job: (_is_at_once(job), bool(job.parents))):
        alike = list(some)
        if not at_once:
            answers += [_store_one(tx, job, cascade, edges) for job in alike]
        elif linked:
            answers += _store_linked(tx, alike, cascade, edges)
        else:
            _store_ready(tx, alike)
            answers += [STORED] * len(alike)
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


def _store_linked(tx: Transaction, jobs: Sequence[NewJob], cascade: Cascade, edges: _NewEdges) -> list[EnqueueAnswer]:
    """Store jobs that have nothing but parents."""
    if len(jobs) < FEW:
        return [_store_one(tx, job, cascade, edges) for job in jobs]
    there = {row[0] for row in _FIND_JOBS.fetch(tx.db, [(bytearray(job.id),) for job in jobs])}
    edges.look_up([parent.id for job in jobs for parent in job.parents])
    answers: list[EnqueueAnswer] = []
    rows: list[tuple[Any, ...]] = []
    for n, job in enumerate(jobs, tx.sequences(len(jobs))):
        if job.id in there:
            answers.append(STORED)
            continue
        parents = edges.find_parents(job.parents)
        if parents is None:
            answers.append(_UNKNOWN_PARENT)
            continue
        there.add(job.id)
        says = verdict((parent.policy, mark) for parent, _, mark in parents)
        if says is Verdict.WAIT:
            rows.append(_linked_row(tx, n, job, _needs(parents)))
            edges.remember(job.id, n)
            for parent, parent_n, mark in parents:
                edges.add(parent, parent_n, n, mark, closed=False)
            answers.append(STORED)
        else:
            answers.append(_store_one(tx, job, cascade, edges))
    _INSERT_LINKED.run(tx.db, rows)
    return answers


def _linked_row(tx: Transaction, n: int, job: NewJob, needs: int) -> tuple[Any, ...]:
    names = tx.names
    lane = names.lanes.get((job.queue, job.requires)) or names.lane(job.queue, job.requires)
    task = names.tasks.get(job.task) or names.task(job.task)
    aside = job.limit_key is not None
    rank = MAX_PRIORITY - job.priority
    payload = bytearray(job.payload)
    return n, bytearray(job.id), lane, task, rank, needs, tx.now, job.limit_key, blob(job.options), payload, aside


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
    n = _insert(tx, job, task, state, reason, linked=bool(parents), needs=_needs(parents))
    for parent, parent_n, mark in parents:
        edges.add(parent, parent_n, n, mark, closed=state.is_finished)
    if state.is_finished and parents:
        cascade.follow_closed(n, job.id, state)
    return STORED


_FoundParent = tuple[Parent, int, State | None]
"""The edge, the parent's row number, and how it ended, if it has."""


def _needs(parents: Sequence[_FoundParent]) -> int:
    return sum(is_needed(parent.policy) for parent, _, mark in parents if mark is None)


class _NewEdges:
    """Edges of the jobs of one call, written together; and their parents, each of which is looked up once. Many jobs
    often have the same."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx
        self._known: dict[bytes, tuple[int, State | None]] = {}
        """Row number, and how it ended, if it has."""
        self._rows: list[tuple[bytes, int, int, State | None]] = []
        self._gained: dict[int, int] = {}
        """Parents, by row number, with how many dependants more they have that are unfinished."""

    def find_parents(self, parents: Sequence[Parent]) -> list[_FoundParent] | None:
        """Look parents up; ``None`` if one is not known. Of two edges to the same parent, the first counts."""
        found: dict[bytes, _FoundParent] = {}
        for parent in parents:
            known = self._known.get(parent.id) or self._look_up(parent.id)
            if known is None:
                return None
            found.setdefault(parent.id, (parent, *known))
        return list(found.values())

    def look_up(self, ids: Sequence[bytes]) -> None:
        """Look parents up together, so far as they are not known."""
        new = dict.fromkeys(id_ for id_ in ids if id_ not in self._known)
        for id_, n, state in _FIND_JOBS.fetch(self._tx.db, [(bytearray(id_),) for id_ in new]) if new else ():
            self._known[id_] = n, _ended(state)

    def remember(self, id: bytes, n: int) -> None:
        """Know a job of this call as one that waits: until the next `write` it may not be in its table."""
        self._known[id] = n, None

    def _look_up(self, id: bytes) -> tuple[int, State | None] | None:
        row = self._tx.execute(_SQL["find_job"], (id,)).fetchone()
        if row is None:
            return None
        known = self._known[id] = row[0], _ended(row[1])
        return known

    def add(self, parent: Parent, parent_n: int, child: int, mark: State | None, *, closed: bool) -> None:
        """Store an edge, with the next `write`."""
        self._rows.append((parent.id, child, parent.policy, mark))
        self._gained[parent_n] = self._gained.get(parent_n, 0) + (not closed)

    def write(self) -> None:
        """Write what has gathered; what is looked up after it is looked up anew."""
        unmarked = [(bytearray(row[0]), *row[1:3]) for row in self._rows if row[3] is None]
        _INSERT_OPEN_EDGE.run(self._tx.db, unmarked)
        if len(unmarked) < len(self._rows):
            self._tx.db.executemany(_SQL["insert_edge"], [row for row in self._rows if row[3] is not None])
        _gain_dependants(self._tx, self._gained)
        self._rows.clear()
        self._gained.clear()
        self._known.clear()


def _gain_dependants(tx: Transaction, gained: Mapping[int, int]) -> None:
    _GAIN_DEPENDANTS.run(tx.db, [(count, n) for n, count in gained.items() if count])
    for n, count in gained.items():
        if not count:  # its dependants were finished when they were stored
            tx.execute(_SQL["gain_parent"], (n,))


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


def _insert(tx: Transaction, job: NewJob, task: int, state: State, reason: Reason, *, linked: bool, needs: int) -> int:
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
        needs,
        holds,
        reason,
        now,
        due_at,
        _expires_at(tx, job),
        now if finished else None,
        now + keep if finished else None,
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


def _add_edges(tx: Transaction, edges: Sequence[Edge], cascade: Cascade) -> list[EdgeAnswer]:
    """Store edges to jobs that wait: together, if all parents are unfinished, so that nobody is let go meanwhile."""
    if len(edges) < FEW:
        return [_add_edge(tx, edge, cascade) for edge in edges]
    ids = dict.fromkeys(id_ for edge in edges for id_ in (edge.parent, edge.dependant))
    found = {row[0]: row[1:] for row in _FIND_JOBS.fetch(tx.db, [(bytearray(id_),) for id_ in ids])}
    if any(edge.parent in found and State(found[edge.parent][1]).is_finished for edge in edges):
        return [_add_edge(tx, edge, cascade) for edge in edges]
    pairs = [(bytearray(edge.parent), found[edge.dependant][0]) for edge in edges if edge.dependant in found]
    there = set(_FIND_EDGES.fetch(tx.db, pairs)) if pairs else set()
    answers: list[EdgeAnswer] = []
    rows: list[tuple[Any, ...]] = []
    gained: dict[int, int] = {}
    needs: dict[int, int] = {}
    for edge in edges:
        child, parent = found.get(edge.dependant), found.get(edge.parent)
        if child is not None and (edge.parent, child[0]) in there:
            answers.append(EdgeAnswer.ADDED)
        elif child is None or child[1] != State.WAITING:
            answers.append(EdgeAnswer.NOT_WAITING)
        elif parent is None:
            answers.append(EdgeAnswer.UNKNOWN_PARENT)
        else:
            there.add((edge.parent, child[0]))
            rows.append((bytearray(edge.parent), child[0], edge.policy))
            gained[parent[0]] = gained.get(parent[0], 0) + 1
            needs[child[0]] = needs.get(child[0], 0) + is_needed(edge.policy)
            answers.append(EdgeAnswer.ADDED)
    _INSERT_OPEN_EDGE.run(tx.db, rows)
    _gain_dependants(tx, gained)
    _GAIN_NEEDS.run(tx.db, [(count, n) for n, count in needs.items() if count])
    return answers


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
    tx.execute(_SQL["insert_edge"], (edge.parent, child_n, edge.policy, mark))
    _gain_dependants(tx, {parent[0]: 1})
    if mark is None:  # lets nobody go, and cancels nobody
        _GAIN_NEEDS.run(tx.db, [(is_needed(edge.policy), child_n)])
    else:
        cascade.judge({child_n: 0})
    return EdgeAnswer.ADDED


def _ended(state: int) -> State | None:
    ended = State(state)
    return ended if ended.is_finished else None
