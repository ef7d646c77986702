"""What people do to jobs."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from windlass.core.clock import Instant
from windlass.core.graph import EdgePolicy, Verdict, verdict
from windlass.core.lifecycle import Event, State, after
from windlass.core.model import KEEP_AT_LEAST
from windlass.core.records import CancelAnswer, Limit, LimitScope, Reason, ReplayAnswer, SkipAnswer
from windlass.store.memory import limits
from windlass.store.memory.cascade import Cascade, hold_parent, remove_job, set_mark
from windlass.store.memory.data import Data, Step
from windlass.store.memory.records import Job, Link


def cancel(step: Step, ids: Sequence[bytes]) -> list[CancelAnswer]:
    """See `JobStore.cancel`."""
    cascade = Cascade(step)
    answers = [_cancel_one(step, job, cascade) for job in ids]
    cascade.run()
    return answers


def _cancel_one(step: Step, id: bytes, cascade: Cascade) -> CancelAnswer:
    job = step.data.jobs.get(id)
    if job is None:
        return CancelAnswer.UNKNOWN
    if job.state.is_finished:
        return CancelAnswer.FINISHED
    if job.state is not State.RUNNING:
        cascade.cancel(job, Event.CANCEL, Reason.CANCELLED)
        return CancelAnswer.CANCELLED
    if not job.cancel_requested and job.session is not None:
        job.cancel_requested = True
        step.hints.add(f"session/{job.session.hex()}")
    return CancelAnswer.REQUESTED


def replay(step: Step, ids: Sequence[bytes]) -> list[ReplayAnswer]:
    """See `JobStore.replay`."""
    return [_replay_one(step, job) for job in ids]


def _replay_one(step: Step, id: bytes) -> ReplayAnswer:
    job = step.data.jobs.get(id)
    if job is None:
        return ReplayAnswer.UNKNOWN
    if job.state not in (State.DEAD, State.CANCELLED):
        return ReplayAnswer.NOT_DEAD
    if not _take_key(step.data, job):
        return ReplayAnswer.KEY_HELD
    _rearm_dependants(step.data, job)
    waits = _rearm_parents(step, job)
    state = after(job.state, Event.REPLAY, parents_open=waits)
    _begin_anew(job)
    if state is State.WAITING:
        step.move(job, state)
    else:
        step.make_ready(job)
    return ReplayAnswer.REPLAYED


def _take_key(data: Data, job: Job) -> bool:
    """Take the job's unique key again, if it has not given it up for good; say whether there is nothing against it."""
    if job.unique is None or job.gave_up_key:
        return True
    return data.keys.setdefault((job.task, job.unique.key), job) is job


def _begin_anew(job: Job) -> None:
    job.failures = job.losses = job.snoozes = 0
    job.suspect = job.cancel_requested = False
    job.reason = Reason.NONE
    job.due_at = job.expires_at = job.undeliverable_since = job.finished_at = job.purge_at = None
    job.result = job.progress = job.message = None
    job.log = ""


def _rearm_dependants(data: Data, job: Job) -> None:
    """Let the job's next end be marked on its edges to dependants, those that still wait for others included."""
    data.behind.pop(job.id, None)
    waiting = [link for link in job.marked.values() if data.jobs[link.dependant].state is State.WAITING]
    for link in waiting:
        set_mark(data.jobs[link.dependant], link, None)
        del job.marked[link.dependant]
    job.armed |= job.marking | {link.dependant: link for link in waiting}
    job.marking = {}


def _rearm_parents(step: Step, job: Job) -> bool:
    """Mark the job's own edges as their parents stand now; say whether it has to wait for one."""
    for link in job.parents.values():
        parent = step.data.jobs.get(link.parent)
        if parent is not None:  # else the edge keeps the mark that it had
            _rearm(job, link, parent)
            hold_parent(step, job, link)
    return job.parents_open > 0 and verdict(job.tally) is not Verdict.GO


def _rearm(job: Job, link: Link, parent: Job) -> None:
    """Mark one edge anew. One that its parent's end does not satisfy waits for another end: a replay."""
    satisfies = parent.state is State.SUCCEEDED or link.policy is not EdgePolicy.SUCCEEDED
    mark = parent.state if parent.state.is_finished and satisfies else None
    for links in (parent.armed, parent.marking, parent.marked):
        links.pop(job.id, None)
    (parent.armed if mark is None else parent.marked)[job.id] = link
    set_mark(job, link, mark)


def skip(step: Step, id: bytes, result: bytes) -> SkipAnswer:
    """See `JobStore.skip`."""
    job = step.data.jobs.get(id)
    if job is None:
        return SkipAnswer.UNKNOWN
    if job.state >= State.RUNNING:
        return SkipAnswer.STARTED
    cascade = Cascade(step)
    cascade.finish(job, after(job.state, Event.SKIP), step.settings.keep, Reason.SKIPPED, result)
    cascade.run()
    return SkipAnswer.SKIPPED


def reschedule(step: Step, ids: Sequence[bytes], at: Instant) -> list[bool]:
    """See `JobStore.reschedule`."""
    answers = []
    for job in map(step.data.jobs.get, ids):
        answers.append(job is not None and job.state is State.SCHEDULED)
        if job is not None and answers[-1]:
            job.due_at = max(at, step.now)
            step.make_scheduled(job)
    return answers


def put_limit(step: Step, limit: Limit) -> None:
    """See `JobStore.put_limit`."""
    stored = _limit(step.data, limit.scope, limit.name)
    _put(step, msgspec.structs.replace(limit, paused=stored.paused))


def pause(step: Step, scope: LimitScope, name: str, *, paused: bool) -> None:
    """See `JobStore.pause`."""
    _put(step, msgspec.structs.replace(_limit(step.data, scope, name), paused=paused))


def _limit(data: Data, scope: LimitScope, name: str) -> Limit:
    return data.limits.get((scope, name)) or Limit(scope=scope, name=name)


def _put(step: Step, limit: Limit) -> None:
    limits.put_limit(step, limit)
    step.hints.add("limits")


def delete(step: Step, ids: Sequence[bytes]) -> int:
    """See `JobStore.delete`."""
    jobs = [job for job in map(step.data.jobs.get, dict.fromkeys(ids)) if job is not None]
    old = [job for job in jobs if job.finished_at is not None and job.finished_at + KEEP_AT_LEAST <= step.now]
    deletable = [job for job in old if not job.kept_for and job.id not in step.data.behind]
    for job in deletable:
        remove_job(step, job)
    return len(deletable)
