"""``windlass enqueue``: store one job, its arguments checked as Python code would have them checked."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from windlass.cli.arguments import Argument, between, command, seconds
from windlass.cli.errors import WrongUsage
from windlass.cli.output import note, say, say_json
from windlass.cli.target import APP, JSON, find_app, with_app
from windlass.core.clock import MAX_SPAN, SECOND
from windlass.core.errors import JobFailed, RemoteError
from windlass.core.text import shorten

if TYPE_CHECKING:
    from windlass.core.task import TaskSpec
    from windlass.job import Job

SPAN = seconds(0, MAX_SPAN // SECOND)


@command(
    Argument("task", metavar="TASK", help="Name of the task, such as tasks.send."),
    Argument("arguments", nargs="*", metavar="ARG", help="Arguments as JSON: 3, '\"text\"', '[1, 2]'."),
    APP,
    Argument("--kwargs", metavar="JSON", help='Arguments by name: \'{"to": "a@example.org"}\'.'),
    Argument("-q", "--queue", metavar="NAME", help="Queue to wait in."),
    Argument("--priority", type=between(0, 9), metavar="0-9", help="9 is first, 0 last."),
    Argument("--delay", type=SPAN, metavar="SECONDS", help="Not before so long from now."),
    Argument("--expires", type=SPAN, metavar="SECONDS", help="Cancelled if not started by then."),
    Argument("--unique", metavar="KEY", help="At most one unfinished job of the task with this key."),
    Argument("--wait", type=SPAN, metavar="SECONDS", help="Wait so long for the result, and print it."),
    JSON,
    examples=[
        ("windlass enqueue shop.send '\"a@example.org\"' --priority 9", "Positional arguments, as JSON."),
        ('windlass enqueue shop.send --kwargs \'{"to": "a@example.org"}\' --delay 60', "By name, in a minute."),
        ("windlass enqueue shop.add --wait 10 -- -1 2", "And print the result; -- since -1 looks like an option."),
    ],
    exits={1: "It could not be stored; or with --wait, the job died or took longer."},
)
def enqueue(
    *,
    task: str,
    arguments: list[str],
    app: str | None,
    kwargs: str | None,
    queue: str | None,
    priority: int | None,
    delay: float | None,
    expires: float | None,
    unique: str | None,
    wait: float | None,
    as_json: bool,
) -> None:
    """Store a job. It runs TASK with these arguments; the answer is its id.

    An argument that begins with a dash comes after --, as in: windlass enqueue tasks.add -- -1 2
    """
    found = find_app(app)
    if task in found.workflows:
        raise WrongUsage(f"{task} is a workflow: windlass workflows start {task}")
    wanted = found.find_task(task).options(queue=queue, priority=priority, delay=delay, expires=expires, unique=unique)
    positional = [parse_argument(text, f"argument {number}") for number, text in enumerate(arguments, 1)]
    named = parse_named(kwargs)
    call = wanted.bind(*positional, **named)

    async def act() -> tuple[Job[Any], object]:
        job = await call.enqueue()
        if wait is None or not as_json:
            _say_stored(job, as_json=as_json)
        return job, None if wait is None else await _result(job, wanted.spec, wait)

    job, result = with_app(found, act)
    if wait is not None:
        _say_result(job, result, as_json=as_json)


def _say_stored(job: Job[Any], *, as_json: bool) -> None:
    if as_json:
        say_json({"id": job.id, "duplicate": job.duplicate})
        return
    if job.duplicate:
        note("an unfinished job holds the unique key: nothing was stored, this is its id")
    say(job.id)


def _say_result(job: Job[Any], result: object, *, as_json: bool) -> None:
    if as_json:
        say_json({"id": job.id, "duplicate": job.duplicate, "result": result})
    else:
        say(json.dumps(result))


async def _result(job: Job[Any], spec: TaskSpec, timeout: float) -> object:
    """Wait for the result, as a JSON value."""
    try:
        return json.loads(spec.signature.encode_result(await job.result(timeout)))
    except RemoteError as error:
        raise JobFailed(f"job {job.id} is dead: {error}") from None


def parse_argument(text: str, what: str) -> object:
    """Read an argument: a JSON value."""
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        hint = f"; text needs quotes of its own: '{json.dumps(text)}'" if text and len(text) < 100 else ""
        raise WrongUsage(f"{what} is not JSON: {shorten(text, 80)!a}{hint}") from None


def _refuse_constant(name: str) -> object:
    raise ValueError(name)


def parse_named(text: str | None) -> dict[str, object]:
    """Read arguments by name: a JSON object."""
    if text is None:
        return {}
    try:
        named = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        named = None
    if not isinstance(named, dict):
        raise WrongUsage(f'--kwargs: expected a JSON object, such as \'{{"to": "a"}}\', got {shorten(text, 80)!a}')
    return named


COMMAND = enqueue
