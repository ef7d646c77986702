"""Schedules: look, make, change, fire."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, TypeAlias

import msgspec
from litestar import delete, get, post, put
from litestar.exceptions import PermissionDeniedException
from litestar.params import JSONBody, QueryParameter

from windlass import crontab_import
from windlass.app import App
from windlass.core.clock import instant, to_datetime
from windlass.core.errors import InvalidOption
from windlass.core.firing import following
from windlass.core.moments import read_time
from windlass.core.triggers import At, Cron, Every, Trigger
from windlass.schedules import ScheduleInfo
from windlass.views import ScheduleView, schedule_view, stamp
from windlass.web.access.roles import Role
from windlass.web.api.common import (
    LOOK,
    RULE,
    STEER,
    Above,
    AnyRequest,
    Count,
    InPath,
    TheConsole,
    TheVisitor,
    note,
    page_of,
)
from windlass.web.api.jobs import Stored

Times: TypeAlias = Annotated[int, QueryParameter(ge=1, le=1000)]


def shown(console: TheConsole, one: ScheduleInfo) -> ScheduleView:
    """A schedule, without arguments that this site does not show."""
    return schedule_view(one, console.hide(one.task))


class When(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a schedule fires: one of ``cron``, ``every`` and ``at``."""

    cron: Annotated[str, msgspec.Meta(max_length=1000)] | None = None
    every: Annotated[float, msgspec.Meta(gt=0, le=1e9)] | None = None
    """Seconds."""
    at: Annotated[str, msgspec.Meta(max_length=100)] | None = None
    """Once; without an offset by the clocks of ``tz``."""
    tz: Annotated[str, msgspec.Meta(max_length=100)] | None = None
    """Whose clocks ``cron`` and ``at`` mean; null: the app's."""

    def trigger(self, app: App) -> Trigger:
        """The trigger. Raises `InvalidOption`."""
        if sum(said is not None for said in (self.cron, self.every, self.at)) != 1:
            raise InvalidOption("when should it fire? give one of cron, every and at")
        if self.cron is not None:
            return Cron(self.cron, tz=self.tz).in_zone(app.timezone)
        if self.every is not None:
            if self.tz is not None:
                raise InvalidOption("tz says whose clocks cron and at mean; every has none")
            return Every(seconds=self.every)
        return At(read_time(self.at or "", "at", self.tz or app.timezone))


class Preview(msgspec.Struct, frozen=True, kw_only=True):
    """When something would fire."""

    description: str
    next: list[str]
    local: list[str]
    """The same by the schedule's clocks."""
    zone: str | None


def fire_times(trigger: Trigger, now: datetime, count: int) -> list[datetime]:
    """The next fire times after a moment."""
    found: list[datetime] = []
    at = following(trigger, instant(now, "now"))
    while at is not None and len(found) < count:
        found.append(to_datetime(at))
        at = following(trigger, at)
    return found


def preview_of(trigger: Trigger, times: list[datetime]) -> Preview:
    """Fire times in UTC, and by the schedule's clocks."""
    zone = getattr(trigger, "zone", None)
    local = [at.astimezone(zone).strftime("%a %d %b %Y %H:%M:%S") for at in times] if zone is not None else []
    return Preview(
        description=trigger.describe(),
        next=[stamp(at) for at in times],
        local=local,
        zone=None if zone is None else str(zone),
    )


@get("/schedules", summary="List schedules, by name", guards=LOOK)
async def list_schedules(console: TheConsole, limit: Count = 1000, above: Above = None) -> list[ScheduleView]:
    """With their next fire times."""
    some = page_of(await console.app.schedules.all(), lambda one: one.name, above=above, limit=limit)
    return [shown(console, one) for one in some]


@get("/schedules/{name:str}", summary="Show a schedule", guards=LOOK)
async def show_schedule(console: TheConsole, name: InPath) -> ScheduleView:
    """All about one."""
    return shown(console, await console.app.schedules.get(name))


@get("/schedules/{name:str}/next", summary="Show the next fire times", guards=LOOK)
async def show_next(console: TheConsole, name: InPath, count: Times = 5) -> Preview:
    """None while it is paused."""
    one = await console.app.schedules.get(name)
    return preview_of(one.trigger, await console.app.schedules.next(name, count))


@post("/schedules/preview", summary="Say when a trigger would fire", guards=LOOK, status_code=200)
async def preview(console: TheConsole, data: JSONBody[When], count: Times = 5) -> Preview:
    """And in words. Nothing is stored."""
    trigger = data.trigger(console.app)
    now = to_datetime(await (await console.store()).now())
    return preview_of(trigger, fire_times(trigger, now, count))


class ScheduleRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A schedule to be made."""

    task: Annotated[str, msgspec.Meta(min_length=1, max_length=500)]
    """A task, or a workflow."""
    when: When
    arguments: list[Any] = []
    named: dict[str, Any] = {}
    queue: str | None = None
    priority: Annotated[int, msgspec.Meta(ge=0, le=9)] | None = None
    paused: bool = False
    replace: bool = False
    """Replace the schedule with this name."""
    policies: dict[str, Any] = {}
    """``overlap``, ``coalesce``, ``misfire_grace``, ``jitter``, ``max_jobs``."""


_POLICIES = frozenset({"overlap", "coalesce", "misfire_grace", "jitter", "max_jobs"})


@put("/schedules/{name:str}", summary="Make a schedule", guards=STEER, status_code=200)
async def put_schedule(
    console: TheConsole, request: AnyRequest, name: InPath, data: JSONBody[ScheduleRequest]
) -> ScheduleView:
    """It enqueues jobs of a task, or starts runs of a workflow."""
    note(request, msgspec.json.encode(data.when).decode())
    unknown = sorted(set(data.policies) - _POLICIES)
    if unknown:
        raise InvalidOption(f"policies: {unknown[0][:40]!a}: expected some of {', '.join(sorted(_POLICIES))}")
    app = console.app
    known: Any = app.workflows.get(data.task) or app.find_task(data.task)
    call = known.options(queue=data.queue, priority=data.priority).bind(*data.arguments, **data.named)
    one = await app.schedules.add(
        name, call, data.when.trigger(app), paused=data.paused, replace=data.replace, **data.policies
    )
    return shown(console, one)


@post(
    "/schedules/{name:str}/change",
    summary="Change when a schedule fires",
    guards=STEER,
    status_code=200,
)
async def change(console: TheConsole, request: AnyRequest, name: InPath, data: JSONBody[When]) -> ScheduleView:
    """Fire times that are past stay past."""
    note(request, msgspec.json.encode(data).decode())
    return shown(console, await console.app.schedules.change(name, trigger=data.trigger(console.app)))


@post("/schedules/{name:str}/pause", summary="Pause a schedule", guards=STEER, status_code=200)
async def pause(console: TheConsole, name: InPath) -> ScheduleView:
    """Jobs that it has enqueued run."""
    return shown(console, await console.app.schedules.pause(name))


@post("/schedules/{name:str}/resume", summary="Resume a schedule", guards=STEER, status_code=200)
async def resume(console: TheConsole, name: InPath) -> ScheduleView:
    """From its next fire time on."""
    return shown(console, await console.app.schedules.resume(name))


@post(
    "/schedules/{name:str}/fire",
    summary="Enqueue a job of a schedule now",
    guards=STEER,
    status_code=201,
)
async def fire(console: TheConsole, name: InPath) -> Stored:
    """One beside those of its fire times."""
    job = await console.app.schedules.fire(name)
    return Stored(id=job.id, duplicate=job.duplicate)


class Crontab(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A crontab, to be schedules."""

    text: Annotated[str, msgspec.Meta(max_length=100_000)]
    task: Annotated[str, msgspec.Meta(min_length=1, max_length=500)]
    """A task that takes a command line, as its one argument."""
    tz: Annotated[str, msgspec.Meta(max_length=100)] | None = None
    """Whose clocks its times mean; null: the app's."""
    prefix: Annotated[str, msgspec.Meta(min_length=1, max_length=100)] = "crontab"
    """Names begin with it."""
    delete: bool = False
    """Delete schedules of this prefix that the text does not have; needs the role admin."""
    dry_run: bool = False


@post("/schedules/import", summary="Make schedules of a crontab's lines", guards=STEER, status_code=200)
async def import_crontab(
    console: TheConsole, request: AnyRequest, visitor: TheVisitor, data: JSONBody[Crontab]
) -> crontab_import.ImportView:
    """The same again makes what is new and changes what is different: a schedule is known by its command."""
    note(request, f"{data.prefix} {data.task}")
    if data.delete and not data.dry_run and visitor.role < Role.ADMIN:
        raise PermissionDeniedException("deleting schedules needs the role admin")
    app = console.app
    task = app.find_task(data.task)
    found = crontab_import.read(app, data.text, data.tz, data.prefix)
    found = await crontab_import.make(app, task, found, data.prefix, delete=data.delete, dry_run=data.dry_run)
    return crontab_import.import_view(found, delete=data.delete, dry_run=data.dry_run)


@delete("/schedules/{name:str}", summary="Delete a schedule", guards=RULE, status_code=204)
async def remove(console: TheConsole, name: InPath) -> None:
    """Jobs that it has enqueued stay."""
    await console.app.schedules.delete(name)


HANDLERS = (
    list_schedules, show_schedule, show_next, preview, put_schedule, change, pause, resume, fire, import_crontab,
    remove,
)  # fmt: skip
