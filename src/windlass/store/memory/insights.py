"""Reading: what people, dashboards and waiting callers ask for."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from heapq import nlargest, nsmallest
from itertools import islice
from operator import attrgetter

import msgspec

from windlass.core.clock import Instant, Span
from windlass.core.lifecycle import State
from windlass.core.records import (
    Backlog,
    JobFilter,
    JobPage,
    JobRecord,
    JobResult,
    LaneRecord,
    Limit,
    LimitScope,
    ParentRecord,
    QueueRecord,
    SessionRecord,
)
from windlass.core.remote import is_named
from windlass.store.memory.data import Data
from windlass.store.memory.limits import record_of
from windlass.store.memory.records import Job, LaneName

_LARGE = {"payload", "options", "result", "errors", "log"}
_SAME = tuple(name for name in JobRecord.__struct_fields__ if name not in {"unique_key", *_LARGE})
_read_same = attrgetter(*_SAME)
_number = attrgetter("number")


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
    oldest: dict[str, Job] = {}
    for job in unfinished:
        if job.state is State.READY:
            oldest[job.queue] = min(job, oldest.get(job.queue, job), key=_number)
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
            oldest_ready_at=oldest[name].enqueued_at if name in oldest else None,
        )
        for name in sorted({job.queue for job in unfinished} | set(records))
    ]


def backlog(data: Data, limit: int) -> Backlog:
    """See `Insights.backlog`. Looks at all jobs."""
    jobs = list(data.jobs.values())
    lanes: defaultdict[LaneName, list[Job]] = defaultdict(list)
    for job in jobs:
        if job.state is State.READY:
            lanes[job.lane].append(job)
    scheduled = sorted((job for job in jobs if job.state is State.SCHEDULED), key=lambda job: (job.due_at, job.number))
    waiting = (job for job in jobs if job.state is State.WAITING)
    return Backlog(
        lanes=[_lane(name, lanes[name], limit) for name in sorted(lanes)[:limit]],
        scheduled=list(map(_record, scheduled[:limit])),
        last_scheduled=_record(scheduled[-1]) if scheduled else None,
        waiting=list(map(_record, islice(waiting, limit))),
    )


def lanes(data: Data, queues: Sequence[str]) -> list[tuple[str, str]]:
    """See `Insights.lanes`. Looks at all jobs."""
    return sorted({job.lane for job in data.jobs.values() if job.state is State.READY and job.queue in queues})


def _lane(name: LaneName, ready: list[Job], limit: int) -> LaneRecord:
    """The suspects last; of each limit key the first job before the second of any."""
    seen: Counter[tuple[str, str]] = Counter()
    order = []
    for job in sorted(ready, key=lambda job: job.position):
        turn = 0
        if job.limit_key is not None:
            turn = seen[job.task, job.limit_key]
            seen[job.task, job.limit_key] += 1
        order.append((job.suspect, turn, job.position, job))
    order.sort(key=lambda entry: entry[:3])
    return LaneRecord(
        queue=name[0],
        requires=name[1],
        ready=len(ready),
        suspects=sum(job.suspect for job in ready),
        first=[_record(job) for *_, job in order[:limit]],
    )


def open_parents(data: Data, id: bytes, limit: int) -> list[ParentRecord]:
    """See `Insights.open_parents`."""
    job = data.jobs.get(id)
    links = [] if job is None else [link for link in job.parents.values() if link.mark is None]
    parents = ((link, data.jobs.get(link.parent)) for link in links[:limit])
    return [
        ParentRecord(id=link.parent, policy=link.policy, state=None if parent is None else parent.state)
        for link, parent in parents
    ]


def rate_waits(data: Data, names: Sequence[tuple[LimitScope, str]], now: Instant) -> list[Span]:
    """See `Insights.rate_waits`."""
    return [_rate_wait(data, counted, now) for counted in names]


def _rate_wait(data: Data, counted: tuple[LimitScope, str], now: Instant) -> Span:
    limit = record_of(data, counted)
    if limit is None or limit.rate is None or counted not in data.buckets:
        return 0
    debt, at = data.buckets[counted]
    return limit.rate.wait(debt, now - at)


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
