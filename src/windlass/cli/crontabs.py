"""``windlass schedules import``: the lines of a crontab, as schedules."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from windlass.cli.arguments import Argument, command
from windlass.cli.errors import WrongUsage
from windlass.cli.output import note, say, say_json, say_table
from windlass.cli.target import APP, JSON, check_reachable, find_app, with_app


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
    from windlass import crontab_import

    app_found = find_app(app)
    wanted = app_found.find_task(task)
    found = crontab_import.read(app_found, _read(crontab), tz, prefix)
    if not dry_run or _is_there(app_found.url):
        what_is_read = found
        found = with_app(
            app_found,
            lambda: crontab_import.make(app_found, wanted, what_is_read, prefix, delete=delete, dry_run=dry_run),
        )
    if as_json:
        say_json(msgspec.to_builtins(crontab_import.import_view(found, delete=delete, dry_run=dry_run)))
        return
    if found.schedules:
        rows = ((name, what, entry.trigger.describe(), entry.command) for name, what, entry in found.schedules)
        say_table(("name", "what", "when", "command"), rows)
    for one in found.skipped:
        note(f"line {one.line} was skipped, {one.why}: {one.text}")
    for name in found.gone:
        ends = "it is deleted" if not dry_run else "it would be deleted"
        hint = ends if delete else f"--delete, or `windlass schedules rm {name}`, ends it"
        note(f"{name} is not in the file any more: {hint}")
    done = f"{len(found.schedules)} schedules, {len(found.skipped)} lines skipped"
    say(f"{done}{'; nothing was done' if dry_run else ''}")


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
