"""Storing jobs, and edges to jobs that wait."""

from __future__ import annotations

from collections.abc import Sequence

from windlass.core.clock import Instant
from windlass.core.errors import StaleEnqueue
from windlass.core.graph import Verdict, verdict
from windlass.core.lifecycle import Event, State, after
from windlass.core.model import (
    STALE_AFTER,
    STORED,
    Edge,
    EdgeAnswer,
    EnqueueAnswer,
    Enqueued,
    EnqueueResult,
    NewJob,
    Unique,
)
from windlass.core.records import Reason
from windlass.store.memory.cascade import Cascade, add_link
from windlass.store.memory.data import Data, Step
from windlass.store.memory.records import Job, Link

_UNKNOWN_PARENT = EnqueueAnswer(Enqueued.UNKNOWN_PARENT)


def enqueue(step: Step, jobs: Sequence[NewJob], edges: Sequence[Edge], first_sent: Instant) -> EnqueueResult:
    """See `JobStore.enqueue`."""
    age = step.now - first_sent
    if age > STALE_AFTER:
        raise StaleEnqueue(f"first sent {age / 1e6:.0f} s ago, too long to repeat it safely: look the jobs up by id")
    cascade = Cascade(step)
    answers = [store_job(step, new, cascade) for new in jobs]
    added = [_add_edge(step, edge, cascade) for edge in edges]
    cascade.run()
    return EnqueueResult(answers, added)


def store_job(step: Step, new: NewJob, cascade: Cascade) -> EnqueueAnswer:
    """Store one job. Nothing is changed before all that may refuse it has been looked at."""
    data = step.data
    if new.id in data.jobs:
        return STORED
    if any(parent.id not in data.jobs for parent in new.parents):
        return _UNKNOWN_PARENT
    holder = _holder(data, new.task, new.unique)
    if holder is not None and new.unique is not None:
        if not new.unique.replace or holder.state is State.RUNNING:
            return EnqueueAnswer(Enqueued.DUPLICATE, holder.id)
        cascade.cancel(holder, Event.CANCEL, Reason.REPLACED)
    _begin(step, _new_job(step, new), _links(data, new), cascade)
    return STORED


def _holder(data: Data, task: str, unique: Unique | None) -> Job | None:
    return None if unique is None else data.keys.get((task, unique.key))


def _links(data: Data, new: NewJob) -> list[Link]:
    """The edges of a new job, as their parents stand now. Of two edges to the same parent, the first counts."""
    links: dict[bytes, Link] = {}
    for parent in new.parents:
        links.setdefault(parent.id, Link(parent.id, new.id, parent.policy, _ended(data.jobs[parent.id])))
    return list(links.values())


def _ended(job: Job) -> State | None:
    return job.state if job.state.is_finished else None


def _new_job(step: Step, new: NewJob) -> Job:
    step.data.numbers += 1
    return Job(
        number=step.data.numbers,
        id=new.id,
        task=new.task,
        queue=new.queue,
        requires=new.requires,
        priority=new.priority,
        payload=new.payload,
        options=new.options,
        unique=new.unique,
        limit_key=new.limit_key,
        enqueued_at=step.now,
        due_at=step.now + new.delay if new.delay else new.at,
        expires_at=new.expires_at if new.expires_in is None else step.now + new.expires_in,
    )


def _begin(step: Step, job: Job, links: list[Link], cascade: Cascade) -> None:
    """Give a new job its first state. All are born waiting; most go on at once."""
    step.data.jobs[job.id] = job
    if job.unique is not None:
        step.data.keys[job.task, job.unique.key] = job
    says = verdict((link.policy, link.mark) for link in links)
    if says is Verdict.CANCEL:
        cascade.cancel(job, Event.PARENT_FAILED, Reason.PARENT)
    elif job.is_expired(step.now):
        cascade.cancel(job, Event.EXPIRE, Reason.EXPIRED)
    elif says is Verdict.WAIT:
        step.data.enter(job)
    else:
        later = job.due_at is not None and job.due_at > step.now
        step.make_later_or_ready(job, after(job.state, Event.PARENTS_SETTLED, later=later))
    for link in links:
        add_link(step, job, link)


def _add_edge(step: Step, edge: Edge, cascade: Cascade) -> EdgeAnswer:
    jobs = step.data.jobs
    dependant, parent = jobs.get(edge.dependant), jobs.get(edge.parent)
    if dependant is None:
        return EdgeAnswer.NOT_WAITING
    if edge.parent in dependant.parents:
        return EdgeAnswer.ADDED
    if dependant.state is not State.WAITING:
        return EdgeAnswer.NOT_WAITING
    if parent is None:
        return EdgeAnswer.UNKNOWN_PARENT
    add_link(step, dependant, Link(edge.parent, edge.dependant, edge.policy, _ended(parent)))
    cascade.judge(dependant)
    return EdgeAnswer.ADDED
