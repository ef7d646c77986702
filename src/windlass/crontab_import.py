"""Making schedules of the lines of a crontab: what the command line and the HTTP API do alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

import msgspec

from windlass.core.errors import UsageError
from windlass.core.walltime import find_zone
from windlass.crontab import Entry, Skipped, named, read_crontab

if TYPE_CHECKING:
    from windlass.app import App
    from windlass.schedules import ScheduleInfo
    from windlass.task import Task

What: TypeAlias = Literal["made", "changed", "unchanged"]


class Imported(NamedTuple):
    """What became of a crontab."""

    schedules: list[tuple[str, What, Entry]]
    """By name, in the order of the lines."""
    gone: list[str]
    """Other schedules of the prefix, which the crontab does not have."""
    skipped: list[Skipped]


def read(app: App, text: str, tz: str | None, prefix: str) -> Imported:
    """What would become of a crontab where there are no schedules yet. Raises `InvalidOption` for a time zone that
    nobody knows."""
    if tz is not None:
        find_zone(tz)
    lines = list(read_crontab(text, tz or app.timezone))
    entries = named([one for one in lines if isinstance(one, Entry)], prefix)
    skipped = [one for one in lines if isinstance(one, Skipped)]
    return Imported([(name, "made", entry) for name, entry in entries.items()], [], skipped)


async def make(
    app: App, task: Task[..., object], found: Imported, prefix: str, *, delete: bool, dry_run: bool
) -> Imported:
    """Have the store's schedules say what was read: each enqueues jobs of ``task`` with the command of its line.
    ``delete``: those that are gone. ``dry_run``: only look.

    Raises `UsageError`, and does nothing, if those that are gone are to be deleted and there is a line that cannot be
    read, whose own would be one of them, or no line at all: what should have written the crontab may have failed."""
    wrong = next((one for one in found.skipped if one.wrong), None)
    if delete and wrong is not None:
        raise UsageError(
            f"line {wrong.line} cannot be read, and its schedule would be deleted as if it were not in the file any "
            f"more: {wrong.why}. Correct it, or import without deleting"
        )
    if delete and not found.schedules:
        raise UsageError(
            "the crontab has no line that is a schedule: all schedules of the prefix would be deleted. "
            "If that is meant, delete them by name"
        )
    stored = {one.name: one async for one in app.schedules if one.name.startswith(f"{prefix}:")}
    done: list[tuple[str, What, Entry]] = []
    for name, _, entry in found.schedules:
        what = _difference(stored.get(name), task, entry)
        call = task.bind(entry.command)
        if what == "made" and not dry_run:
            await app.schedules.add(name, call, entry.trigger)
        elif what == "changed" and not dry_run:
            await app.schedules.change(name, call=call, trigger=entry.trigger)
        done.append((name, what, entry))
    gone = sorted(stored.keys() - {name for name, _, _ in done})
    for name in gone if delete and not dry_run else ():
        await app.schedules.delete(name)
    return Imported(done, gone, found.skipped)


def _difference(stored: ScheduleInfo | None, task: Task[..., object], entry: Entry) -> What:
    if stored is None:
        return "made"
    same = (
        stored.trigger == entry.trigger and stored.task == task.name and [*stored.arguments.values()] == [entry.command]
    )
    return "unchanged" if same else "changed"


class ImportedSchedule(msgspec.Struct, frozen=True, kw_only=True):
    """A line that is a schedule."""

    name: str
    what: What
    cron: str
    command: str


class SkippedLine(msgspec.Struct, frozen=True, kw_only=True):
    """A line that no schedule can be."""

    line: int
    text: str
    why: str


class ImportView(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a crontab, as JSON."""

    dry_run: bool
    schedules: list[ImportedSchedule]
    gone: list[str]
    """Other schedules of the prefix, which the crontab does not have."""
    deleted: bool
    """Whether those were, or would be, deleted."""
    skipped: list[SkippedLine]


def import_view(found: Imported, *, delete: bool, dry_run: bool) -> ImportView:
    """What became of a crontab, as JSON."""
    return ImportView(
        dry_run=dry_run,
        schedules=[
            ImportedSchedule(name=name, what=what, cron=entry.trigger.expression, command=entry.command)
            for name, what, entry in found.schedules
        ],
        gone=found.gone,
        deleted=delete,
        skipped=[SkippedLine(line=one.line, text=one.text, why=one.why) for one in found.skipped],
    )
