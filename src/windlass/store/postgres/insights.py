"""Reading: what people, dashboards and waiting callers ask for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec
from asyncpg.pgproto.pgproto import UUID

from windlass.core.clock import Instant, Span
from windlass.core.graph import EdgePolicy
from windlass.core.lifecycle import State
from windlass.core.model import Session
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
    Rate,
    Reason,
    SessionRecord,
)
from windlass.core.remote import is_named
from windlass.store.postgres.names import uuids

_SESSION = msgspec.json.Decoder(Session)


class Ask(Protocol):
    """Asks the server: a statement's name and its arguments."""

    async def __call__(self, name: str, *arguments: Any) -> list[Any]: ...


def _record(row: Any) -> JobRecord:
    return JobRecord(
        id=row[0].bytes,
        task=row[1],
        queue=row[2],
        requires=row[3],
        priority=row[4],
        state=State(row[5]),
        reason=Reason(row[6]),
        payload=row[7],
        options=row[8],
        result=row[9],
        errors=row[10] or [],
        token=row[11],
        attempt=row[12],
        failures=row[13],
        losses=row[14],
        snoozes=row[15],
        suspect=row[16],
        cancel_requested=row[17],
        unique_key=row[18],
        limit_key=row[19],
        session=None if row[20] is None else row[20].bytes,
        enqueued_at=row[21],
        due_at=row[22],
        expires_at=row[23],
        started_at=row[24],
        finished_at=row[25],
        purge_at=row[26],
        sequence=row[27] or None,
        undeliverable_since=row[28],
        parents_open=row[29],
        progress=row[30],
        message=None if row[31] is None else row[31].decode("utf-8", "surrogatepass"),
        log="" if row[32] is None else row[32].decode("utf-8", "ignore"),
    )


async def get_jobs(ask: Ask, ids: Sequence[bytes]) -> list[JobRecord | None]:
    """See `Insights.get_jobs`."""
    found = {record.id: record for record in map(_record, await ask("get_jobs", uuids(ids)))}
    return [found.get(key) for key in ids]


async def results(ask: Ask, ids: Sequence[bytes]) -> list[JobResult | None]:
    """See `Insights.results`."""
    found = {row[0].bytes: row for row in await ask("results", uuids(ids))}
    rows = [found.get(key) for key in ids]
    return [
        None if row is None else JobResult(row[0].bytes, State(row[1]), Reason(row[2]), row[3], row[4]) for row in rows
    ]


async def list_jobs(ask: Ask, filter: JobFilter, limit: int, cursor: bytes | None, *, oldest_first: bool) -> JobPage:
    """See `Insights.list_jobs`."""
    words = ("list_oldest_first", "end_of_look_forth") if oldest_first else ("list_newest_first", "end_of_look_back")
    start = UUID(cursor if cursor is not None else (bytes(16) if oldest_first else b"\xff" * 16))
    states = None if filter.states is None else [int(state) for state in filter.states]
    by_error = filter.error is not None
    rows = await ask(
        words[0],
        start,
        states,
        filter.queue,
        filter.task,
        filter.enqueued_before,
        filter.enqueued_from,
        MAX_LOOK if by_error else limit + 1,  # what the statement cannot judge may leave fewer than were asked for
        by_error,
    )
    jobs: list[JobRecord] = []
    for row in rows:
        if filter.error is not None and not (row[10] and is_named(row[10][0], filter.error)):
            continue
        if len(jobs) == limit:
            return JobPage(jobs, jobs[-1].id)
        record = _record(row)
        jobs.append(msgspec.structs.replace(record, errors=[]) if by_error else record)
    end = await ask(words[1], start)
    return JobPage(jobs, end[0][0].bytes if end else None)


async def counts(ask: Ask) -> dict[tuple[str, int], int]:
    """See `Insights.counts`."""
    return {(queue, state): count for queue, state, count in await ask("count_jobs")}


async def queues(ask: Ask) -> list[QueueRecord]:
    """See `Insights.queues`."""
    return [
        QueueRecord(
            name=row[0],
            limit=None if row[7] is None else _limit(row[7:]),
            waiting=row[1],
            scheduled=row[2],
            ready=row[3],
            running=row[4],
            suspects=row[5],
            oldest_ready_at=row[6],
        )
        for row in map(tuple, await ask("queues"))
    ]


async def lanes(ask: Ask, queues: Sequence[str]) -> list[tuple[str, str]]:
    """See `Insights.lanes`."""
    return [(row[0], row[1]) for row in await ask("lanes", queues)]


async def backlog(ask: Ask, limit: int) -> Backlog:
    """See `Insights.backlog`. Several looks: each part is of one moment."""
    lanes = await ask("backlog_lanes", limit)
    firsts = [[row[0] for row in await ask("backlog_first", lane[0], limit)] for lane in lanes]
    later: dict[int, list[UUID]] = {1: [], 2: [], 3: []}
    for kind, key in await ask("backlog_later", limit):
        later[kind].append(key)
    wanted = [key for first in (*firsts, *later.values()) for key in first]
    found = {row[0]: _without_large(_record(row)) for row in await ask("get_jobs", wanted)}

    def records(ids: list[UUID]) -> list[JobRecord]:
        return [found[key] for key in ids if key in found]

    return Backlog(
        lanes=[
            LaneRecord(queue=queue, requires=requires, ready=ready, suspects=suspects, first=records(first))
            for (_, queue, requires, ready, suspects), first in zip(map(tuple, lanes), firsts, strict=True)
        ],
        scheduled=records(later[1]),
        last_scheduled=next(iter(records(later[2])), None),
        waiting=records(later[3]),
    )


def _without_large(record: JobRecord) -> JobRecord:
    return msgspec.structs.replace(record, payload=b"", options=None, result=None, errors=[], log="")


async def open_parents(ask: Ask, id: bytes, limit: int) -> list[ParentRecord]:
    """See `Insights.open_parents`."""
    return [
        ParentRecord(id=parent.bytes, policy=EdgePolicy(policy), state=None if state is None else State(state))
        for parent, policy, state in await ask("open_parents", UUID(id), limit)
    ]


async def rate_waits(ask: Ask, names: Sequence[tuple[LimitScope, str]], clock: Instant | None) -> list[Span]:
    """See `Insights.rate_waits`."""
    records = {(limit.scope, limit.name): limit for limit in await limits(ask, None)}
    rows = await ask("buckets", [int(scope) for scope, _ in names], [name for _, name in names], clock)
    buckets = {(LimitScope(scope), name): (debt, since) for scope, name, debt, since in rows}
    return [_rate_wait(records, counted, buckets.get(counted)) for counted in names]


def _rate_wait(
    records: dict[tuple[LimitScope, str], Limit], counted: tuple[LimitScope, str], bucket: tuple[int, Span] | None
) -> Span:
    scope, name = counted
    limit = records.get(counted)
    if limit is None and scope is LimitScope.KEY:
        limit = records.get((scope, name.partition(":")[0]))
    if limit is None or limit.rate is None or bucket is None:
        return 0
    return limit.rate.wait(*bucket)


async def limits(ask: Ask, scope: LimitScope | None) -> list[Limit]:
    """See `Insights.limits`."""
    return [_limit(row) for row in await ask("limits", None if scope is None else int(scope))]


def _limit(row: Any) -> Limit:
    scope, name, paused, concurrency, count, per, burst = row
    rate = None if count is None else Rate(count=count, per=per, burst=burst)
    return Limit(scope=LimitScope(scope), name=name, paused=paused, concurrency=concurrency, rate=rate)


async def running(ask: Ask) -> dict[tuple[LimitScope, str], int]:
    """See `Insights.running`."""
    return {(LimitScope(scope), name): count for scope, name, count in await ask("running")}


async def sessions(ask: Ask) -> list[SessionRecord]:
    """See `Insights.sessions`."""
    return [
        SessionRecord(
            session=_SESSION.decode(row[0]),
            opened_at=row[1],
            lease_until=row[2],
            renewals=row[3],
            revoked=row[4],
            running=row[5],
            commands=row[6],
        )
        for row in await ask("sessions")
    ]
