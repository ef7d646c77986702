"""Reading: what people, dashboards and waiting callers ask for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from heapq import nlargest
from operator import attrgetter

from windlass.core.lifecycle import State
from windlass.core.records import (
    JobFilter,
    JobPage,
    JobRecord,
    JobResult,
    Limit,
    LimitScope,
    QueueRecord,
    SessionRecord,
)
from windlass.store.memory.data import Data
from windlass.store.memory.records import Job

_SAME = tuple(name for name in JobRecord.__struct_fields__ if name not in {"errors", "unique_key", "log"})
_read_same = attrgetter(*_SAME)


def _record(job: Job, *, full: bool) -> JobRecord:
    return JobRecord(
        **dict(zip(_SAME, _read_same(job), strict=True)),
        errors=list(job.errors) if full else [],
        unique_key=None if job.unique is None else job.unique.key,
        log=job.log if full else "",
    )


def get_jobs(data: Data, ids: Sequence[bytes]) -> list[JobRecord | None]:
    """See `Insights.get_jobs`."""
    found = map(data.jobs.get, ids)
    return [None if job is None else _record(job, full=True) for job in found]


def results(data: Data, ids: Sequence[bytes]) -> list[JobResult | None]:
    """See `Insights.results`."""
    return [_result(job) for job in map(data.jobs.get, ids)]


def _result(job: Job | None) -> JobResult | None:
    if job is None or not job.state.is_finished:
        return None
    return JobResult(job.id, job.state, job.reason, job.result, job.errors[-1] if job.errors else None)


def list_jobs(data: Data, filter: JobFilter, limit: int, cursor: bytes | None) -> JobPage:
    """See `Insights.list_jobs`. Looks at all jobs."""
    fitting = (job.id for job in data.jobs.values() if _fits(job, filter) and (cursor is None or job.id < cursor))
    ids = nlargest(limit + 1, fitting)
    jobs = [_record(data.jobs[key], full=False) for key in ids[:limit]]
    return JobPage(jobs, jobs[-1].id if len(ids) > limit else None)


def _fits(job: Job, filter: JobFilter) -> bool:
    return (
        (filter.states is None or job.state in filter.states)
        and (filter.queue is None or job.queue == filter.queue)
        and (filter.task is None or job.task == filter.task)
    )


def counts(data: Data) -> dict[tuple[str, int], int]:
    """See `Insights.counts`."""
    return dict(Counter((job.queue, int(job.state)) for job in data.jobs.values()))


def queues(data: Data) -> list[QueueRecord]:
    """See `Insights.queues`. Looks at all jobs."""
    unfinished = [job for job in data.jobs.values() if not job.state.is_finished]
    count = Counter((job.queue, job.state) for job in unfinished)
    suspects = Counter(job.queue for job in unfinished if job.suspect and job.state is State.READY)
    oldest: dict[str, int] = {}
    for job in unfinished:
        if job.state is State.READY:
            oldest[job.queue] = min(job.enqueued_at, oldest.get(job.queue, job.enqueued_at))
    records = {limit.name: limit for limit in limits(data, LimitScope.QUEUE)}
    return [
        QueueRecord(
            name=name,
            limit=records.get(name),
            waiting=count[name, State.WAITING],
            scheduled=count[name, State.SCHEDULED],
            ready=count[name, State.READY],
            running=count[name, State.RUNNING],
            suspects=suspects[name],
            oldest_ready_at=oldest.get(name),
        )
        for name in sorted({job.queue for job in unfinished} | set(records))
    ]


def limits(data: Data, scope: LimitScope | None) -> list[Limit]:
    """See `Insights.limits`."""
    return [limit for (of, _), limit in sorted(data.limits.items()) if scope is None or of is scope]


def sessions(data: Data) -> list[SessionRecord]:
    """See `Insights.sessions`."""
    return [
        SessionRecord(
            session=life.session,
            opened_at=life.opened_at,
            lease_until=life.lease_until,
            renewals=life.renewals,
            revoked=life.revoked,
            running=len(data.held.get(key, ())),
            commands=sorted(life.commands),
        )
        for key, life in sorted(data.sessions.items(), key=lambda known: (known[1].opened_at, known[0]))
    ]
