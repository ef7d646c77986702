"""Queues, tasks and limits: list, pause, resume, limit."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from litestar import delete, get, post, put
from litestar.params import FromPath, JSONBody

from windlass.core.names import check_queue, check_task
from windlass.core.records import LimitScope
from windlass.limits import LimitInfo, limit_record, read_limits
from windlass.views import QueueView, queue_view
from windlass.web.api.common import LOOK, STEER, Above, AnyRequest, Count, InPath, TheConsole, note, page_of


class Paused(msgspec.Struct, frozen=True, kw_only=True):
    """Whether something is paused now."""

    scope: Literal["queue", "task"]
    name: str
    paused: bool


@get("/queues", summary="List queues, by name", guards=LOOK)
async def list_queues(console: TheConsole, limit: Count = 1000, above: Above = None) -> list[QueueView]:
    """Those that have unfinished jobs or a record."""
    queues = await (await console.store()).queues()
    return [queue_view(queue) for queue in page_of(queues, lambda one: one.name, above=above, limit=limit)]


@get("/tasks", summary="List the app's tasks", guards=LOOK)
async def list_tasks(console: TheConsole) -> list[str]:
    """Names of the tasks that can be enqueued here."""
    return sorted(console.app.tasks)


async def set_paused(console: TheConsole, scope: LimitScope, name: str, *, paused: bool) -> Paused:
    """Pause a queue or a task, or let it go on. Raises `InvalidName`."""
    is_queue = scope is LimitScope.QUEUE
    checked = check_queue(name) if is_queue else check_task(name)
    await (await console.store()).pause(scope, checked, paused=paused)
    return Paused(scope="queue" if is_queue else "task", name=checked, paused=paused)


@post("/queues/{name:str}/pause", summary="Pause a queue", guards=STEER, status_code=200)
async def pause_queue(console: TheConsole, name: InPath) -> Paused:
    """Workers claim nothing more from it; what runs goes on."""
    return await set_paused(console, LimitScope.QUEUE, name, paused=True)


@post("/queues/{name:str}/resume", summary="Resume a queue", guards=STEER, status_code=200)
async def resume_queue(console: TheConsole, name: InPath) -> Paused:
    """Workers claim from it again."""
    return await set_paused(console, LimitScope.QUEUE, name, paused=False)


@post("/tasks/{name:str}/pause", summary="Pause a task", guards=STEER, status_code=200)
async def pause_task(console: TheConsole, name: InPath) -> Paused:
    """Workers claim none of its jobs; what runs goes on."""
    return await set_paused(console, LimitScope.TASK, name, paused=True)


@post("/tasks/{name:str}/resume", summary="Resume a task", guards=STEER, status_code=200)
async def resume_task(console: TheConsole, name: InPath) -> Paused:
    """Workers claim its jobs again."""
    return await set_paused(console, LimitScope.TASK, name, paused=False)


@get("/limits", summary="List limits", guards=LOOK)
async def list_limits(console: TheConsole, limit: Count = 1000, above: Above = None) -> list[LimitInfo]:
    """With what runs under them now, by scope and name; ``above`` is ``queue:mail``, say."""
    limits = await read_limits(await console.store())
    return page_of(limits, lambda one: f"{one.scope}:{one.name}", above=above, limit=limit)


class LimitRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits of a queue, a task or a limit key, in place of what they were; what is left out is not limited."""

    scope: Literal["queue", "task", "key"]
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=500)]
    concurrency: int | None = None
    rate: str | None = None
    """Such as ``10/s``, ``100/m`` or ``5/10s``."""
    burst: int | None = None


def _target(scope: str, name: str) -> dict[str, Any]:
    return {scope: name}


@put("/limits", summary="Limit how much runs", guards=STEER, status_code=200)
async def put_limit(console: TheConsole, request: AnyRequest, data: JSONBody[LimitRequest]) -> LimitRequest:
    """For all workers together, from their next claim on; what runs already goes on. A pause stays."""
    note(request, msgspec.json.encode(data).decode())
    limit = limit_record(
        **_target(data.scope, data.name),
        concurrency=data.concurrency,
        rate=data.rate,
        burst=data.burst,
    )
    await (await console.store()).put_limit(limit)
    return data


@delete("/limits/{kind:str}/{name:str}", summary="Remove limits", guards=STEER, status_code=204)
async def remove_limit(console: TheConsole, kind: FromPath[Literal["queue", "task", "key"]], name: InPath) -> None:
    """A pause stays."""
    await (await console.store()).put_limit(limit_record(**_target(kind, name)))


HANDLERS = (
    list_queues, list_tasks, pause_queue, resume_queue, pause_task, resume_task, list_limits, put_limit, remove_limit,
)  # fmt: skip
