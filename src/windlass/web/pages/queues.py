"""Queues and limits; workers, and what each runs now."""

from __future__ import annotations

from collections import defaultdict
from itertools import groupby

import msgspec
from litestar import Response, get, post

from windlass.core.errors import InvalidOption
from windlass.core.lifecycle import State
from windlass.core.records import JobFilter, QueueRecord
from windlass.limits import LimitInfo, limit_record, read_limits
from windlass.views import JobSummary, WorkerView, job_summary, queue_view, worker_view
from windlass.web.api.common import LOOK, STEER, AnyRequest, TheConsole, Word, note
from windlass.web.console import Console
from windlass.web.live import deepest
from windlass.web.pages.frame import Form, changed, page

MOST = 500
"""Queues, limits, workers and running jobs that a page shows."""


@get("/queues", guards=LOOK, include_in_schema=False)
async def queues(console: TheConsole, request: AnyRequest, name: Word = None) -> Response[str]:
    """What waits where, since when, and what is limited: by name, or the deepest if there are many."""

    async def ask() -> tuple[list[QueueRecord], list[LimitInfo]]:
        store = await console.store()
        return await store.queues(), await read_limits(store)

    known, limits = await console.shared.read("queues", ask)
    wanted = (name or "").strip()
    found = [one for one in known if wanted in one.name]
    shown = found if len(found) <= MOST else deepest(found, MOST)
    others = [one for one in limits if one.scope != "queue"]
    return page(
        request,
        "queues.html",
        name=wanted,
        queues=[queue_view(one) for one in shown],
        queues_in_all=len(found),
        most=max((one.ready for one in shown), default=0) or 1,
        others=others[:MOST],
        others_in_all=len(others),
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
    found, runs, count = await console.shared.read("workers", lambda: _workers(console))
    nodes = [(node, list(some)) for node, some in groupby(found, lambda worker: worker.node)]
    return page(request, "workers.html", nodes=nodes, runs=runs, workers_in_all=count, workers_shown=len(found))


async def _workers(console: Console) -> tuple[list[WorkerView], dict[str, list[JobSummary]], int]:
    """Workers, some of what each runs, and how many workers there are."""
    store = await console.store()
    now = await store.now()
    sessions = await store.sessions()
    runs: defaultdict[str, list[JobSummary]] = defaultdict(list)
    for job in (await store.list_jobs(JobFilter(states=(State.RUNNING,)), limit=MOST)).jobs:
        if job.session is not None:
            runs[job.session.hex()].append(job_summary(job))
    views = [worker_view(record, now) for record in sessions[:MOST]]
    return sorted(views, key=lambda worker: (worker.node, worker.pid)), runs, len(sessions)


HANDLERS = (queues, set_limit, workers)
