"""``windlass schedules import``: the lines of a crontab, as schedules."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from windlass.cli.arguments import Argument, command
from windlass.cli.errors import WrongUsage
from windlass.cli.output import note, say, say_json, say_table
from windlass.cli.target import APP, JSON, check_reachable, find_app, with_app

if TYPE_CHECKING:
    from windlass.app import App
    from windlass.crontab import Entry
    from windlass.schedules import ScheduleInfo
    from windlass.task import Task


@command(
    APP,
    Argument("--crontab", metavar="FILE", required=True, help="A user's crontab; - reads standard input."),
    Argument("--task", metavar="TASK", required=True, help="A task that takes a command line, as its one argument."),
    Argument("--tz", metavar="ZONE", help="Whose clocks its times mean. Default: the app's."),
    Argument("--prefix", metavar="NAME", default="crontab", help="Names begin with it: crontab:backup-1b2f0a3c."),
    Argument("--delete", action="store_true", help="Delete schedules of this prefix that the file does not have."),
    Argument("--dry-run", action="store_true", help="Only say what would be done."),
    JSON,
    examples=[
        ("windlass schedules import --crontab old.txt --task tasks.shell --dry-run", "Look first."),
        ("windlass schedules import --crontab - --task tasks.shell --delete", "All of `crontab -l`, and no more."),
    ],
)
def import_crontab(
    *,
    app: str | None,
    crontab: str,
    task: str,
    tz: str | None,
    prefix: str,
    delete: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Make a schedule of each line of a crontab. Its jobs run TASK with the line's command. Lines that no schedule can
    be are named with the reason. The same command again makes what is new and changes what is different: a schedule is
    known by its command, wherever in the file that is, and one that is paused stays so."""
    from windlass.crontab import Entry, Skipped, named, read_crontab

    found = find_app(app)
    wanted = found.find_task(task)
    lines = list(read_crontab(_read(crontab), tz or found.timezone))
    entries = named([one for one in lines if isinstance(one, Entry)], prefix)
    skipped = [one for one in lines if isinstance(one, Skipped)]
    done, gone = dict.fromkeys(entries, "made"), list[str]()
    if not dry_run or _is_there(found.url):
        done, gone = with_app(found, lambda: _import(found, wanted, entries, prefix, delete=delete, dry_run=dry_run))
    if as_json:
        made = [
            {"name": name, "what": done[name], "cron": one.trigger.expression, "command": one.command}
            for name, one in entries.items()
        ]
        left_out = [{"line": one.line, "text": one.text, "why": one.why} for one in skipped]
        say_json({"dry_run": dry_run, "schedules": made, "gone": gone, "deleted": delete, "skipped": left_out})
        return
    if entries:
        rows = ((name, done[name], one.trigger.describe(), one.command) for name, one in entries.items())
        say_table(("name", "what", "when", "command"), rows)
    for one in skipped:
        note(f"line {one.line} was skipped, {one.why}: {one.text}")
    for name in gone:
        ends = "it is deleted" if not dry_run else "it would be deleted"
        hint = ends if delete else f"--delete, or `windlass schedules rm {name}`, ends it"
        note(f"{name} is not in the file any more: {hint}")
    say(f"{len(entries)} schedules, {len(skipped)} lines skipped{'; nothing was done' if dry_run else ''}")


async def _import(
    app: App, task: Task[..., object], entries: dict[str, Entry], prefix: str, *, delete: bool, dry_run: bool
) -> tuple[dict[str, str], list[str]]:
    """Make the store have these; answers what became of each, and which others have the prefix."""
    stored = {one.name: one async for one in app.schedules if one.name.startswith(f"{prefix}:")}
    done = {}
    for name, entry in entries.items():
        done[name] = _difference(stored.get(name), task, entry)
        call = task.bind(entry.command)
        if done[name] == "made" and not dry_run:
            await app.schedules.add(name, call, entry.trigger)
        elif done[name] == "changed" and not dry_run:
            await app.schedules.change(name, call=call, trigger=entry.trigger)
    gone = sorted(stored.keys() - entries.keys())
    for name in gone if delete and not dry_run else ():
        await app.schedules.delete(name)
    return done, gone


def _difference(stored: ScheduleInfo | None, task: Task[..., object], entry: Entry) -> str:
    if stored is None:
        return "made"
    same = (
        stored.trigger == entry.trigger and stored.task == task.name and [*stored.arguments.values()] == [entry.command]
    )
    return "unchanged" if same else "changed"


def _is_there(url: str) -> bool:
    """Whether there is a store to look into; looking must not make one."""
    try:
        check_reachable(url, create=False)
    except WrongUsage:
        return url.startswith("memory:")  # which is refused in any case
    return True


def _read(file: str) -> str:
    try:
        return sys.stdin.read() if file == "-" else Path(file).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise WrongUsage(f"--crontab {file}: {error}") from None
