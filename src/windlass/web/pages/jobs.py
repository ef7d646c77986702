"""Jobs: searched, and one in full."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import urlencode

import msgspec
from litestar import Response, delete, get, post
from litestar.exceptions import ClientException
from litestar.response import Redirect

from windlass.core.clock import Instant
from windlass.core.errors import JobNotFound, UsageError
from windlass.core.ids import from_text, to_text
from windlass.core.model import KEEP_AT_LEAST
from windlass.core.records import JobFilter, JobRecord
from windlass.core.text import shorten
from windlass.store.port import Store
from windlass.views import JobSummary, JobView, job_summary, job_view, shown_arguments
from windlass.web.api.common import (
    LOOK,
    RULE,
    STEER,
    AnyRequest,
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
from windlass.web.api.jobs import BulkRequest, do_bulk, read_page
from windlass.web.console import Console
from windlass.web.pages.frame import FormOfMany, changed, left, page, root_of

WORDS = ("waiting", "scheduled", "ready", "running", "succeeded", "dead", "cancelled")
SHOWN = 50
SEARCHED = 3000
"""Jobs in whose arguments a text is looked for: the newest that fit."""
_LONGEST = 20_000
"""Characters of arguments or of a result that are shown."""
_SPACE = re.compile(r"\s+")
_INSIDE = re.compile(r"([{\[])\s+|\s+([}\]])")
"""Spaces between brackets and what is in them."""
_DONE = {"replay": "run again", "cancel": "cancelled", "purge": "deleted"}


@get("/jobs", guards=LOOK, include_in_schema=False)
async def jobs(  # noqa: PLR0917 - query parameters
    console: TheConsole,
    request: AnyRequest,
    text: Word = None,
    states: States = None,
    task: Word = None,
    queue: Word = None,
    error_type: Word = None,
    after: Word = None,
    before: Word = None,
    cursor: Cursor = None,
) -> Response[str] | Redirect:
    """Jobs that fit all that is said, newest first."""
    state = states[0] if states and states[0] else None
    chosen = {
        "state": state, "task": task or None, "queue": queue or None, "error_type": error_type or None,
        "after": after or None, "before": before or None,
    }  # fmt: skip
    text = (text or "").strip()
    if text and (job_id := _as_id(text)) is not None:
        return Redirect(f"{root_of(request)}/jobs/{job_id}")
    found: list[JobSummary] = []
    older = wrong = remark = None

    async def ask() -> tuple[list[JobSummary], str | None, int]:
        store = await console.store()
        wanted = await job_filter(store, **{**chosen, "state": [state] if state else None})  # type: ignore[arg-type]
        if text:
            return await _search(console, store, wanted, text)
        looks = 1 if wanted.error else 2  # each job that failed has its error read
        shown = await read_page(store, wanted, SHOWN, first_of(cursor), looks)
        return shown.jobs, shown.cursor, 0

    try:
        found, following, looked = await console.shared.read(("jobs", text, cursor, *chosen.values()), ask)
        if text:
            remark = f"Looked for this text in the arguments of the newest {looked:,} jobs that fit."
            if len(found) >= SHOWN:
                remark += f" The newest {SHOWN} that have it are here; there may be more: say before when to look."
        elif following:
            older = urlencode({name: value for name, value in chosen.items() if value} | {"cursor": following})
    except UsageError as error:
        wrong = str(error)
    return page(
        request,
        "jobs.html",
        jobs=found,
        chosen=chosen,
        any_chosen=any(chosen.values()),
        text=text,
        words=WORDS,
        tasks=sorted(console.app.tasks)[:500],
        older=older,
        wrong=wrong,
        note=remark,
    )


def _as_id(text: str) -> str | None:
    try:
        return to_text(from_text(text))
    except UsageError:
        return None


async def _search(console: Console, store: Store, wanted: JobFilter, text: str) -> tuple[list[JobSummary], None, int]:
    """Jobs whose arguments, as they are shown, have a text in them; and how many were looked at."""
    found: list[JobSummary] = []
    looked, cursor = 0, first_of(None)
    while looked < SEARCHED and len(found) < SHOWN:
        some = await store.list_jobs(wanted, limit=500, cursor=cursor)
        full = await store.get_jobs([job.id for job in some.jobs])
        looked += len(some.jobs)
        found += [job_summary(job) for job in full if job is not None and _has(_arguments(console, job), text)]
        if some.cursor is None:
            break
        cursor = some.cursor
    return found[:SHOWN], None, looked


def _has(arguments: str, text: str) -> bool:
    """Whether it is in the arguments: as they are stored, without spaces between what they consist of, or as they are
    shown."""
    if text in arguments:
        return True
    if text.isascii() and not _SPACE.search(text):
        return False
    spaced = _written(arguments, (", ", ": "))
    return text in spaced or _SPACE.sub(" ", _INSIDE.sub(r"\1\2", text)) in spaced


def _arguments(console: Console, job: JobRecord) -> str:
    shown = shown_arguments(job, console.hide(job.task, job.payload))
    text = shown.decode("utf-8", "backslashreplace")
    return text if shown is job.payload else _written(text, (",", ":"))


def _written(arguments: str, separators: tuple[str, str]) -> str:
    try:
        return json.dumps(json.loads(arguments), ensure_ascii=False, separators=separators)
    except (ValueError, RecursionError):
        return arguments


@post("/jobs", guards=STEER, include_in_schema=False, status_code=204)
async def act_on_jobs(
    console: TheConsole,
    request: AnyRequest,
    visitor: TheVisitor,
    data: FormOfMany,
) -> Response[None]:
    """Do something to all jobs that fit, or to those that were chosen one by one."""
    fields: dict[str, Any] = {name: value for name, value in data.items() if name in BulkRequest.__struct_fields__}
    if isinstance(fields.get("ids"), str):
        fields["ids"] = [fields["ids"]]
    if isinstance(fields.get("state"), str):
        fields["state"] = [fields["state"]]
    everything = fields.pop("everything", "") == "yes"
    try:
        wanted = msgspec.convert(fields | {"everything": everything}, BulkRequest)
    except msgspec.ValidationError as error:
        raise UsageError(str(error)) from None
    note(request, msgspec.json.encode(wanted).decode())
    answer = await do_bulk(await console.store(), wanted, visitor.role)
    return changed(f"{answer.done:,} {_DONE[wanted.act]}" + (f", {answer.refused:,} not" if answer.refused else ""))


@get("/jobs/{id:str}", guards=LOOK, include_in_schema=False)
async def job(console: TheConsole, request: AnyRequest, id: InPath) -> Response[str]:
    """Everything about a job."""
    wanted = from_text(id)

    async def ask() -> JobRecord | None:
        return (await (await console.store()).get_jobs([wanted]))[0]

    record = await console.shared.read(("job", id), ask)
    if record is None:
        raise JobNotFound(f"there is no job {id}: it never was, or its retention is over")
    shown = job_view(record, console.hide(record.task, record.payload))
    return page(
        request,
        "job.html",
        job=shown,
        arguments=_pretty(shown.arguments),
        result=None if record.result is None else _pretty(shown.result),
        timeline=_timeline(shown),
        trace_url=_trace_url(console, shown),
    )


@delete("/jobs/{id:str}", guards=RULE, include_in_schema=False, status_code=204)
async def delete_job(console: TheConsole, request: AnyRequest, id: InPath) -> Response[None]:
    """Delete a finished job, and show the others; or say why it stays."""
    store, wanted = await console.store(), from_text(id)
    deleted = await store.delete([wanted])
    (job,) = await store.get_jobs([wanted])
    if job is not None:
        raise ClientException(f"not deleted: {_why_it_stays(job, await store.now())}", status_code=409)
    said = f"job {id[:8]}…{id[-4:]} deleted" if deleted else "this job was deleted before"
    return left(said, f"{root_of(request)}/jobs")


def _why_it_stays(job: JobRecord, now: Instant) -> str:
    if job.finished_at is None:
        return f"it is {job.state.word}"
    if now - job.finished_at < KEEP_AT_LEAST:
        return "it finished less than five minutes ago"
    return "jobs that have not finished depend on it"


def _pretty(value: object) -> str:
    return shorten(json.dumps(value, indent=2, ensure_ascii=False), _LONGEST)


def _timeline(job: JobView) -> list[tuple[str, str]]:
    what: list[tuple[str, str | None]] = [("enqueued", job.enqueued_at), ("due", job.due_at)]
    what += [(f"attempt {one.attempt} failed: {one.type}", one.at) for one in job.errors if isinstance(one.at, str)]
    what += [("last started", job.started_at), (job.state, job.finished_at)]
    what += [("expires, if it has not started", job.expires_at), ("to be deleted", job.purge_at)]
    return sorted(((text, at) for text, at in what if at is not None), key=lambda one: one[1])


def _trace_url(console: Console, job: JobView) -> str | None:
    if console.trace_url is None or job.trace_id is None:
        return None
    return console.trace_url.replace("{trace_id}", job.trace_id)


HANDLERS = (jobs, act_on_jobs, job, delete_job)
