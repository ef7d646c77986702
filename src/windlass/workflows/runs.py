"""Runs, listed: they stand behind all other jobs in the order of ids, the newest last."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import msgspec

from windlass.client import Client
from windlass.core.clock import to_datetime
from windlass.core.ids import Family, is_run_id
from windlass.core.records import JobFilter, JobRecord
from windlass.core.steps import FINISH
from windlass.workflows.pausing import paused_runs
from windlass.workflows.run import UNFINISHED, RunStatus, run_status


class RunInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a run without looking at its steps."""

    id: str
    workflow: str
    status: RunStatus
    enqueued_at: datetime
    finished_at: datetime | None


async def list_runs(
    client: Client, *, workflow: str | None = None, limit: int = 50, before: bytes | None = None
) -> list[RunInfo]:
    """The newest runs first. ``before``: those that are older than this one."""
    store = (await client.opened()).store
    found: list[RunInfo] = []
    paused = await paused_runs(store)
    cursor = before
    while len(found) < limit:
        page = await store.list_jobs(JobFilter(task=workflow), limit=min(limit, 1000), cursor=cursor)
        starts = [job for job in page.jobs if is_run_id(job.id)]
        ends = await store.get_jobs([Family(job.id).id(FINISH) for job in starts])
        found += [_info(start, end, start.id in paused) for start, end in zip(starts, ends, strict=True)]
        cursor = page.cursor
        if cursor is None or not is_run_id(cursor):
            break
    return found[:limit]


def _info(start: JobRecord, end: JobRecord | None, paused: bool) -> RunInfo:
    status = run_status(start, end, paused=paused)
    last = end if end is not None and end.finished_at is not None else start
    ended = last.finished_at if status not in UNFINISHED else None
    return RunInfo(
        id=str(UUID(bytes=start.id)),
        workflow=start.task,
        status=status,
        enqueued_at=to_datetime(start.enqueued_at),
        finished_at=None if ended is None else to_datetime(ended),
    )
