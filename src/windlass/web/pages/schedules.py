"""Schedules: a list, a calendar, and a form that says when one would fire."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
from litestar import Response, get, post

from windlass.core.clock import to_datetime
from windlass.core.errors import InvalidOption, UsageError
from windlass.schedules import ScheduleInfo
from windlass.web.api.common import LOOK, STEER, AnyRequest, TheConsole, Word, note
from windlass.web.api.schedules import When, fire_times, preview_of, shown
from windlass.web.console import Console
from windlass.web.pages.frame import Form, changed, page

DAYS = 7
MOST_FIRES = 4000
"""Fire times that the calendar shows, all together: what it costs does not grow with how often schedules fire."""
MOST = 500


@get("/schedules", guards=LOOK, include_in_schema=False)
async def schedules(console: TheConsole, request: AnyRequest, edit: Word = None) -> Response[str]:
    """What fires when."""
    found, now = await console.shared.read("schedules", lambda: _read(console))
    editing = next((one for one in found if one.name == edit), None)
    days, cut = calendar(found, now)
    trigger = None if editing is None else editing.trigger
    return page(
        request,
        "schedules.html",
        schedules=[(shown(console, one), _zoned(one)) for one in found],
        days=days,
        cut=cut,
        editing=editing,
        cron=getattr(trigger, "expression", "") or "",
        every=_seconds(trigger),
        tz=str(getattr(trigger, "tz", "") or ""),
    )


async def _read(console: Console) -> tuple[list[ScheduleInfo], datetime]:
    found = []
    async for one in console.app.schedules:
        found.append(one)
        if len(found) == MOST:
            break
    return found, to_datetime(await (await console.store()).now())


def _zoned(one: ScheduleInfo) -> str | None:
    zone = getattr(one.trigger, "zone", None)
    if one.next is None or zone is None or str(zone) == "UTC":
        return None
    return f"{one.next.astimezone(zone):%a %d %b %H:%M:%S} {zone}"


def _seconds(trigger: object) -> str:
    every = getattr(trigger, "seconds", None)
    return "" if every is None or getattr(trigger, "expression", None) else f"{every:g}"


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


def _when(cron: str | None, every: str | None, tz: str | None) -> When:
    cron, every, tz = (None if text is None or not text.strip() else text.strip() for text in (cron, every, tz))
    try:
        seconds = None if every is None else float(every)
    except ValueError:
        raise InvalidOption(f"every {every!a:.40}: expected seconds") from None
    return msgspec.convert({"cron": cron, "every": seconds, "tz": tz}, When)


@get("/schedules/preview", guards=LOOK, include_in_schema=False)
async def preview(
    console: TheConsole, request: AnyRequest, cron: Word = None, every: Word = None, tz: Word = None
) -> Response[str]:
    """When something would fire, while it is being written."""
    try:
        trigger = _when(cron, every, tz).trigger(console.app)
        now = to_datetime(await (await console.store()).now())
        return page(request, "preview.html", preview=preview_of(trigger, fire_times(trigger, now, 5)), wrong=None)
    except (UsageError, msgspec.ValidationError) as error:
        return page(request, "preview.html", preview=None, wrong=str(error))


@post("/schedules/change", guards=STEER, include_in_schema=False, status_code=204)
async def change(
    console: TheConsole,
    request: AnyRequest,
    data: Form,
) -> Response[None]:
    """Have a schedule fire at other times."""
    note(request, msgspec.json.encode(data).decode())
    trigger = _when(data.get("cron"), data.get("every"), data.get("tz")).trigger(console.app)
    one = await console.app.schedules.change(data.get("name", ""), trigger=trigger)
    return changed(f"{one.name}: {one.description}")


HANDLERS = (schedules, preview, change)
