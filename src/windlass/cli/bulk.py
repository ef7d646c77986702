"""Something that is done to many jobs: counted, asked about, watched, and stopped by Ctrl-C between two steps."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from windlass.bulk import BulkProgress, walk
from windlass.cli.arguments import Argument
from windlass.cli.errors import CommandFailed, WrongUsage
from windlass.cli.output import note, say, say_json
from windlass.cli.progress import ask, can_ask
from windlass.cli.target import with_store
from windlass.core.errors import InvalidOption, StoreError
from windlass.progress_bar import bar, is_watched

if TYPE_CHECKING:
    from windlass.bulk import Act
    from windlass.cli.selection import Selection
    from windlass.core.records import JobFilter
    from windlass.store.port import Store

MANY = (
    Argument("--all", action="store_true", dest="everything", help="All jobs to which it can be done."),
    Argument("--dry-run", action="store_true", help="Only say how many there are."),
    Argument("-y", "--yes", action="store_true", help="Do not ask. Needed where nobody can answer."),
)
"""Options of commands that can be about many jobs."""

BULK_EXITS = {130: "Interrupted by Ctrl-C; it says how far it came."}

DONE = {"cancel": "cancelled", "replay": "replayed", "purge": "deleted"}


def do_to_many(
    act: Act, chosen: Selection, app: str | None, url: str | None, *, dry_run: bool, yes: bool, as_json: bool
) -> None:
    """Do it to all that were chosen, or say to how many it would be done.

    Raises `WrongUsage` if nobody can be asked, `CommandFailed` if the answer is no, and `KeyboardInterrupt` after a
    Ctrl-C, once it has been said how far it came.
    """
    chosen.check()
    done = DONE[act.name]
    if not (yes or dry_run or can_ask()):
        raise WrongUsage(f"nobody can be asked whether all these are to be {done}: add --yes, or try --dry-run")
    total = None
    if dry_run or not yes or is_watched():
        total = with_store(app, url, partial(_count, act, chosen))
    if dry_run:
        _say_total(act, total or 0, as_json=as_json)
        return
    if total and not yes and not ask(f"{act.name} {total:,} jobs?"):
        raise CommandFailed(f"nothing was {done}")
    progress, interrupted = with_store(app, url, partial(_do, act, chosen, total))
    _say_done(act, progress, interrupted=interrupted, as_json=as_json)
    if interrupted:
        raise KeyboardInterrupt


async def _count(act: Act, chosen: Selection, store: Store) -> int:
    matched = 0
    with bar("counting", None) as show:
        async for progress in walk(store, await _filter(act, chosen, store), None):
            matched = progress.matched
            show(matched)
    return matched


async def _do(act: Act, chosen: Selection, total: int | None, store: Store) -> tuple[BulkProgress, bool]:
    """Do it; answers how far it came, and whether somebody stopped it before the end."""
    wanted = await _filter(act, chosen, store)
    progress = BulkProgress()
    try:
        with bar(act.name, total) as show, _listening() as interrupted:
            async for progress in walk(store, wanted, act):
                show(progress.matched)
                if interrupted.is_set():
                    return progress, True
    except StoreError:
        if progress.done:
            note(f"{progress.done:,} were {DONE[act.name]} before this; the same command goes on from there")
        raise
    return progress, False


async def _filter(act: Act, chosen: Selection, store: Store) -> JobFilter:
    try:
        return act.narrow(await chosen.filter(store))
    except InvalidOption as error:
        raise WrongUsage(f"--state: {error}") from None


@contextmanager
def _listening() -> Iterator[asyncio.Event]:
    """Gives an event that a Ctrl-C sets; a second one ends the command where it is."""
    loop = asyncio.get_running_loop()
    heard = asyncio.Event()

    def hear() -> None:
        heard.set()
        loop.remove_signal_handler(signal.SIGINT)

    loop.add_signal_handler(signal.SIGINT, hear)
    try:
        yield heard
    finally:
        loop.remove_signal_handler(signal.SIGINT)


def _say_total(act: Act, total: int, *, as_json: bool) -> None:
    if as_json:
        say_json({"matched": total})
    else:
        say(f"{total} would be {DONE[act.name]}")


def _say_done(act: Act, progress: BulkProgress, *, interrupted: bool, as_json: bool) -> None:
    done = DONE[act.name]
    if as_json:
        say_json(
            {"matched": progress.matched, done: progress.done, "refused": progress.refused, "interrupted": interrupted}
        )
        return
    say(f"{progress.done} {done}")
    if progress.refused:
        note(f"{progress.refused} were not {done}: {_WHY[act.name]}")
    if interrupted:
        note("interrupted; the same command goes on from there")


_WHY = {
    "cancel": "they had finished by then",
    "replay": "another job holds their unique key, or somebody was faster",
    "purge": "they finished within the last five minutes, or unfinished jobs depend on them",
}
