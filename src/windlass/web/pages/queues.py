"""Queues and limits; workers, and what each runs now."""

from __future__ import annotations

from collections import defaultdict
from itertools import groupby

import msgspec
from litestar import Response, get, post

from windlass.core.errors import InvalidOption
from windlass.core.lifecycle import State
from windlass.core.records import JobFilter
from windlass.limits import LimitInfo, limit_record, read_limits
from windlass.views import JobSummary, QueueView, WorkerView, job_summary, queue_view, worker_view
from windlass.web.api.common import LOOK, STEER, AnyRequest, TheConsole, note
from windlass.web.console import Console
from windlass.web.pages.frame import Form, changed, page

MOST = 500
"""Queues, limits, workers and running jobs that a page shows."""


@get("/queues", guards=LOOK, include_in_schema=False)
async def queues(console: TheConsole, request: AnyRequest) -> Response[str]:
    """What waits where, since when, and what is limited."""

    async def ask() -> tuple[list[QueueView], list[LimitInfo]]:
        store = await console.store()
        return [queue_view(one) for one in await store.queues()], await read_limits(store)

    found, limits = await console.shared.read("queues", ask)
    return page(
        request,
        "queues.html",
        queues=found[:MOST],
        most=max((one.ready for one in found), default=0) or 1,
        others=[one for one in limits if one.scope != "queue"][:MOST],
    )


@post("/queues", guards=STEER, include_in_schema=False, status_code=204)
async def set_limit(console: TheConsole, request: AnyRequest, data: Form) -> Response[None]:
    """Limit how much runs."""
    note(request, msgspec.json.encode(data).decode())
    scope, name = data.get("scope", ""), data.get("name", "").strip()
    if scope not in ("queue", "task", "key"):
        raise InvalidOption("scope: expected queue, task or key")
    target: dict[str, str] = {scope: name}
    limit = limit_record(
        queue=target.get("queue"),
        task=target.get("task"),
        key=target.get("key"),
        concurrency=_number("at once", data.get("concurrency")),
        rate=data.get("rate", "").strip() or None,
        burst=_number("burst", data.get("burst")),
    )
    await (await console.store()).put_limit(limit)
    return changed(f"{scope} {name}: limits set")


def _number(what: str, text: str | None) -> int | None:
    if not text or not text.strip():
        return None
    try:
        return int(text)
    except ValueError:
        raise InvalidOption(f"{what} {text[:40]!a}: expected a whole number") from None


@get("/workers", guards=LOOK, include_in_schema=False)
async def workers(console: TheConsole, request: AnyRequest) -> Response[str]:
    """Who is there, by machine, and what each runs."""
    found, runs = await console.shared.read("workers", lambda: _workers(console))
    nodes = [(node, list(some)) for node, some in groupby(found, lambda worker: worker.node)]
    return page(request, "workers.html", nodes=nodes, runs=runs)


async def _workers(console: Console) -> tuple[list[WorkerView], dict[str, list[JobSummary]]]:
    store = await console.store()
    now = await store.now()
    sessions = (await store.sessions())[:MOST]
    runs: defaultdict[str, list[JobSummary]] = defaultdict(list)
    for job in (await store.list_jobs(JobFilter(states=(State.RUNNING,)), limit=MOST)).jobs:
        if job.session is not None:
            runs[job.session.hex()].append(job_summary(job))
    views = [worker_view(record, now) for record in sessions]
    return sorted(views, key=lambda worker: (worker.node, worker.pid)), runs


HANDLERS = (queues, set_limit, workers)
