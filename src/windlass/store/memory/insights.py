"""Reading: what people, dashboards and waiting callers ask for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from heapq import nlargest, nsmallest
from operator import attrgetter

import msgspec

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
from windlass.core.remote import is_named
from windlass.store.memory.data import Data
from windlass.store.memory.records import Job

_LARGE = {"payload", "options", "result", "errors", "log"}
_SAME = tuple(name for name in JobRecord.__struct_fields__ if name not in {"unique_key", *_LARGE})
_read_same = attrgetter(*_SAME)


def _record(job: Job) -> JobRecord:
    """All but what may be large."""
    return JobRecord(
        **dict(zip(_SAME, _read_same(job), strict=True)),
        payload=b"",
        options=None,
        unique_key=None if job.unique is None else job.unique.key,
    )


def _full_record(job: Job) -> JobRecord:
    return msgspec.structs.replace(
        _record(job), payload=job.payload, options=job.options, result=job.result, errors=list(job.errors), log=job.log
    )


def get_jobs(data: Data, ids: Sequence[bytes]) -> list[JobRecord | None]:
    """See `Insights.get_jobs`."""
    found = map(data.jobs.get, ids)
    return [None if job is None else _full_record(job) for job in found]


def results(data: Data, ids: Sequence[bytes]) -> list[JobResult | None]:
    """See `Insights.results`."""
    return [_result(job) for job in map(data.jobs.get, ids)]


def _result(job: Job | None) -> JobResult | None:
    if job is None or not job.state.is_finished:
        return None
    return JobResult(job.id, job.state, job.reason, job.result, job.errors[-1] if job.errors else None)


def list_jobs(data: Data, filter: JobFilter, limit: int, cursor: bytes | None, *, oldest_first: bool) -> JobPage:
    """See `Insights.list_jobs`. Looks at all jobs."""
    choose = nsmallest if oldest_first else nlargest
    ids = choose(limit + 1, (job.id for job in data.jobs.values() if _fits(job, filter, cursor, oldest_first)))
    jobs = [_record(data.jobs[key]) for key in ids[:limit]]
    return JobPage(jobs, jobs[-1].id if len(ids) > limit else None)


def _fits(job: Job, filter: JobFilter, cursor: bytes | None, oldest_first: bool) -> bool:
    return (
        (cursor is None or (job.id > cursor if oldest_first else job.id < cursor))
        and (filter.states is None or job.state in filter.states)
        and (filter.queue is None or job.queue == filter.queue)
        and (filter.task is None or job.task == filter.task)
        and (filter.enqueued_before is None or job.enqueued_at < filter.enqueued_before)
        and (filter.enqueued_from is None or job.enqueued_at >= filter.enqueued_from)
        and (filter.error is None or (bool(job.errors) and is_named(job.errors[-1], filter.error)))
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


def running(data: Data) -> dict[tuple[LimitScope, str], int]:
    """See `Insights.running`."""
    return {counted: len(jobs) for counted, jobs in data.running.items() if jobs}


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
