"""``windlass jobs``: list, show, cancel, replay and purge jobs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from windlass.bulk import CANCEL, PURGE, REPLAY
from windlass.cli.arguments import Argument, Group, between, command
from windlass.cli.bulk import BULK_EXITS, MANY, do_to_many
from windlass.cli.enqueue import SPAN
from windlass.cli.errors import CommandFailed, WrongUsage
from windlass.cli.ids import parse_ids
from windlass.cli.output import ago, note, say, say_fields, say_json, say_table
from windlass.cli.selection import SELECTION, Selection
from windlass.cli.target import STORE, with_store
from windlass.core.clock import span
from windlass.core.errors import JobNotFound, UsageError
from windlass.core.ids import FIRST_RUN_ID, from_text, to_text
from windlass.views import job_summary

if TYPE_CHECKING:
    from windlass.core.records import JobFilter, JobPage, JobRecord
    from windlass.store.port import Store

IDS = Argument("ids", nargs="*", metavar="ID", help="Job ids; or options that say which jobs.")


@command(
    *STORE,
    *SELECTION,
    Argument("--limit", type=between(1, 1000), default=50, metavar="N", help="At most so many. Default: 50."),
    Argument("--cursor", metavar="CURSOR", help="Go on where an earlier page ended."),
    examples=[
        ("windlass jobs ls --state dead --error-type TimeoutError --after 2h", "What died of timeouts lately."),
        ("windlass jobs ls --queue mail --limit 1000 --json | jq -r '.jobs[].id'", "For programs."),
    ],
)
def list_jobs(
    *, app: str | None, url: str | None, as_json: bool, limit: int, cursor: str | None, **chosen: Any
) -> None:
    """List jobs, newest first. Runs are listed by `windlass workflows ls`; their steps are jobs."""
    selection = Selection(**chosen)
    selection.check()
    start = _cursor(cursor)

    async def act(store: Store) -> tuple[JobPage, int]:
        return await _page(store, await selection.filter(store), limit, start), await store.now()

    page, now = with_store(app, url, act)
    following = to_text(page.cursor) if page.cursor else None
    if as_json:
        say_json({"jobs": [msgspec.to_builtins(job_summary(job)) for job in page.jobs], "cursor": following})
        return
    if not page.jobs:
        note("no jobs")
        return
    say_table(
        ("id", "task", "queue", "state", "#attempt", "#age"),
        (
            (to_text(job.id), job.task, job.queue, job.state.word, job.attempt, ago(now - job.enqueued_at))
            for job in page.jobs
        ),
        whole=("id", "state"),
    )
    if following:
        note(f"there are more: --cursor {following}")


async def _page(store: Store, wanted: JobFilter, limit: int, cursor: bytes | None) -> JobPage:
    """As many as were asked for, if there are, in as many steps as it takes."""
    jobs: list[JobRecord] = []
    while True:
        page = await store.list_jobs(wanted, limit=limit - len(jobs), cursor=cursor)
        jobs += page.jobs
        cursor = page.cursor
        if cursor is None or len(jobs) == limit:
            return msgspec.structs.replace(page, jobs=jobs)


@command(
    Argument("id", metavar="ID", help="Job id."),
    *STORE,
    examples=[("windlass jobs show 0198c5a6-5a2e-7b1c-9d0e-3f4a5b6c7d8e", "Arguments, errors, log and times.")],
    exits={1: "There is no such job."},
)
def show(*, id: str, app: str | None, url: str | None, as_json: bool) -> None:
    """Show everything about one job."""
    wanted = from_text(id)
    (job,) = with_store(app, url, lambda store: store.get_jobs([wanted]))
    if job is None:
        raise JobNotFound(f"there is no job {to_text(wanted)}: it never was, or its retention is over")
    from windlass.cli.details import fields, record

    if as_json:
        say_json(record(job))
    else:
        say_fields(fields(job))


_CANCELLED = {0: "cancelled", 1: "asked to stop", 2: "finished already", 3: "unknown"}
_REPLAYED = {0: "ready again", 1: "neither dead nor cancelled", 2: "another job holds its unique key", 3: "unknown"}


@command(
    IDS,
    *STORE,
    *SELECTION,
    *MANY,
    examples=[
        ("windlass jobs cancel 0198c5a6-5a2e-7b1c-9d0e-3f4a5b6c7d8e", "One job."),
        ("windlass jobs cancel --queue mail --before 1d", "All of a queue that have waited for a day."),
    ],
    exits=BULK_EXITS,
)
def cancel(
    *,
    ids: list[str],
    app: str | None,
    url: str | None,
    as_json: bool,
    everything: bool,
    dry_run: bool,
    yes: bool,
    **chosen: Any,
) -> None:
    """Cancel jobs. One that has not started is cancelled at once; of one that runs, the worker is told.

    Either ids, or options that say which jobs: all that they name must hold. Then it says how many there are, and asks.
    """
    wanted = _one_or_many(ids, Selection(**chosen), everything)
    if wanted:
        answers = with_store(app, url, lambda store: store.cancel(wanted))
        said = [_CANCELLED[answer] for answer in answers]
        _say_answers(wanted, said, good=("cancelled", "asked to stop"), as_json=as_json)
    else:
        do_to_many(CANCEL, Selection(**chosen), app, url, dry_run=dry_run, yes=yes, as_json=as_json)


@command(
    IDS,
    *STORE,
    *SELECTION,
    *MANY,
    examples=[
        ("windlass jobs replay 0198c5a6-5a2e-7b1c-9d0e-3f4a5b6c7d8e", "One job."),
        ("windlass jobs replay --task shop.send --error-type TimeoutError --dry-run", "How many would that be?"),
        ("windlass jobs replay --all --yes", "All that are dead, without a question."),
        ("windlass jobs replay --state cancelled --after 2026-01-31", "Those that were cancelled, too."),
    ],
    exits=BULK_EXITS,
)
def replay(
    *,
    ids: list[str],
    app: str | None,
    url: str | None,
    as_json: bool,
    everything: bool,
    dry_run: bool,
    yes: bool,
    **chosen: Any,
) -> None:
    """Run dead or cancelled jobs again. They keep their ids, and have a fresh retry budget.

    Either ids, or options that say which jobs: all that they name must hold. Then it says how many there are, and asks.
    Cancelled jobs are meant only if --state says so. The oldest go first.
    """
    wanted = _one_or_many(ids, Selection(**chosen), everything)
    if wanted:
        answers = with_store(app, url, lambda store: store.replay(wanted))
        said = [_REPLAYED[answer] for answer in answers]
        _say_answers(wanted, said, good=("ready again",), as_json=as_json)
    else:
        do_to_many(REPLAY, Selection(**chosen), app, url, dry_run=dry_run, yes=yes, as_json=as_json)


@command(
    Argument("ids", nargs="+", metavar="ID", help="Ids of jobs."),
    *STORE,
    Argument("--delay", type=SPAN, default=0.0, metavar="SECONDS", help="Due so long from now. Default: now."),
    examples=[("windlass jobs reschedule 01890a5d-ac96-774b-bcce-b302099a8057", "Try again at once.")],
)
def reschedule(*, ids: list[str], app: str | None, url: str | None, as_json: bool, delay: float) -> None:
    """Have jobs that wait for their time be due now, or later.

    Jobs wait for a time because of a delay, or to be tried again.
    """
    wanted = parse_ids(ids)

    async def act(store: Store) -> list[bool]:
        return await store.reschedule(wanted, await store.now() + span(delay, "--delay"))

    said = ["rescheduled" if moved else "not scheduled" for moved in with_store(app, url, act)]
    _say_answers(wanted, said, good=("rescheduled",), as_json=as_json)


@command(
    IDS,
    *STORE,
    *SELECTION,
    *MANY,
    examples=[
        ("windlass jobs purge", "What the workers would delete by themselves."),
        ("windlass jobs purge --state dead --task shop.send --before 1d", "What nobody will replay."),
    ],
    exits=BULK_EXITS,
)
def purge(
    *,
    ids: list[str],
    app: str | None,
    url: str | None,
    as_json: bool,
    everything: bool,
    dry_run: bool,
    yes: bool,
    **chosen: Any,
) -> None:
    """Delete finished jobs. Those named by ids, or chosen by options, or else those whose retention is over.

    A job that finished less than five minutes ago, or that unfinished jobs depend on, stays.
    """
    selection = Selection(**chosen)
    if not (ids or selection or everything or dry_run):
        _say_deleted(with_store(app, url, _purge_due), as_json=as_json)
    elif wanted := _one_or_many(ids, selection, everything):
        deleted = with_store(app, url, lambda store: store.delete(wanted))
        _say_deleted(deleted, as_json=as_json)
        if deleted < len(wanted):
            raise CommandFailed(
                f"{len(wanted) - deleted} not deleted: unknown, unfinished, finished within the last five minutes, "
                "or with dependants that are unfinished"
            )
    else:
        do_to_many(PURGE, selection, app, url, dry_run=dry_run, yes=yes, as_json=as_json)


def _one_or_many(ids: list[str], chosen: Selection, everything: bool) -> list[bytes]:
    """The ids, if the command is about those, or nothing if it is about what was chosen. Raises `WrongUsage`."""
    if ids and (chosen or everything):
        raise WrongUsage("give ids, or options that say which jobs, not both")
    if not (ids or chosen or everything):
        raise WrongUsage("which jobs? give ids, or --task, --queue, --state, --error-type, --before, --after, or --all")
    return parse_ids(ids)


async def _purge_due(store: Store) -> int:
    deleted = 0
    while True:
        progress = await store.purge()
        deleted += progress.done
        if not progress.more:
            return deleted


def _say_deleted(deleted: int, *, as_json: bool) -> None:
    if as_json:
        say_json({"deleted": deleted})
    else:
        say(f"{deleted} deleted")


def _say_answers(ids: list[bytes], answers: list[str], *, good: Sequence[str], as_json: bool) -> None:
    texts = [to_text(job_id) for job_id in ids]
    if as_json:
        say_json([{"id": text, "answer": answer} for text, answer in zip(texts, answers, strict=True)])
    else:
        say_table(("id", "answer"), zip(texts, answers, strict=True), whole=("id",))
    refused = sum(answer not in good for answer in answers)
    if refused:
        raise CommandFailed(f"{refused} of {len(ids)} refused")


def _cursor(text: str | None) -> bytes:
    """Where a page begins: behind the runs, which `windlass workflows ls` lists."""
    try:
        return FIRST_RUN_ID if text is None else from_text(text)
    except UsageError:
        raise WrongUsage(f"--cursor {text!a}: expected what an earlier page said") from None


COMMAND = Group(
    "List, show, cancel, replay, reschedule and purge jobs.",
    ls=list_jobs,
    show=show,
    cancel=cancel,
    replay=replay,
    reschedule=reschedule,
    purge=purge,
)
