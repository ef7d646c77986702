"""The form that changes when a schedule fires, and what it shows while somebody writes.

It has a field for each of a cron expression, a distance and a moment. A trigger that says more than these is shown in
words, and stays as it is unless somebody writes another in its place.
"""

from __future__ import annotations

import hashlib
from datetime import timedelta

import msgspec
from litestar import Response, get, post

from windlass.core.clock import to_datetime
from windlass.core.errors import InvalidOption, UsageError
from windlass.core.triggers import At, Cron, Daily, Every, Monthly, Trigger, Weekly
from windlass.web.api.common import LOOK, STEER, AnyRequest, TheConsole, Word, note
from windlass.web.api.schedules import When, fire_times, preview_of
from windlass.web.pages.frame import Form, changed, left, page, root_of

_MICROSECOND = timedelta(microseconds=1)


class Fields(msgspec.Struct, frozen=True, kw_only=True):
    """What the form has in it; one of ``cron``, ``every`` and ``at``."""

    cron: str = ""
    every: str = ""
    """Seconds."""
    at: str = ""
    tz: str = ""

    def when(self) -> When:
        """The same, for a trigger to be made of. Raises `InvalidOption`."""
        try:
            every = float(self.every) if self.every else None
        except ValueError:
            raise InvalidOption(f"every {self.every!a:.40}: expected seconds") from None
        tz = self.tz if self.cron or self.at else ""  # it says whose clocks these mean
        said = {"cron": self.cron or None, "every": every, "at": self.at or None, "tz": tz or None}
        return msgspec.convert(said, When)


def fields_of(trigger: Trigger) -> Fields | None:
    """What makes a trigger that fires as this one does; ``None`` if that is more than the form can say."""
    match trigger:
        case Cron():
            return Fields(cron=trigger.expression, tz=trigger.tz or "")
        case Daily() | Weekly() | Monthly():
            return Fields(cron=trigger.as_cron(), tz=trigger.tz or "")
        case Every(anchor=None):
            return Fields(every=_seconds(trigger))
        case At():
            return Fields(at=trigger.when.isoformat())
        case _:
            return None


def _seconds(trigger: Every) -> str:
    interval = timedelta(
        weeks=trigger.weeks,
        days=trigger.days,
        hours=trigger.hours,
        minutes=trigger.minutes,
        seconds=trigger.seconds,
    )
    seconds, rest = divmod(interval // _MICROSECOND, 1_000_000)
    return f"{seconds}.{rest:06}".rstrip("0").rstrip(".")


def mark_of(trigger: Trigger) -> str:
    """By which the form knows which trigger it was made for."""
    return hashlib.sha256(msgspec.json.encode(trigger)).hexdigest()[:16]


def _written(cron: str | None, every: str | None, at: str | None, tz: str | None) -> Fields:
    cron, every, at, tz = ((text or "").strip() for text in (cron, every, at, tz))
    return Fields(cron=cron, every=every, at=at, tz=tz)


@get("/schedules/preview", guards=LOOK, include_in_schema=False)
async def preview(  # noqa: PLR0917 - query parameters
    console: TheConsole, request: AnyRequest, cron: Word = None, every: Word = None, at: Word = None, tz: Word = None
) -> Response[str]:
    """When something would fire, while it is being written."""
    written = _written(cron, every, at, tz)
    shown = wrong = None
    try:
        if written.cron or written.every or written.at:
            trigger = written.when().trigger(console.app)
            now = to_datetime(await (await console.store()).now())
            shown = preview_of(trigger, fire_times(trigger, now, 5))
    except (UsageError, msgspec.ValidationError) as error:
        wrong = str(error)
    return page(request, "preview.html", preview=shown, wrong=wrong)


@post("/schedules/change", guards=STEER, include_in_schema=False, status_code=204)
async def change(console: TheConsole, request: AnyRequest, data: Form) -> Response[None]:
    """Have a schedule fire at other times, if other times were written."""
    note(request, msgspec.json.encode(data).decode())
    one = await console.app.schedules.get(data.get("name", ""))
    if data.get("mark", "") not in ("", mark_of(one.trigger)):
        raise InvalidOption(f"{one.name} was changed meanwhile: {one.description}. Load the page again")
    written = _written(data.get("cron"), data.get("every"), data.get("at"), data.get("tz"))
    if written == fields_of(one.trigger):
        return changed(f"{one.name}: nothing was changed")
    try:
        trigger = written.when().trigger(console.app)
    except msgspec.ValidationError as error:
        raise InvalidOption(str(error)) from None
    one = await console.app.schedules.change(one.name, trigger=trigger)
    return left(f"{one.name}: {one.description}", f"{root_of(request)}/schedules")


HANDLERS = (preview, change)
