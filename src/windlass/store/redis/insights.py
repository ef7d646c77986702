"""Reading: what people, dashboards and waiting callers ask for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from windlass.core.clock import Span
from windlass.core.graph import EdgePolicy
from windlass.core.lifecycle import State
from windlass.core.records import (
    MAX_LOOK,
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
    Reason,
    SessionRecord,
)
from windlass.core.remote import is_named
from windlass.store.redis.caller import Arguments
from windlass.store.redis.connections import Argument
from windlass.store.redis.records import SESSION_DECODER, counted, lane_of, limit_of, record_of, text_of

LOOK = 1000
"""Jobs that one script of a walk looks at."""
PART = 100
"""Jobs that one script reads whole."""


class Ask(Protocol):
    """Runs a script that only reads, once for each of the arguments, in one trip."""

    async def __call__(self, verb: str, *calls: Arguments) -> list[Any]: ...


def _rows(flat: Sequence[Any], width: int) -> Iterator[tuple[Any, ...]]:
    fields = iter(flat)
    return zip(*[fields] * width, strict=True)


def _parts(ids: Sequence[bytes]) -> list[Sequence[bytes]]:
    return [ids[start : start + PART] for start in range(0, len(ids), PART)]


async def get_jobs(ask: Ask, ids: Sequence[bytes]) -> list[JobRecord | None]:
    """See `Insights.get_jobs`."""
    found = await ask("get_jobs", *_parts(ids)) if ids else []
    return [None if row is None else record_of(row) for rows in found for row in rows]


async def results(ask: Ask, ids: Sequence[bytes]) -> list[JobResult | None]:
    """See `Insights.results`."""
    found = await ask("results", *_parts(ids)) if ids else []
    rows = [row for part in found for row in part]
    return [None if row is None else _result(job_id, *row) for job_id, row in zip(ids, rows, strict=True)]


def success(job_id: bytes, result: bytes) -> JobResult:
    """What `results` says of a plain job that succeeded."""
    return JobResult(job_id, State.SUCCEEDED, Reason(0), result, None)


def _result(job_id: bytes, state: bytes, reason: bytes | None, result: bytes | None, error: bytes | None) -> JobResult:
    return JobResult(job_id, State(int(state)), Reason(int(reason or 0)), result, error)


async def list_jobs(ask: Ask, filter: JobFilter, limit: int, cursor: bytes | None, *, oldest_first: bool) -> JobPage:
    """See `Insights.list_jobs`. A script looks at `LOOK` jobs; each job is shown as it was at one moment."""
    wanted = _wanted(filter)
    jobs: list[JobRecord] = []
    left = MAX_LOOK
    while True:
        arguments = (cursor or b"", int(oldest_first), min(LOOK, left), limit - len(jobs), *wanted)
        rows, last, looked, more = (await ask("list_jobs", arguments))[0]
        jobs += _meant(rows, filter.error)
        cursor, left = last or cursor, left - looked
        if not more:
            return JobPage(jobs, None)
        if len(jobs) == limit or left <= 0:
            return JobPage(jobs, cursor)


def _wanted(filter: JobFilter) -> tuple[Argument, ...]:
    states = "" if filter.states is None else "=" + "".join(str(int(state)) for state in filter.states)
    named = ["" if name is None else f"={name}" for name in (filter.queue, filter.task)]
    times = ["" if time is None else time for time in (filter.enqueued_before, filter.enqueued_from)]
    return states, *named, *times, int(filter.error is not None)


def _meant(rows: Sequence[list[Any]], error: str | None) -> list[JobRecord]:
    if error is None:
        return [record_of(row) for row in rows]
    return [record_of(row[:27]) for row in rows if len(row) > 27 and row[27] and is_named(row[27], error)]


async def counts(ask: Ask) -> dict[tuple[str, int], int]:
    """See `Insights.counts`."""
    rows = _rows((await ask("counts", ()))[0], 2)
    return {(what[1:].decode(), int(what[:1])): int(number) for what, number in rows if what[:1] != b"x"}


async def queues(ask: Ask) -> list[QueueRecord]:
    """See `Insights.queues`."""
    rows = _rows((await ask("queues", ()))[0], 8)
    found = [
        QueueRecord(
            name=name.decode(),
            limit=None if limit is None else limit_of(b"0" + name, limit),
            waiting=int(waiting),
            scheduled=int(scheduled),
            ready=int(ready),
            running=int(running),
            suspects=int(suspects),
            oldest_ready_at=None if oldest is None else int(oldest),
        )
        for name, limit, waiting, scheduled, ready, running, suspects, oldest in rows
    ]
    return sorted(found, key=lambda queue: queue.name)


async def backlog(ask: Ask, limit: int) -> Backlog:
    """See `Insights.backlog`. Each lane is shown as it was at one moment."""
    lanes, scheduled, last, waiting = (await ask("backlog", (limit,)))[0]
    named = sorted((lane_of(name), name, int(ready)) for name, ready in _rows(lanes, 2))[:limit]
    shown = await ask("lane", *((name, limit) for _, name, _ in named)) if named else []
    return Backlog(
        lanes=[
            LaneRecord(queue=place[0], requires=place[1], ready=ready, suspects=suspects, first=_in_line(rows, limit))
            for (place, _, ready), (suspects, rows) in zip(named, shown, strict=True)
        ],
        scheduled=list(map(record_of, scheduled)),
        last_scheduled=None if last is None else record_of(last),
        waiting=list(map(record_of, waiting)),
    )


async def lanes(ask: Ask, queues: Sequence[str]) -> list[tuple[str, str]]:
    """See `Insights.lanes`."""
    [names] = await ask("lanes", queues)
    return sorted(map(lane_of, names))


def _in_line(rows: Sequence[list[Any]], limit: int) -> list[JobRecord]:
    """The suspects last; of each limit key the first job before the second of any."""
    seen: Counter[tuple[str, str]] = Counter()
    order = []
    for job in sorted(map(record_of, rows), key=lambda job: (-job.priority, job.sequence or 0)):
        turn = 0
        if job.limit_key is not None:
            turn = seen[job.task, job.limit_key]
            seen[job.task, job.limit_key] += 1
        order.append((job.suspect, turn, -job.priority, job.sequence or 0, job.id, job))
    return [job for *_, job in sorted(order, key=lambda entry: entry[:5])[:limit]]


async def open_parents(ask: Ask, id: bytes, limit: int) -> list[ParentRecord]:
    """See `Insights.open_parents`."""
    found: dict[bytes, ParentRecord] = {}  # a parent may come twice while edges are added
    cursor = b"0"
    while True:
        cursor, flat = (await ask("open_parents", (id, limit, cursor)))[0]
        for parent, policy, state in _rows(flat, 3):
            known = None if state is None else State(int(state))
            found[parent] = ParentRecord(id=parent, policy=EdgePolicy(int(policy)), state=known)
        if cursor == b"0" or len(found) >= limit:
            return [*found.values()][:limit]


async def rate_waits(ask: Ask, names: Sequence[tuple[LimitScope, str]]) -> list[Span]:
    """See `Insights.rate_waits`."""
    if not names:
        return []
    now, *flat = (await ask("rate_waits", [counted(scope, name) for scope, name in names]))[0]
    return [_rate_wait(now, limit, bucket) for limit, bucket in _rows(flat, 2)]


def _rate_wait(now: int, text: bytes | None, bucket: bytes | None) -> Span:
    rate = None if text is None else limit_of(b"0", text).rate
    if rate is None or bucket is None:
        return 0
    debt, at = map(int, bucket.split())
    return rate.wait(debt, now - at)


async def limits(ask: Ask, scope: LimitScope | None) -> list[Limit]:
    """See `Insights.limits`."""
    found = [limit_of(name, text) for name, text in _rows((await ask("limits", ()))[0], 2)]
    return sorted(
        (limit for limit in found if scope is None or limit.scope is scope), key=lambda limit: (limit.scope, limit.name)
    )


async def running(ask: Ask) -> dict[tuple[LimitScope, str], int]:
    """See `Insights.running`."""
    rows = _rows((await ask("running", ()))[0], 2)
    return {(LimitScope(int(name[:1])), text_of(name[1:])): int(number) for name, number in rows}


async def sessions(ask: Ask) -> list[SessionRecord]:
    """See `Insights.sessions`."""
    rows = _rows((await ask("sessions", ()))[0], 7)
    return [
        SessionRecord(
            session=SESSION_DECODER.decode(record),
            opened_at=int(opened_at),
            lease_until=int(lease_until),
            renewals=int(renewals),
            revoked=revoked is not None,
            running=held,
            commands=sorted(command.decode() for command in commands),
        )
        for record, opened_at, lease_until, renewals, revoked, held, commands in rows
    ]
