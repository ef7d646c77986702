"""``windlass jobs``: list, show, cancel, replay and purge jobs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from windlass.cli.arguments import Argument, Group, between, command
from windlass.cli.errors import CommandFailed, WrongUsage
from windlass.cli.ids import parse_ids
from windlass.cli.output import ago, iso, note, say, say_fields, say_json, say_table
from windlass.cli.target import STORE, with_store
from windlass.core.errors import JobNotFound, UsageError
from windlass.core.ids import from_text, to_text

if TYPE_CHECKING:
    from windlass.core.lifecycle import State
    from windlass.core.records import JobFilter, JobPage, JobRecord
    from windlass.store.port import Store

IDS = Argument("ids", nargs="+", metavar="ID", help="Job ids.")
SELECTION = (
    Argument(
        "--state",
        action="append",
        metavar="STATE",
        help="waiting, scheduled, ready, running, succeeded, dead or cancelled; may be repeated.",
    ),
    Argument("-q", "--queue", metavar="NAME", help="Only of this queue."),
    Argument("--task", metavar="NAME", help="Only of this task."),
)


@command(
    *STORE,
    *SELECTION,
    Argument("--limit", type=between(1, 1000, int), default=50, metavar="N", help="At most so many. Default: 50."),
    Argument("--cursor", metavar="CURSOR", help="Go on where an earlier page ended."),
)
def list_jobs(
    *,
    app: str | None,
    url: str | None,
    as_json: bool,
    state: list[str] | None,
    queue: str | None,
    task: str | None,
    limit: int,
    cursor: str | None,
) -> None:
    """List jobs, newest first."""
    wanted = _filter(state, queue, task)
    start = _cursor(cursor)

    async def act(store: Store) -> tuple[JobPage, int]:
        return await _page(store, wanted, limit, start), await store.now()

    page, now = with_store(app, url, act)
    following = page.cursor.hex() if page.cursor else None
    if as_json:
        say_json({"jobs": [_summary(job) for job in page.jobs], "cursor": following})
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


@command(Argument("id", metavar="ID", help="Job id."), *STORE)
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


@command(IDS, *STORE)
def cancel(*, ids: list[str], app: str | None, url: str | None, as_json: bool) -> None:
    """Cancel jobs. One that has not started is cancelled at once, of one that runs the worker is told."""
    wanted = parse_ids(ids)
    answers = with_store(app, url, lambda store: store.cancel(wanted))
    words = {0: "cancelled", 1: "asked to stop", 2: "finished already", 3: "unknown"}
    _say_answers(wanted, [words[answer] for answer in answers], good=("cancelled", "asked to stop"), as_json=as_json)


@command(IDS, *STORE)
def replay(*, ids: list[str], app: str | None, url: str | None, as_json: bool) -> None:
    """Run dead or cancelled jobs again. They keep their ids, and have a fresh retry budget."""
    wanted = parse_ids(ids)
    answers = with_store(app, url, lambda store: store.replay(wanted))
    words = {0: "ready again", 1: "neither dead nor cancelled", 2: "another job holds its unique key", 3: "unknown"}
    _say_answers(wanted, [words[answer] for answer in answers], good=("ready again",), as_json=as_json)


@command(Argument("ids", nargs="*", metavar="ID", help="Finished jobs to delete now."), *STORE, *SELECTION)
def purge(
    *,
    ids: list[str],
    app: str | None,
    url: str | None,
    as_json: bool,
    state: list[str] | None,
    queue: str | None,
    task: str | None,
) -> None:
    """Delete finished jobs. Those named, or those that --state, --queue and --task select, or else those whose
    retention is over.

    A job that finished less than five minutes ago, or that unfinished jobs depend on, stays.
    """
    wanted = parse_ids(ids)
    selection = _filter(state, queue, task) if state or queue or task else None
    if wanted and selection:
        raise WrongUsage("give ids, or --state, --queue and --task, not both")

    async def act(store: Store) -> int:
        if wanted:
            return await store.delete(wanted)
        return await _purge_selected(store, selection) if selection else await _purge_due(store)

    deleted = with_store(app, url, act)
    if as_json:
        say_json({"deleted": deleted})
    else:
        say(f"{deleted} deleted")
    if deleted < len(wanted):
        raise CommandFailed(
            f"{len(wanted) - deleted} not deleted: unknown, unfinished, finished within the last five minutes, "
            "or with dependants that are unfinished"
        )


async def _purge_due(store: Store) -> int:
    deleted = 0
    while True:
        progress = await store.purge()
        deleted += progress.done
        if not progress.more:
            return deleted


async def _purge_selected(store: Store, selection: JobFilter) -> int:
    deleted, cursor = 0, None
    while True:
        page = await store.list_jobs(selection, limit=500, cursor=cursor)
        finished = [job.id for job in page.jobs if job.state.is_finished]
        if finished:
            deleted += await store.delete(finished)
        cursor = page.cursor
        if cursor is None:
            return deleted


def _say_answers(ids: list[bytes], answers: list[str], *, good: Sequence[str], as_json: bool) -> None:
    texts = [to_text(job_id) for job_id in ids]
    if as_json:
        say_json([{"id": text, "answer": answer} for text, answer in zip(texts, answers, strict=True)])
    else:
        say_table(("id", "answer"), zip(texts, answers, strict=True), whole=("id",))
    refused = sum(answer not in good for answer in answers)
    if refused:
        raise CommandFailed(f"{refused} of {len(ids)} refused")


def _filter(states: list[str] | None, queue: str | None, task: str | None) -> JobFilter:
    from windlass.core.names import check_queue, check_task
    from windlass.core.records import JobFilter

    return JobFilter(
        states=tuple(_state(word) for word in states) if states else None,
        queue=check_queue(queue) if queue is not None else None,
        task=check_task(task) if task is not None else None,
    )


def _state(word: str) -> State:
    from windlass.core.lifecycle import State

    try:
        return State[word.upper()]
    except KeyError:
        known = ", ".join(state.word for state in State)
        raise WrongUsage(f"--state {word!a}: expected one of {known}") from None


def _cursor(text: str | None) -> bytes | None:
    try:
        return None if text is None else from_text(text)
    except UsageError:
        raise WrongUsage(f"--cursor {text!a}: expected what an earlier page said") from None


def _summary(job: JobRecord) -> dict[str, object]:
    return {
        "id": to_text(job.id),
        "task": job.task,
        "queue": job.queue,
        "state": job.state.word,
        "priority": job.priority,
        "attempt": job.attempt,
        "failures": job.failures,
        "enqueued_at": iso(job.enqueued_at),
        "due_at": iso(job.due_at),
        "finished_at": iso(job.finished_at),
    }


COMMAND = Group(
    "List, show, cancel, replay and purge jobs.",
    ls=list_jobs,
    show=show,
    cancel=cancel,
    replay=replay,
    purge=purge,
)
