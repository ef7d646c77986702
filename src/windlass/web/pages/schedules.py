"""Schedules: a list, and a calendar."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from litestar import Response, get

from windlass.core.clock import to_datetime
from windlass.core.errors import UsageError
from windlass.schedules import ScheduleInfo
from windlass.web.api.common import LOOK, AnyRequest, TheConsole, Word
from windlass.web.api.schedules import fire_times, preview_of, shown
from windlass.web.console import Console
from windlass.web.pages.frame import page
from windlass.web.pages.schedule_form import fields_of, mark_of

DAYS = 7
MOST_FIRES = 4000
"""Fire times that the calendar shows, all together: what it costs does not grow with how often schedules fire."""
MOST = 500


@get("/schedules", guards=LOOK, include_in_schema=False)
async def schedules(console: TheConsole, request: AnyRequest, name: Word = None, edit: Word = None) -> Response[str]:
    """What fires when."""
    wanted = (name or "").strip()
    found, more, now = await console.shared.read(("schedules", wanted), lambda: _read(console, wanted))
    editing = None if edit is None else await _find(console, edit)
    days, cut = calendar(found, now)
    return page(
        request,
        "schedules.html",
        schedules=[(shown(console, one), _zoned(one)) for one in found],
        name=wanted,
        more=more,
        days=days,
        cut=cut,
        editing=editing,
        fields=None if editing is None else fields_of(editing.trigger),
        mark="" if editing is None else mark_of(editing.trigger),
        preview=None if editing is None else preview_of(editing.trigger, fire_times(editing.trigger, now, 5)),
        wrong=None,
    )


async def _find(console: Console, name: str) -> ScheduleInfo | None:
    try:
        return await console.app.schedules.get(name)
    except UsageError:
        return None


async def _read(console: Console, wanted: str) -> tuple[list[ScheduleInfo], bool, datetime]:
    """Schedules with this in their names, whether there are more of them, and the time."""
    found = []
    async for one in console.app.schedules:
        if wanted in one.name:
            found.append(one)
        if len(found) > MOST:
            break
    return found[:MOST], len(found) > MOST, to_datetime(await (await console.store()).now())


def _zoned(one: ScheduleInfo) -> str | None:
    zone = getattr(one.trigger, "zone", None)
    if one.next is None or zone is None or str(zone) == "UTC":
        return None
    return f"{one.next.astimezone(zone):%a %d %b %H:%M:%S} {zone}"


def calendar(found: list[ScheduleInfo], now: datetime) -> tuple[list[tuple[str, list[list[str]]]], int]:
    """Which schedules fire in each hour of each day in UTC, from now until seven times 24 hours later; and after how
    many fire times one was cut, 0 if none was. What is overdue is shown as firing now: anybody who comes fires it."""
    now = now.astimezone(UTC)
    first = now.replace(hour=0, minute=0, second=0, microsecond=0)
    hours: list[list[list[str]]] = [[[] for _ in range(24)] for _ in range(DAYS + 1)]
    end, cut = now + timedelta(days=DAYS), 0
    active = [(one, one.next) for one in found if one.next is not None and not one.paused]
    most = MOST_FIRES // max(1, len(active))
    for one, due in active:
        upcoming = max(due, now)
        times = [upcoming, *fire_times(one.trigger, upcoming, most)]
        if times[-1] < end and len(times) > most:
            cut = most
        for at in times:
            if at >= end:
                break
            hours[(at - first).days][at.astimezone(UTC).hour].append(one.name)
    if not any(names for day in hours for names in day):
        return [], 0
    return [(f"{first + timedelta(days=number):%a %d %b}", day) for number, day in enumerate(hours)], cut


HANDLERS = (schedules,)
