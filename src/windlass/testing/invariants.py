"""What must be true of every store at every moment, whatever has happened to it.

`violations` judges one snapshot; `Watcher` also remembers the snapshots before and, told what was done meanwhile,
judges what became of each job. Pure: no store, no clock. For the state machine after each step, and for system tests
and soaks on whatever store they ran against.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import TypeAlias

from windlass.core.clock import Instant
from windlass.core.graph import EdgePolicy, Verdict, verdict
from windlass.core.lifecycle import TRANSITIONS, Event, State
from windlass.core.model import KEEP_AT_LEAST, MAX_ERRORS, MAX_LOG
from windlass.core.records import JobRecord, Limit, LimitScope, Reason
from windlass.testing.snapshot import Snapshot, without_large


class InvariantBroken(AssertionError):
    """A store is in a state, or has made a step, that no history may lead to."""


Edges: TypeAlias = Mapping[tuple[bytes, bytes], EdgePolicy]
"""(parent, dependant) -> policy, as the caller knows them: the port does not tell."""


def check(snapshot: Snapshot) -> None:
    """Raise `InvariantBroken` with all that is wrong with this snapshot."""
    _raise(violations(snapshot))


def violations(snapshot: Snapshot) -> list[str]:
    """Say what is wrong with this snapshot: nothing, if the store is sound."""
    found = [
        f"{job.id.hex()} ({job.state.word}): {wrong}" for job in snapshot.jobs.values() for wrong in _job_wrongs(job)
    ]
    for rule in (_keys, _sequences, _running, _suspects, _counted, _queued, _listed):
        found += rule(snapshot)
    return found


# ------------------------------------------------------------------------------------------------------ one job


def _job_wrongs(job: JobRecord) -> Iterator[str]:
    for test, wrong in _JOB_RULES:
        if not test(job):
            yield wrong


def _iff(one: bool, other: bool) -> bool:
    return one == other


_CANCEL_REASONS = {Reason.CANCELLED, Reason.EXPIRED, Reason.PARENT, Reason.REPLACED}

_JOB_RULES: list[tuple[Callable[[JobRecord], bool], str]] = [
    (lambda job: _iff(job.state.is_finished, job.finished_at is not None), "finished_at if and only if finished"),
    (lambda job: job.purge_at is None or job.state.is_finished, "purge_at although unfinished"),
    (lambda job: job.state is not State.RUNNING or job.session is not None, "running for nobody"),
    (lambda job: job.state is not State.RUNNING or job.started_at is not None, "running, never started"),
    (lambda job: job.state is not State.RUNNING or job.token > 0, "running without a claim"),
    (lambda job: job.state is not State.RUNNING or job.attempt > 0, "running attempt 0"),
    (lambda job: job.state not in {State.READY, State.RUNNING} or job.sequence is not None, "no place in its lane"),
    (lambda job: job.state is not State.SCHEDULED or job.due_at is not None, "scheduled for never"),
    (lambda job: job.state is not State.WAITING or job.parents_open > 0, "waits for nothing"),
    (lambda job: job.parents_open >= 0, "fewer than no parents"),
    (lambda job: 0 <= job.attempt <= job.token, "more attempts than claims"),
    (lambda job: job.failures + job.snoozes <= job.token, "more failures and snoozes than claims"),
    (lambda job: 0 <= job.losses <= job.token, "more losses than claims"),
    (lambda job: not job.suspect or job.losses >= 2 or job.state.is_finished, "suspect with fewer than two losses"),
    (lambda job: job.suspect or job.losses < 2 or job.state.is_finished, "two losses, and not suspect"),
    (lambda job: not job.cancel_requested or _may_be_flagged(job), "asked to cancel, and yet unstarted"),
    (lambda job: job.result is None or job.state is State.SUCCEEDED, "a result without success"),
    (lambda job: _iff(job.state is State.CANCELLED, job.reason in _CANCEL_REASONS), "cancelled without a reason"),
    (lambda job: job.reason is not Reason.LOST or job.state is State.DEAD, "lost, but not dead"),
    (lambda job: job.reason is not Reason.SKIPPED or job.state is State.SUCCEEDED, "skipped, but not succeeded"),
    (lambda job: job.reason is not Reason.EXPIRED or job.expires_at is not None, "expired without an expiry"),
    (lambda job: job.reason is not Reason.EXPIRED or job.attempt == 0, "expired after it had started"),
    (lambda job: len(job.errors) <= MAX_ERRORS, "too many errors kept"),
    (lambda job: len(job.log.encode()) <= MAX_LOG, "too long a log kept"),
]
"""(what must hold of each job, what to say otherwise)."""


def _may_be_flagged(job: JobRecord) -> bool:
    """The flag is for a running job, and stays on the record of one that it caught up with."""
    return job.state is State.RUNNING or job.state.is_finished


# ------------------------------------------------------------------------------------------------- jobs together


def _keys(snapshot: Snapshot) -> Iterator[str]:
    """A job that was never claimed holds its key; of another one the record does not say until when it held it."""
    return _shared_keys(job for job in snapshot.unfinished() if job.token == 0)


def _shared_keys(holders: Iterable[JobRecord]) -> Iterator[str]:
    held = Counter((job.task, job.unique_key) for job in holders if job.unique_key is not None)
    for (task, key), count in held.items():
        if count > 1:
            yield f"{count} unfinished jobs of {task} hold the unique key {key!r}"


def _sequences(snapshot: Snapshot) -> Iterator[str]:
    placed = [job for job in snapshot.jobs.values() if job.state in {State.READY, State.RUNNING}]
    for sequence, count in Counter(job.sequence for job in placed).items():
        if count > 1:
            yield f"{count} jobs share the sequence {sequence}"


def _running(snapshot: Snapshot) -> Iterator[str]:
    by_session = Counter(job.session for job in snapshot.running())
    for key, record in snapshot.sessions.items():
        if record.running != by_session[key]:
            yield f"session {key.hex()} says {record.running} running, its jobs say {by_session[key]}"
    for session in by_session:
        if session not in snapshot.sessions:
            yield f"jobs run for the session {session and session.hex()}, which is not known"


def _suspects(snapshot: Snapshot) -> Iterator[str]:
    running = snapshot.running()
    beside = Counter(job.session for job in running)
    for job in running:
        if job.suspect and beside[job.session] > 1:
            yield f"{job.id.hex()} is suspect and runs beside {beside[job.session] - 1} others of its session"


def _counted(snapshot: Snapshot) -> Iterator[str]:
    real = Counter((job.queue, int(job.state)) for job in snapshot.jobs.values())
    said = {key: count for key, count in snapshot.counts.items() if count}
    if dict(real) != said:
        yield f"counts say {said}, the jobs say {dict(real)}"


def _queued(snapshot: Snapshot) -> Iterator[str]:
    for name, queue in snapshot.queues.items():
        jobs = [job for job in snapshot.unfinished() if job.queue == name]
        real = Counter(job.state for job in jobs)
        said = (queue.waiting, queue.scheduled, queue.ready, queue.running)
        true = (real[State.WAITING], real[State.SCHEDULED], real[State.READY], real[State.RUNNING])
        if said != true:
            yield f"queue {name} says (waiting, scheduled, ready, running) = {said}, its jobs say {true}"
        ready = [job for job in jobs if job.state is State.READY]
        if queue.suspects != sum(job.suspect for job in ready):
            yield f"queue {name} says {queue.suspects} suspects, its jobs say otherwise"
        # Which of them was stored first, the records do not say where the clock was set back.
        times: set[Instant | None] = {job.enqueued_at for job in ready} or {None}
        if queue.oldest_ready_at not in times:
            yield f"queue {name} says that its oldest ready job is of {queue.oldest_ready_at}"
    missing = {job.queue for job in snapshot.unfinished()} - set(snapshot.queues)
    missing |= {limit.name for limit in snapshot.limits if limit.scope is LimitScope.QUEUE} - set(snapshot.queues)
    if missing:
        yield f"queues() leaves out {sorted(missing)}"


def _listed(snapshot: Snapshot) -> Iterator[str]:
    ids = [job.id for job in snapshot.listed]
    if ids != sorted(set(ids), reverse=True):
        yield "list_jobs is not ordered by id, newest first, each once"
    for short in snapshot.listed:
        job = snapshot.jobs.get(short.id)
        if job is None:
            yield f"{short.id.hex()} is listed, and get_jobs does not know it"
        elif short != without_large(job):
            yield f"{short.id.hex()} is not the same in list_jobs and get_jobs"


# -------------------------------------------------------------------------------------------------------- graphs


def graph_violations(
    snapshot: Snapshot, edges: Edges, *, pending: bool, replayed: Collection[bytes] = ()
) -> Iterator[str]:
    """Say where jobs and their edges contradict each other.

    Args:
        snapshot: what the store says.
        edges: all that were ever stored.
        pending: edges may wait behind a cursor, so that a dependant may lag behind its parents.
        replayed: jobs replayed at some time. Edges from and to them are armed anew, so that the states of the
            parents alone no longer say what the marks are; they are left out.
    """
    again = frozenset(replayed)
    for job in snapshot.jobs.values():
        parents = [(parent, policy) for (parent, child), policy in edges.items() if child == job.id]
        known = not again & {job.id, *(parent for parent, _ in parents)}
        if parents and known and all(parent in snapshot.jobs for parent, _ in parents):
            ends = [(policy, _ended(snapshot.jobs[parent])) for parent, policy in parents]
            yield from _judge(job, verdict(ends), pending=pending)
    yield from _retention(snapshot, edges)


def _judge(job: JobRecord, says: Verdict, *, pending: bool) -> Iterator[str]:
    if says is not Verdict.GO and job.state in {State.SCHEDULED, State.READY, State.RUNNING}:
        yield f"{job.id.hex()} is {job.state.word}, its parents say {says.name}"
    if says is not Verdict.CANCEL and job.reason is Reason.PARENT:
        yield f"{job.id.hex()} is cancelled for its parents, which say {says.name}"
    if says is not Verdict.WAIT and job.state is State.WAITING and not pending:
        yield f"{job.id.hex()} is forgotten: it waits, its parents say {says.name}"


def _retention(snapshot: Snapshot, edges: Edges) -> Iterator[str]:
    for parent, child in edges:
        above, below = snapshot.jobs.get(parent), snapshot.jobs.get(child)
        if below is None or below.state.is_finished:
            continue
        if above is None:
            yield f"{parent.hex()} is gone, and its dependant {child.hex()} is still {below.state.word}"
        elif above.purge_at is not None:
            yield f"{parent.hex()} may be purged, and its dependant {child.hex()} is still {below.state.word}"


def _ended(job: JobRecord) -> State | None:
    return job.state if job.state.is_finished else None


# ------------------------------------------------------------------------------------------- from step to step


def _closure(without: Collection[Event]) -> frozenset[tuple[State, State]]:
    """Which states can follow which, over any number of transitions."""
    step: dict[State, set[State]] = {state: {state} for state in State}
    for (state, event), following in TRANSITIONS.items():
        if event not in without:
            step[state] |= following
            # A cancel request turns whatever ends an attempt into a cancellation.
            step[state] |= {State.CANCELLED} if state is State.RUNNING else set()
    for _ in State:
        step = {state: set().union(*(step[then] for then in reached)) for state, reached in step.items()}
    return frozenset((state, then) for state, reached in step.items() for then in reached)


_REACHABLE = _closure(without=[Event.REPLAY])

_FROZEN = tuple(
    field
    for field in JobRecord.__struct_fields__
    # Purging and edges go on after a job has finished.
    if field not in {"purge_at", "parents_open"}
)
_NEVER = ("id", "task", "queue", "requires", "payload", "options", "limit_key", "enqueued_at", "priority")
_COUNTERS = ("failures", "losses", "snoozes")


@dataclass(slots=True)
class Watcher:
    """Remembers what a store said, and raises `InvariantBroken` when the next snapshot cannot follow from it."""

    edges: dict[tuple[bytes, bytes], EdgePolicy] = field(default_factory=dict)
    """Fill in as they are stored."""
    acknowledged: set[bytes] = field(default_factory=set)
    """Ids that an `enqueue` answered ``STORED`` and no snapshot has shown yet. Fill in; emptied by `see`."""
    until_started: set[bytes] = field(default_factory=set)
    """Ids of jobs that give up their unique key when they are claimed. Fill in."""
    unjudged: set[bytes] = field(default_factory=set)
    """Ids of jobs whose edges are not all in `edges`, so that their end cannot be judged by those. Fill in."""
    _last: Snapshot | None = None
    _replayed: set[bytes] = field(default_factory=set)

    def see(self, snapshot: Snapshot, *, replayed: Collection[bytes] = (), pending: bool = False) -> None:
        """Judge the snapshot by itself and by the one before.

        Args:
            snapshot: what the store says now.
            replayed: jobs for which `replay` was called since the last snapshot.
            pending: `release_edges` may have something to do.
        """
        self._replayed |= set(replayed)
        wrongs = violations(snapshot)
        wrongs += graph_violations(snapshot, self.edges, pending=pending, replayed=self._replayed | self.unjudged)
        wrongs += [f"{lost.hex()} was stored, and is not" for lost in self.acknowledged - set(snapshot.jobs)]
        wrongs += _shared_keys(
            job for job in snapshot.unfinished() if job.token == 0 or job.id not in self.until_started
        )
        if self._last is not None:
            for before in self._last.jobs.values():
                wrongs += _succession(before, snapshot.jobs.get(before.id), snapshot.now, before.id in replayed)
            wrongs += _limits_kept(self._last, snapshot)
        self._last = snapshot
        self.acknowledged.clear()
        _raise(wrongs)


def _succession(before: JobRecord, after: JobRecord | None, now: Instant, replayed: bool) -> Iterator[str]:
    wrongs: Iterator[str]
    if after is None:
        wrongs = (f"vanished: {why}" for why in _why_kept(before, now))
    elif replayed:
        wrongs = _change(before, after)
    else:
        wrongs = chain(_change(before, after), _change_by_itself(before, after))
    for wrong in wrongs:
        yield f"{before.id.hex()} ({before.state.word}): {wrong}"


def _change(before: JobRecord, after: JobRecord) -> Iterator[str]:
    for what in _NEVER:
        if getattr(before, what) != getattr(after, what):
            yield f"{what} changed to {getattr(after, what)!r}"
    if after.token < before.token:
        yield f"the token went back from {before.token} to {after.token}"
    if after.token - after.attempt < before.token - before.attempt:
        yield f"attempts {before.attempt} of {before.token} became {after.attempt} of {after.token}"


def _change_by_itself(before: JobRecord, after: JobRecord) -> Iterator[str]:
    if (before.state, after.state) not in _REACHABLE:
        yield f"became {after.state.word}"
    for what in _FROZEN if before.state.is_finished else ():
        if getattr(before, what) != getattr(after, what):
            yield f"finished, and {what} became {getattr(after, what)!r}"
    for what in _COUNTERS:
        if getattr(after, what) < getattr(before, what):
            yield f"{what} went back from {getattr(before, what)} to {getattr(after, what)}"


def _why_kept(job: JobRecord, now: Instant) -> Iterator[str]:
    if job.finished_at is None:
        yield "it was not finished"
    elif job.purge_at is None:
        yield "dependants were unfinished"
    elif now < job.finished_at + KEEP_AT_LEAST:
        yield "it finished too short ago"


def _limits_kept(before: Snapshot, after: Snapshot) -> Iterator[str]:
    """No limit is exceeded by what started since: more may run only if more ran before the limit came."""
    named = {limit.name for limit in after.limits if limit.scope is LimitScope.KEY}
    for limit in after.limits:
        if limit.concurrency is None:
            continue
        now, then = (_running_under(limit, snapshot, named) for snapshot in (after, before))
        for name, count in now.items():
            if count > max(limit.concurrency, then[name]):
                yield f"{count} run under {limit.scope.name} {name}, which is limited to {limit.concurrency}"


def _running_under(limit: Limit, snapshot: Snapshot, named: Collection[str]) -> Counter[str]:
    """How many run under each name that the limit governs: its own or, for a group, each key of it."""
    running = snapshot.running()
    if limit.scope is LimitScope.QUEUE:
        return Counter(job.queue for job in running if job.queue == limit.name)
    if limit.scope is LimitScope.TASK:
        return Counter(job.task for job in running if job.task == limit.name)
    keys = (job.limit_key for job in running if job.limit_key is not None)
    return Counter(key for key in keys if _record_of(key, named) == limit.name)


def _record_of(key: str, named: Collection[str]) -> str | None:
    """The record that governs a limit key: its own, or else its group's."""
    return next((name for name in (key, key.partition(":")[0]) if name in named), None)


def _raise(wrongs: Iterable[str]) -> None:
    lines = list(wrongs)
    if lines:
        raise InvariantBroken("\n".join(lines))
