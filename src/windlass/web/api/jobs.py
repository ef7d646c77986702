"""Jobs: list, show, enqueue, cancel, replay, reschedule, delete; one, or many chosen by what they have in common."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from litestar import delete, get, post
from litestar.exceptions import PermissionDeniedException
from litestar.params import JSONBody

from windlass.bulk import CANCEL, PAGE, PURGE, REPLAY, Act, BulkProgress, walk
from windlass.core.clock import span
from windlass.core.errors import JobNotFound, UsageError
from windlass.core.ids import from_text, to_text
from windlass.core.records import CancelAnswer, JobFilter, JobRecord, ReplayAnswer
from windlass.store.port import Store
from windlass.views import JobSummary, JobView, job_summary, job_view
from windlass.web.access.roles import Role
from windlass.web.api.common import (
    LOOK,
    RULE,
    STEER,
    AnyRequest,
    Count,
    Cursor,
    InPath,
    States,
    TheConsole,
    TheVisitor,
    Word,
    first_of,
    job_filter,
    note,
)

_ACTS = {"cancel": CANCEL, "replay": REPLAY, "purge": PURGE}


class JobPage(msgspec.Struct, frozen=True, kw_only=True):
    """Some jobs, newest first."""

    jobs: list[JobSummary]
    cursor: str | None
    """Where to go on; null: there are no more."""


async def read_page(store: Store, wanted: JobFilter, limit: int, cursor: bytes | None, most_looks: int = 20) -> JobPage:
    """As many jobs as were asked for, if there are so many among the first ``most_looks`` times 10,000 that are looked
    at."""
    jobs: list[JobRecord] = []
    for _ in range(most_looks):
        page = await store.list_jobs(wanted, limit=limit - len(jobs), cursor=cursor)
        jobs += page.jobs
        cursor = page.cursor
        if cursor is None or len(jobs) == limit:
            break
    return JobPage(jobs=[job_summary(job) for job in jobs], cursor=to_text(cursor) if cursor else None)


@get("/jobs", summary="List jobs, newest first", guards=LOOK)
async def list_jobs(  # noqa: PLR0917 - query parameters
    console: TheConsole,
    limit: Count = 50,
    cursor: Cursor = None,
    states: States = None,
    queue: Word = None,
    task: Word = None,
    error_type: Word = None,
    before: Word = None,
    after: Word = None,
) -> JobPage:
    """Jobs that fit all that is said, newest first, without runs, which have a list of their own."""
    store = await console.store()
    wanted = await job_filter(
        store, state=states, queue=queue, task=task, error_type=error_type, before=before, after=after
    )
    return await read_page(store, wanted, limit, first_of(cursor))


@get("/jobs/{id:str}", summary="Show everything about a job", guards=LOOK)
async def show_job(console: TheConsole, id: InPath) -> JobView:
    """Arguments (but for secret ones), result, errors, log and times."""
    (job,) = await (await console.store()).get_jobs([from_text(id)])
    if job is None:
        raise JobNotFound(f"there is no job {id}: it never was, or its retention is over")
    return job_view(job, console.hide(job.task, job.payload))


class NewJobRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A job to be stored."""

    task: Annotated[str, msgspec.Meta(min_length=1, max_length=500)]
    arguments: list[Any] = []
    """By position."""
    named: dict[str, Any] = {}
    """By name."""
    queue: str | None = None
    priority: Annotated[int, msgspec.Meta(ge=0, le=9)] | None = None
    delay: Annotated[float, msgspec.Meta(ge=0, le=1e9)] | None = None
    expires: Annotated[float, msgspec.Meta(ge=0, le=1e9)] | None = None
    unique: str | None = None


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """A job that the store has."""

    id: str
    duplicate: bool
    """An unfinished job holds the unique key: nothing was stored, this is its id."""


@post("/jobs", summary="Enqueue a job", guards=STEER, status_code=201)
async def enqueue(console: TheConsole, request: AnyRequest, data: JSONBody[NewJobRequest]) -> Stored:
    """Store a job. Its arguments are checked as Python code would have them checked."""
    note(request, data.task)
    wanted = console.app.find_task(data.task).options(
        queue=data.queue, priority=data.priority, delay=data.delay, expires=data.expires, unique=data.unique
    )
    job = await wanted.bind(*data.arguments, **data.named).enqueue()
    return Stored(id=job.id, duplicate=job.duplicate)


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one request about one job."""

    id: str
    answer: str


@post("/jobs/{id:str}/cancel", summary="Cancel a job", guards=STEER, status_code=200)
async def cancel(console: TheConsole, id: InPath) -> Answer:
    """One that has not started is cancelled at once; of one that runs, the worker is told."""
    (answer,) = await (await console.store()).cancel([from_text(id)])
    if answer is CancelAnswer.UNKNOWN:
        raise JobNotFound(f"there is no job {id}")
    return Answer(id=id, answer=answer.name.lower())


@post("/jobs/{id:str}/replay", summary="Run a dead or cancelled job again", guards=STEER, status_code=200)
async def replay(console: TheConsole, id: InPath) -> Answer:
    """It keeps its id, and has a fresh retry budget."""
    (answer,) = await (await console.store()).replay([from_text(id)])
    if answer is ReplayAnswer.UNKNOWN:
        raise JobNotFound(f"there is no job {id}")
    return Answer(id=id, answer=answer.name.lower())


async def _there(store: Store, id: str) -> None:
    """Raises `JobNotFound`."""
    if await store.get_jobs([from_text(id)]) == [None]:
        raise JobNotFound(f"there is no job {id}")


class Later(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a job is to be due."""

    delay: Annotated[float, msgspec.Meta(ge=0, le=1e9)] = 0.0
    """Seconds from now."""


@post(
    "/jobs/{id:str}/reschedule",
    summary="Have a scheduled job be due now, or later",
    guards=STEER,
    status_code=200,
)
async def reschedule(console: TheConsole, id: InPath, data: JSONBody[Later]) -> Answer:
    """Jobs wait for a time because of a delay, or to be tried again."""
    store = await console.store()
    (moved,) = await store.reschedule([from_text(id)], await store.now() + span(data.delay, "delay"))
    if not moved:
        await _there(store, id)
    return Answer(id=id, answer="rescheduled" if moved else "not_scheduled")


@delete("/jobs/{id:str}", summary="Delete a finished job", guards=RULE, status_code=200)
async def remove(console: TheConsole, id: InPath) -> Answer:
    """Before its retention is over. One that finished less than five minutes ago, or that unfinished jobs depend on,
    stays."""
    store = await console.store()
    deleted = await store.delete([from_text(id)])
    if not deleted:
        await _there(store, id)
    return Answer(id=id, answer="deleted" if deleted else "stays")


class BulkRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Something to be done to all jobs that fit all that is said."""

    act: Literal["cancel", "replay", "purge"]
    state: list[str] | None = None
    queue: str | None = None
    task: str | None = None
    error_type: str | None = None
    before: str | None = None
    after: str | None = None
    everything: bool = False
    """Has to be said where nothing else is."""
    ids: Annotated[list[str], msgspec.Meta(max_length=1000)] | None = None
    """These jobs, and nothing else is said."""
    dry_run: bool = False
    """Only count them."""


class BulkAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """How far it came."""

    matched: int
    done: int
    refused: int


async def do_bulk(store: Store, data: BulkRequest, allowed: Role) -> BulkAnswer:
    """Do it to all of them. Raises `UsageError`."""
    if data.act == "purge" and allowed < Role.ADMIN:
        raise PermissionDeniedException("deleting jobs needs the role admin")
    act = _ACTS[data.act]
    fields = {name: getattr(data, name) for name in ("state", "queue", "task", "error_type", "before", "after")}
    if data.ids is not None:
        if any(fields.values()) or data.everything:
            raise UsageError("ids: they are all that is said; leave state, queue, task and the like out")
        return await _do_some(store, act, [from_text(one) for one in dict.fromkeys(data.ids)], dry_run=data.dry_run)
    if not any(fields.values()) and not data.everything:
        raise UsageError("which jobs? say ids, state, queue, task, error_type, before or after, or everything=true")
    wanted = act.narrow(await job_filter(store, **fields))
    progress = BulkProgress()
    async for progress in walk(store, wanted, None if data.dry_run else act):  # noqa: B007 - the last one counts
        pass
    done = 0 if data.dry_run else progress.done
    return BulkAnswer(matched=progress.matched, done=done, refused=0 if data.dry_run else progress.refused)


async def _do_some(store: Store, act: Act, ids: list[bytes], *, dry_run: bool) -> BulkAnswer:
    """Do it to these, as far as it can be done to them."""
    known = done = 0
    for first in range(0, len(ids), PAGE):
        some = ids[first : first + PAGE]
        known += sum(job is not None for job in await store.get_jobs(some))
        done += 0 if dry_run else await act.apply(store, some)
    return BulkAnswer(matched=known, done=done, refused=0 if dry_run else known - done)


@post("/jobs/bulk", summary="Cancel, replay or delete many jobs", guards=STEER, status_code=200)
async def bulk(
    console: TheConsole, request: AnyRequest, data: JSONBody[BulkRequest], visitor: TheVisitor
) -> BulkAnswer:
    """All jobs that fit, or those with these ids. Interrupted, the same request goes on where it ended."""
    note(request, msgspec.json.encode(data).decode())
    return await do_bulk(await console.store(), data, visitor.role)


HANDLERS = (list_jobs, show_job, enqueue, cancel, replay, reschedule, remove, bulk)
