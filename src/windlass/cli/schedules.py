"""``windlass schedules``: look at schedules, make and change them, fire one now, make up for the past."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from windlass.cli.arguments import Argument, Group, between, command
from windlass.cli.crontabs import import_crontab
from windlass.cli.enqueue import SPAN, parse_argument, parse_named
from windlass.cli.errors import WrongUsage
from windlass.cli.output import note, say, say_fields, say_json, say_table
from windlass.cli.target import APP, JSON, STORE, find_app, means_app, open_app, with_app
from windlass.core.moments import read_time
from windlass.progress_bar import bar
from windlass.views import schedule_view, stamp

if TYPE_CHECKING:
    from windlass.core.triggers import Trigger
    from windlass.schedules import ScheduleInfo, Schedules
    from windlass.task import Task
    from windlass.workflows.workflow import Workflow

T = TypeVar("T")

NAME = Argument("name", metavar="NAME", help="Name of the schedule.")


def _with(app: str | None, url: str | None, act: Callable[[Schedules], Awaitable[T]], *, create: bool = False) -> T:
    found = open_app(app, url, create=create)

    async def run() -> T:
        return await act(found.schedules)

    return with_app(found, run)


# ----------------------------------------------------------------------------------------------------- looking


@command(*STORE, examples=[("windlass schedules ls", "What fires when, and what it has fired.")])
def list_schedules(*, app: str | None, url: str | None, as_json: bool) -> None:
    """List schedules by name, with their next fire time."""
    found = _with(app, url, lambda schedules: schedules.all())
    if as_json:
        say_json([_record(one) for one in found])
        return
    if not found:
        note("no schedules")
        return
    say_table(
        ("name", "task", "when", "next", "#fired", "#skipped", "state"),
        ((one.name, one.task, one.description, _time(one.next), one.fired, one.skipped, _state(one)) for one in found),
        whole=("name",),
    )


@command(NAME, *STORE, examples=[("windlass schedules show nightly", "All about one.")])
def show(*, name: str, app: str | None, url: str | None, as_json: bool) -> None:
    """Show all about a schedule."""
    one = _with(app, url, lambda schedules: schedules.get(name))
    if as_json:
        say_json(_record(one))
        return
    policies = msgspec.to_builtins(one.policies)
    say_fields(
        [
            ("name", one.name),
            ("state", _state(one)),
            ("when", one.description),
            ("trigger", json.dumps(msgspec.to_builtins(one.trigger))),
            ("task", one.task),
            ("arguments", json.dumps(one.arguments)),
            ("queue", one.queue),
            ("policies", json.dumps(policies) if policies else None),
            ("next", _time(one.next)),
            ("last", _time(one.last)),
            ("fired", one.fired),
            ("skipped", one.skipped),
            ("last job", one.last_job),
            ("changed", _time(one.changed_at)),
        ]
    )


@command(
    NAME,
    *STORE,
    Argument("-n", "--count", type=between(1, 1000), metavar="N", default=5, help="How many. Default: 5."),
    examples=[("windlass schedules next nightly -n 10", "When it will fire.")],
)
def show_next(*, name: str, app: str | None, url: str | None, as_json: bool, count: int) -> None:
    """Show next fire times, in UTC and by the schedule's clocks."""

    async def act(schedules: Schedules) -> tuple[ScheduleInfo, list[datetime]]:
        return await schedules.get(name), await schedules.next(name, count)

    one, times = _with(app, url, act)
    if as_json:
        say_json([stamp(at) for at in times])
        return
    zone = getattr(one.trigger, "zone", None)
    for at in times:
        local = "" if zone is None or str(zone) == "UTC" else f"  {at.astimezone(zone):%a %d %b %H:%M:%S} {zone}"
        say(f"{stamp(at)}{local}")
    if not times:
        note(f"schedule {name} {'is paused' if one.paused else 'does not fire any more'}")


# ---------------------------------------------------------------------------------------------------- changing


@command(
    NAME,
    Argument("task", metavar="TASK", help="Name of the task, such as tasks.send."),
    Argument("arguments", nargs="*", metavar="ARG", help="Arguments as JSON: 3, '\"text\"', '[1, 2]'."),
    APP,
    Argument("--kwargs", metavar="JSON", help='Arguments by name: \'{"to": "a@example.org"}\'.'),
    Argument("--cron", metavar="EXPR", help="When: a cron expression, such as '0 12 * * mon-fri'."),
    Argument("--every", type=SPAN, metavar="SECONDS", help="When: at equal distances."),
    Argument("--at", metavar="TIME", help="When: once, such as 2026-12-31T23:59 or ...T23:59:00+01:00."),
    Argument("--tz", metavar="ZONE", help="Whose clocks --cron and --at mean: Europe/Berlin. Default: the app's."),
    Argument("--overlap", choices=("allow", "skip", "queue", "cancel"), help="While the job before is unfinished."),
    Argument("--coalesce", choices=("latest", "one", "all"), help="Which of several missed fire times have a job."),
    Argument("--misfire-grace", type=SPAN, metavar="SECONDS", help="A fire time met later than this has no job."),
    Argument("--jitter", type=SPAN, metavar="SECONDS", help="Each job is due up to so much later."),
    Argument("--max-jobs", type=between(1, 10**9), metavar="N", help="After so many jobs it ends."),
    Argument("-q", "--queue", metavar="NAME", help="Queue of its jobs."),
    Argument("--priority", type=between(0, 9), metavar="0-9", help="9 is first, 0 last."),
    Argument("--paused", action="store_true", help="It waits for `windlass schedules resume`."),
    Argument("--replace", action="store_true", help="Replace the schedule with this name."),
    JSON,
    examples=[
        ("windlass schedules add noon mail.report '\"ops\"' --cron '0 12 * * *' --tz Asia/Seoul", "At noon in Seoul."),
        ("windlass schedules add clean files.clean --every 3600 --overlap skip", "Every hour, never two at once."),
    ],
)
def add(
    *,
    name: str,
    task: str,
    arguments: list[str],
    app: str | None,
    kwargs: str | None,
    cron: str | None,
    every: float | None,
    at: str | None,
    tz: str | None,
    queue: str | None,
    priority: int | None,
    paused: bool,
    replace: bool,
    as_json: bool,
    **policy: Any,
) -> None:
    """Make a schedule. It enqueues jobs of TASK, or starts runs of a workflow of that name, with these arguments."""
    found = find_app(app)
    known: Task[..., Any] | Workflow[..., Any] = found.workflows.get(task) or found.find_task(task)
    wanted = known.options(queue=queue, priority=priority)
    positional = [parse_argument(text, f"argument {number}") for number, text in enumerate(arguments, 1)]
    call = wanted.bind(*positional, **parse_named(kwargs))
    trigger = _trigger(cron, every, at, tz, found.timezone)
    said = {word: value for word, value in policy.items() if value is not None}

    async def act() -> ScheduleInfo:
        return await found.schedules.add(name, call, trigger, paused=paused, replace=replace, **said)

    _say(with_app(found, act), as_json=as_json)


def _trigger(cron: str | None, every: float | None, at: str | None, tz: str | None, app_tz: str) -> Trigger:
    from windlass.core.triggers import At, Cron, Every

    given = [one for one in (cron, every, at) if one is not None]
    if len(given) != 1:
        raise WrongUsage("when should it fire? give one of --cron, --every and --at")
    if cron is not None:
        return Cron(cron, tz=tz)
    if every is not None:
        if tz is not None:
            raise WrongUsage("--tz says whose clocks --cron and --at mean; --every has none")
        return Every(seconds=every)
    return At(read_time(at or "", "--at", tz or app_tz))


@command(NAME, *STORE, examples=[("windlass schedules pause nightly", "Until it is resumed.")])
def pause(*, name: str, app: str | None, url: str | None, as_json: bool) -> None:
    """Stop a schedule from firing. Jobs that it has enqueued run."""
    _say(_with(app, url, lambda schedules: schedules.pause(name)), as_json=as_json)


@command(NAME, *STORE, examples=[("windlass schedules resume nightly", "From its next fire time on.")])
def resume(*, name: str, app: str | None, url: str | None, as_json: bool) -> None:
    """Let a schedule fire again, from its next fire time on. What was due meanwhile is not made up for."""
    _say(_with(app, url, lambda schedules: schedules.resume(name)), as_json=as_json)


@command(NAME, *STORE, examples=[("windlass schedules rm nightly", "Its jobs stay.")])
def remove(*, name: str, app: str | None, url: str | None, as_json: bool) -> None:
    """Delete a schedule. Jobs that it has enqueued stay."""
    _with(app, url, lambda schedules: schedules.delete(name))
    if as_json:
        say_json({"name": name, "deleted": True})
    else:
        say(f"schedule {name}: deleted")


@command(NAME, *STORE, examples=[("windlass schedules fire nightly", "Now, beside its fire times.")])
def fire(*, name: str, app: str | None, url: str | None, as_json: bool) -> None:
    """Enqueue a job of a schedule now. It is one beside those of its fire times; the answer is its id."""
    job = _with(app, url, lambda schedules: schedules.fire(name))
    if as_json:
        say_json({"id": job.id, "duplicate": job.duplicate})
        return
    if job.duplicate:
        note("the job before is unfinished, and the schedule does not let two overlap: this is its id")
    say(job.id)


@command(
    NAME,
    *STORE,
    Argument("--from", dest="start", metavar="TIME", required=True, help="The first fire time that counts."),
    Argument("--until", dest="end", metavar="TIME", required=True, help="The first that does not count any more."),
    Argument("--parallel", type=between(1, 1000), metavar="N", default=1, help="Jobs at a time. Default: 1."),
    examples=[
        ("windlass schedules backfill nightly --from 2026-01-01 --until 2026-02-01 --parallel 4", "All of January.")
    ],
)
def backfill(
    *, name: str, app: str | None, url: str | None, as_json: bool, start: str, end: str, parallel: int
) -> None:
    """Enqueue jobs for the fire times of a range. At most so many run at a time; it waits until they have finished.
    They are others than the schedule's own, and the same command again goes on with the same jobs. Times without an
    offset are meant by the app's clocks; without --app, in UTC."""
    zone = find_app(app).timezone if means_app(app, url) else "UTC"
    begin, until = read_time(start, "--from", zone), read_time(end, "--until", zone)

    async def act(schedules: Schedules) -> tuple[int, int]:
        work = await schedules.backfill(name, begin, until, parallel=parallel)
        enqueued = finished = 0
        with bar("backfill", sum(1 for _ in work.fire_times())) as show:
            async for enqueued, finished in work:  # noqa: B007 - the last ones count
                show(finished)
        return enqueued, finished

    enqueued, finished = _with(app, url, act)
    if as_json:
        say_json({"name": name, "enqueued": enqueued, "finished": finished})
    else:
        say(f"{enqueued} jobs, all finished" if enqueued else "no fire times in this range")


# ------------------------------------------------------------------------------------------------------- words


def _say(one: ScheduleInfo, *, as_json: bool) -> None:
    if as_json:
        say_json(_record(one))
        return
    following = "" if one.next is None else f", next at {_time(one.next)}"
    say(f"schedule {one.name}: {_state(one)}{following}")


def _state(one: ScheduleInfo) -> str:
    state = "paused" if one.paused else "active" if one.next is not None else "ended"
    return f"{state}, edited" if one.edited else state


def _time(when: datetime | None) -> str | None:
    return None if when is None else stamp(when)


def _record(one: ScheduleInfo) -> dict[str, object]:
    found: dict[str, object] = msgspec.to_builtins(schedule_view(one))
    return found


COMMAND = Group(
    "List, make, change and fire schedules.",
    ls=list_schedules,
    show=show,
    next=show_next,
    add=add,
    pause=pause,
    resume=resume,
    rm=remove,
    fire=fire,
    backfill=backfill,
    **{"import": import_crontab},
)
