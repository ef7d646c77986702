"""``windlass workflows``: start runs, look at them, end them, and let them go on."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from windlass.cli.arguments import Argument, Group, between, command
from windlass.cli.enqueue import SPAN, parse_argument, parse_named
from windlass.cli.errors import CommandFailed, WrongUsage
from windlass.cli.output import note, say, say_fields, say_json, say_table
from windlass.cli.target import APP, JSON, STORE, find_app, open_app, with_app
from windlass.core.text import printable
from windlass.views import RunView, items_text, read_run, run_view

if TYPE_CHECKING:
    from windlass.app import App
    from windlass.core.drawing import DrawnStep
    from windlass.doctor import Finding
    from windlass.workflows.run import Run, StepStatus
    from windlass.workflows.workflow import Workflow

T = TypeVar("T")

RUN = Argument("run", metavar="RUN", help="Id of the run.")
ARGUMENTS = Argument("arguments", nargs="*", metavar="ARG", help="Arguments as JSON: 3, '\"text\"', '[1, 2]'.")
KWARGS = Argument("--kwargs", metavar="JSON", help='Arguments by name: \'{"day": "2026-01-31"}\'.')


def _with(app: str | None, url: str | None, run: str, act: Callable[[Run[Any]], Awaitable[T]]) -> T:
    found = open_app(app, url, create=False)

    async def use() -> T:
        return await act(found.run(run))

    return with_app(found, use)


def _find(app: App, name: str) -> Workflow[..., Any]:
    import difflib

    found = app.workflows.get(name)
    if found is None:
        close = difflib.get_close_matches(name, app.workflows, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"declared are {', '.join(sorted(app.workflows)) or 'none'}"
        raise WrongUsage(f"no workflow {name!a} is declared; {hint}")
    return found


def _bound(arguments: list[str], kwargs: str | None) -> tuple[list[object], dict[str, object]]:
    positional = [parse_argument(text, f"argument {number}") for number, text in enumerate(arguments, 1)]
    return positional, parse_named(kwargs)


# ----------------------------------------------------------------------------------------------------- starting


@command(
    Argument("workflow", metavar="WORKFLOW", help="Name of the workflow, such as shop.report."),
    ARGUMENTS,
    APP,
    KWARGS,
    Argument("--delay", type=SPAN, metavar="SECONDS", help="Not before so long from now."),
    Argument("--wait", type=SPAN, metavar="SECONDS", help="Wait so long for the result, and print it."),
    JSON,
    examples=[("windlass workflows start shop.report '\"2026-01-31\"' --wait 60", "And print its result.")],
    exits={1: "It could not be stored; or with --wait, the run failed or took longer."},
)
def start(
    *,
    workflow: str,
    arguments: list[str],
    app: str | None,
    kwargs: str | None,
    delay: float | None,
    wait: float | None,
    as_json: bool,
) -> None:
    """Start a run of WORKFLOW with these arguments. The answer is its id."""
    found = find_app(app)
    wanted = _find(found, workflow).options(delay=delay)
    positional, named = _bound(arguments, kwargs)

    async def act() -> None:
        run = await wanted.start(*positional, **named)
        if wait is None or not as_json:
            say_json({"id": run.id}) if as_json else say(run.id)
        if wait is not None:
            result = msgspec.to_builtins(await run.result(wait))
            say_json({"id": run.id, "result": result}) if as_json else say(json.dumps(result))

    with_app(found, act)


# ------------------------------------------------------------------------------------------------------ looking


@command(
    *STORE,
    Argument("--workflow", metavar="NAME", help="Runs of this workflow only."),
    Argument("-n", "--limit", type=between(1, 1000), metavar="N", default=50, help="How many, at most. Default: 50."),
    Argument("--before", metavar="RUN", help="Runs that are older than this one."),
    examples=[("windlass workflows ls --workflow shop.report", "The newest first.")],
)
def list_all(
    *, app: str | None, url: str | None, as_json: bool, workflow: str | None, limit: int, before: str | None
) -> None:
    """List runs, the newest first."""
    found = open_app(app, url, create=False)

    async def act() -> list[RunView]:
        return [run_view(one) for one in await found.runs(workflow, limit=limit, before=before)]

    runs = with_app(found, act)
    if as_json:
        say_json([msgspec.to_builtins(run) for run in runs])
        return
    if not runs:
        note("no runs")
        return
    say_table(
        ("id", "workflow", "status", "enqueued", "ended"),
        ((run.id, run.workflow, run.status, run.enqueued_at, run.finished_at) for run in runs),
        whole=("id",),
    )
    if len(runs) == limit:
        note(f"there may be more: --before {runs[-1].id}")


@command(RUN, *STORE, examples=[("windlass workflows show 81a219f2-1925-7074-b946-6ef8842d1b4b", "All its steps.")])
def show(*, run: str, app: str | None, url: str | None, as_json: bool) -> None:
    """Show a run: how it stands, and each of its steps.

    If something keeps it from going on that will not pass by itself, that is said too.
    """

    found = _with(app, url, run, read_run)
    if as_json:
        say_json(msgspec.to_builtins(found))
        return
    say_fields([("id", found.id), ("status", found.status), ("steps", f"{found.done}/{found.total} done")])

    if found.steps:
        say("")
        say_table(
            ("step", "task", "status", "items", "error"),
            ((one.name, one.task, one.status, items_text(one.items), one.error) for one in found.steps),
            whole=("step",),
        )
    for sentence in found.stuck:
        note(f"stuck: {printable(sentence)}")


@command(
    Argument("run", metavar="RUN|WORKFLOW", help="Id of a run, or name of a workflow: then as it would be started."),
    ARGUMENTS,
    *STORE,
    KWARGS,
    Argument("--format", choices=("text", "mermaid", "dot", "svg"), default="text", help="As what. Default: text."),
    Argument("-o", "--output", metavar="FILE", help="Write to a file."),
    examples=[
        ("windlass workflows graph 81a219f2-1925-7074-b946-6ef8842d1b4b", "What waits for what."),
        (
            "windlass workflows graph shop.report '\"2026-01-31\"' --format svg -o report.svg",
            "A picture.",
        ),
    ],
)
def graph(
    *,
    run: str,
    arguments: list[str],
    app: str | None,
    url: str | None,
    as_json: bool,
    kwargs: str | None,
    format: str,
    output: str | None,
) -> None:
    """Draw the graph of a run, or of what a workflow would run."""
    from windlass.core import drawing

    steps = _planned(app, run, arguments, kwargs) if _names_a_workflow(run) else _drawn(app, url, run)
    if as_json:
        say_json([step._asdict() for step in steps])
        return
    draw = {"text": drawing.as_text, "mermaid": drawing.as_mermaid, "dot": drawing.as_dot, "svg": drawing.as_svg}
    text = draw[format](steps)
    if output is None:
        say(text)
    else:
        Path(output).write_text(text + "\n", encoding="utf-8")


def _names_a_workflow(text: str) -> bool:
    return len(text) != 36 or "." in text


def _planned(app: str | None, name: str, arguments: list[str], kwargs: str | None) -> list[DrawnStep]:
    from windlass.views import drawn_plan

    positional, named = _bound(arguments, kwargs)
    return drawn_plan(_find(find_app(app), name).plan(*positional, **named))


def _drawn(app: str | None, url: str | None, run: str) -> list[DrawnStep]:
    from windlass.core.drawing import DrawnStep

    async def act(one: Run[Any]) -> list[StepStatus]:
        return await one.steps()

    steps = _with(app, url, run, act)
    return [DrawnStep(step.name, step.parents, step.status, items_text(step.items)) for step in steps]


# ------------------------------------------------------------------------------------------------------- acting


@command(
    RUN,
    *STORE,
    Argument("--step", metavar="NAME", help="Only this one, and what was cancelled because of it alone."),
    Argument("--item", type=between(0, 10**8), metavar="N", help="Of a step that is a map: only this item, from 0."),
    examples=[
        ("windlass workflows retry 81a219f2-1925-7074-b946-6ef8842d1b4b", "From where it failed."),
        ("windlass workflows retry 81a219f2-1925-7074-b946-6ef8842d1b4b --step load", "From that step alone."),
    ],
)
def retry(*, run: str, app: str | None, url: str | None, as_json: bool, step: str | None, item: int | None) -> None:
    """Run again what failed in a run. So is what was cancelled, and what is behind it; what has succeeded stays."""
    if step is None and item is not None:
        raise WrongUsage("--item: of which step? Say --step too")

    async def act(one: Run[Any]) -> int:
        return await one.retry(step, item)

    count = _with(app, url, run, act)
    say_json({"id": run, "jobs": count}) if as_json else say(
        f"run {run}: {count} {'job goes' if count == 1 else 'jobs go'} on"
    )


@command(
    RUN,
    APP,
    Argument("--kwargs", metavar="JSON", help="Arguments that are to be others, by name."),
    JSON,
    examples=[("windlass workflows rerun 81a219f2-1925-7074-b946-6ef8842d1b4b --kwargs '{\"n\": 5}'", "Another n.")],
)
def rerun(*, run: str, app: str | None, kwargs: str | None, as_json: bool) -> None:
    """Start another run with the same arguments, or some others. The answer is its id."""
    found = find_app(app)
    changes = parse_named(kwargs)

    async def act() -> Run[Any]:
        return await found.run(run).rerun(**changes)

    again = with_app(found, act)
    say_json({"id": again.id}) if as_json else say(again.id)


@command(RUN, *STORE, examples=[("windlass workflows cancel 81a219f2-1925-7074-b946-6ef8842d1b4b", "All of it.")])
def cancel(*, run: str, app: str | None, url: str | None, as_json: bool) -> None:
    """Cancel all that a run has not finished. What runs is asked to end."""

    async def act(one: Run[Any]) -> str:
        await one.cancel()
        return await one.status()

    status = _with(app, url, run, act)
    say_json({"id": run, "status": status}) if as_json else say(f"run {run}: {status}")


@command(
    Argument("runs", nargs="*", metavar="RUN", help="Runs. Default: all that have not ended."),
    *STORE,
    Argument("--mend", action="store_true", help="Carry on what was left behind, and cancel what can never run."),
    examples=[("windlass workflows audit --mend", "After an accident.")],
    exits={1: "Something is stuck; or the store could not be asked."},
)
def audit(*, runs: list[str], app: str | None, url: str | None, as_json: bool, mend: bool) -> None:
    """Find runs that do not go on, and say why."""
    found = open_app(app, url, create=False)

    async def act() -> list[tuple[str, Finding]]:
        wanted = [found.run(run) for run in runs] if runs else [run async for run in _unfinished(found)]
        return [(run.id, finding) for run in wanted for finding in await run.audit(mend=mend)]

    findings = with_app(found, act)
    if as_json:
        say_json([{"run": run} | msgspec.to_builtins(finding) for run, finding in findings])
    elif findings:
        say_table(("run", "finding"), ((run, finding.sentence) for run, finding in findings), whole=("run",))
    else:
        say("nothing is stuck")
    stuck = sum(finding.stuck for _, finding in findings)
    if stuck:
        raise CommandFailed("something is stuck" if stuck == 1 else f"{stuck} things are stuck")


async def _unfinished(app: App) -> AsyncIterator[Run[Any]]:
    before = None
    while page := await app.runs(limit=500, before=before):
        for info in page:
            if info.status in ("starting", "running"):
                yield app.run(info.id)
        before = page[-1].id


@command(RUN, *STORE, examples=[("windlass workflows pause 81a219f2-1925-7074-b946-6ef8842d1b4b", "For a while.")])
def pause(*, run: str, app: str | None, url: str | None, as_json: bool) -> None:
    """Let nothing more of a run start. What runs goes on."""

    async def act(one: Run[Any]) -> None:
        await one.pause()

    _with(app, url, run, act)
    say_json({"id": run, "paused": True}) if as_json else say(f"run {run}: paused")


@command(RUN, *STORE, examples=[("windlass workflows resume 81a219f2-1925-7074-b946-6ef8842d1b4b", "It goes on.")])
def resume(*, run: str, app: str | None, url: str | None, as_json: bool) -> None:
    """Let a run go on that was paused."""

    async def act(one: Run[Any]) -> None:
        await one.status()
        await one.resume()

    _with(app, url, run, act)
    say_json({"id": run, "paused": False}) if as_json else say(f"run {run}: resumed")


@command(
    RUN,
    Argument("step", metavar="STEP", help="Name of the step."),
    Argument("result", metavar="RESULT", help="Its result, as JSON."),
    *STORE,
    examples=[("windlass workflows skip 81a219f2-1925-7074-b946-6ef8842d1b4b approve true", "As if it had run.")],
)
def skip(*, run: str, step: str, result: str, app: str | None, url: str | None, as_json: bool) -> None:
    """Declare a step succeeded that has not started, with a result."""
    value = parse_argument(result, "RESULT")

    async def act(one: Run[Any]) -> None:
        await one.skip(step, value)

    _with(app, url, run, act)
    say_json({"id": run, "step": step}) if as_json else say(f"run {run}: step {printable(step)} counts as succeeded")


COMMAND = Group(
    "Start runs of workflows, look at them, draw, pause, cancel and retry them.",
    start=start,
    ls=list_all,
    show=show,
    graph=graph,
    retry=retry,
    rerun=rerun,
    cancel=cancel,
    pause=pause,
    resume=resume,
    skip=skip,
    audit=audit,
)
