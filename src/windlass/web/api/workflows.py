"""Runs of workflows: start, look, draw, pause, cancel, retry."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from litestar import MediaType, get, post
from litestar.exceptions import NotFoundException
from litestar.params import FromPath, FromQuery, JSONBody

from windlass.core import drawing
from windlass.doctor import Finding
from windlass.views import RunDetail, RunView, StepView, drawn_plan, items_text, read_run, run_view, step_view
from windlass.web import planning
from windlass.web.api.common import LOOK, STEER, AnyRequest, Count, InPath, TheConsole, Word, note
from windlass.web.console import Console
from windlass.workflows.run import UNFINISHED
from windlass.workflows.workflow import Workflow

_DRAW = {"text": drawing.as_text, "mermaid": drawing.as_mermaid, "dot": drawing.as_dot}


def _find(console: Console, name: str) -> Workflow[..., Any]:
    workflow = console.app.workflows.get(name)
    if workflow is None:
        raise NotFoundException(f"no workflow {name[:100]!a} is declared")
    return workflow


def drawn(steps: list[StepView]) -> list[drawing.DrawnStep]:
    """Steps, to be drawn: a map is one of them."""
    return [
        drawing.DrawnStep(
            step.name,
            tuple(step.parents),
            step.status,
            items_text(step.items),
        )
        for step in steps
    ]


@get("/workflows", summary="List the app's workflows", guards=LOOK)
async def list_workflows(console: TheConsole) -> list[str]:
    """Names of those that can be started here."""
    return sorted(console.app.workflows)


@get("/runs", summary="List runs, newest first", guards=LOOK)
async def list_runs(
    console: TheConsole, limit: Count = 50, workflow: Word = None, before: Word = None
) -> list[RunView]:
    """``before``: those that are older than this one."""
    return [run_view(one) for one in await console.app.runs(workflow, limit=limit, before=before)]


@get("/runs/{id:str}", summary="Show a run and its steps", guards=LOOK)
async def show_run(console: TheConsole, id: InPath) -> RunDetail:
    """How it stands, and what keeps it from going on."""
    return await read_run(console.app.run(id))


async def _drawn(console: TheConsole, id: str) -> list[drawing.DrawnStep]:
    return drawn([step_view(step) for step in await console.app.run(id).steps()])


@get("/runs/{id:str}/graph", summary="Draw a run as text", guards=LOOK, media_type=MediaType.TEXT)
async def draw(console: TheConsole, id: InPath, format: FromQuery[Literal["text", "mermaid", "dot"]] = "text") -> str:
    """What waits for what."""
    return _DRAW[format](await _drawn(console, id))


@get("/runs/{id:str}/graph.svg", summary="Draw a run", guards=LOOK, media_type="image/svg+xml")
async def draw_svg(console: TheConsole, id: InPath) -> str:
    """What waits for what, as a picture."""
    return drawing.as_svg(await _drawn(console, id))


class Planned(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """With which arguments a workflow is to be drawn."""

    arguments: list[Any] = []
    named: dict[str, Any] = {}


@post(
    "/workflows/{name:str}/graph",
    summary="Draw as text what a workflow would run",
    guards=STEER,
    status_code=200,
    media_type=MediaType.TEXT,
)
async def draw_plan(
    console: TheConsole,
    name: InPath,
    data: JSONBody[Planned],
    format: FromQuery[Literal["text", "mermaid", "dot"]] = "text",
) -> str:
    """Nothing is started, or stored; but the workflow's function is called here, with these arguments. At most 2,000
    steps."""
    return _DRAW[format](drawn_plan(await planning.plan(_find(console, name), data.arguments, data.named)))


@post(
    "/workflows/{name:str}/graph.svg",
    summary="Draw what a workflow would run",
    guards=STEER,
    status_code=200,
    media_type="image/svg+xml",
)
async def draw_plan_svg(console: TheConsole, name: InPath, data: JSONBody[Planned]) -> str:
    """Nothing is started, or stored; but the workflow's function is called here, with these arguments. At most 2,000
    steps."""
    return drawing.as_svg(drawn_plan(await planning.plan(_find(console, name), data.arguments, data.named)))


class Start(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A run to be started."""

    arguments: list[Any] = []
    named: dict[str, Any] = {}
    delay: Annotated[float, msgspec.Meta(ge=0, le=1e9)] | None = None


class Started(msgspec.Struct, frozen=True, kw_only=True):
    """A run that was started."""

    id: str


@post("/workflows/{name:str}/runs", summary="Start a run", guards=STEER, status_code=201)
async def start(console: TheConsole, name: InPath, data: JSONBody[Start]) -> Started:
    """Its arguments are checked as Python code would have them checked."""
    run = await planning.start(_find(console, name).options(delay=data.delay), data.arguments, data.named)
    return Started(id=run.id)


class RunAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """How a run stands after it was told something."""

    id: str
    status: str
    jobs: int = 0
    """Of a retry: how many jobs go on."""


async def steer(console: TheConsole, id: str, act: str) -> RunAnswer:
    """Cancel, pause, resume or retry a run. Raises `JobNotFound` and `UsageError`."""
    run = console.app.run(id)
    jobs = 0
    if act == "cancel":
        await run.cancel()
    elif act == "pause":
        await run.pause()
    elif act == "resume":
        await run.status()  # whether there is one
        await run.resume()
    else:
        jobs = await run.retry()
    return RunAnswer(id=run.id, status=await run.status(), jobs=jobs)


@post(
    "/runs/{id:str}/{act:str}",
    summary="Cancel, pause, resume or retry a run",
    guards=STEER,
    status_code=200,
)
async def act_on_run(
    console: TheConsole, id: InPath, act: FromPath[Literal["cancel", "pause", "resume", "retry"]]
) -> RunAnswer:
    """A retry runs again what failed, and what was cancelled behind it."""
    return await steer(console, id, act)


class Again(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Another run of the same workflow."""

    named: dict[str, Any] = {}
    """Arguments that are to be others."""


@post(
    "/runs/{id:str}/rerun",
    summary="Start another run with the same arguments",
    guards=STEER,
    status_code=201,
)
async def rerun(console: TheConsole, id: InPath, data: JSONBody[Again]) -> Started:
    """Or some others."""
    return Started(id=(await console.app.run(id).rerun(**data.named)).id)


class Skipped(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A step that is to count as succeeded."""

    step: str
    result: Any = None


@post("/runs/{id:str}/skip", summary="Declare a step succeeded", guards=STEER, status_code=200)
async def skip(console: TheConsole, request: AnyRequest, id: InPath, data: JSONBody[Skipped]) -> RunAnswer:
    """One that has not started, with a result."""
    note(request, data.step)
    run = console.app.run(id)
    await run.skip(data.step, data.result)
    return RunAnswer(id=run.id, status=await run.status())


class RetryStep(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A step, or an item of one that is a map."""

    step: str
    item: Annotated[int, msgspec.Meta(ge=0, le=10**8)] | None = None


@post("/runs/{id:str}/retry-step", summary="Run one step again, or one item of a map", guards=STEER, status_code=200)
async def retry_step(console: TheConsole, request: AnyRequest, id: InPath, data: JSONBody[RetryStep]) -> RunAnswer:
    """And what was cancelled because of it alone. Steps that wait for others that failed stay as they are."""
    note(request, data.step if data.item is None else f"{data.step} {data.item}")
    run = console.app.run(id)
    jobs = await run.retry(data.step, data.item)
    return RunAnswer(id=run.id, status=await run.status(), jobs=jobs)


@get("/runs/{id:str}/audit", summary="Say what keeps a run from going on", guards=LOOK)
async def audit(console: TheConsole, id: InPath) -> list[Finding]:
    """Nothing, as a rule."""
    return await console.app.run(id).audit()


@post(
    "/runs/{id:str}/mend",
    summary="Carry on what was left behind in a run",
    guards=STEER,
    status_code=200,
)
async def mend(console: TheConsole, id: InPath) -> list[Finding]:
    """And cancel what can never run."""
    return await console.app.run(id).audit(mend=True)


class StuckRun(msgspec.Struct, frozen=True, kw_only=True):
    """A run that does not go on by itself."""

    id: str
    findings: list[Finding]


class Audited(msgspec.Struct, frozen=True, kw_only=True):
    """Which of some runs do not go on."""

    runs: list[StuckRun]
    before: str | None = None
    """Ask again with this for older runs; null: there are none."""


async def _audit_some(console: Console, limit: int, before: str | None, *, mend: bool) -> Audited:
    runs = await console.app.runs(limit=limit, before=before)
    stuck = []
    for one in runs:
        if one.status in UNFINISHED:
            findings = await console.app.run(one.id).audit(mend=mend)
            if findings:
                stuck.append(StuckRun(id=one.id, findings=findings))
    return Audited(runs=stuck, before=runs[-1].id if len(runs) == limit else None)


@get("/runs/audit", summary="Say what keeps runs from going on", guards=LOOK)
async def audit_all(console: TheConsole, limit: Count = 50, before: Word = None) -> Audited:
    """Those that have not ended, among so many of the newest; ``before``: among those that are older than this one."""
    return await _audit_some(console, limit, before, mend=False)


@post("/runs/mend", summary="Carry on what was left behind in runs", guards=STEER, status_code=200)
async def mend_all(console: TheConsole, limit: Count = 50, before: Word = None) -> Audited:
    """And cancel what can never run. The same runs; what was mended is said."""
    return await _audit_some(console, limit, before, mend=True)


HANDLERS = (
    list_workflows, list_runs, show_run, draw, draw_svg, draw_plan, draw_plan_svg, start, act_on_run, rerun, skip,
    retry_step, audit, mend, audit_all, mend_all,
)  # fmt: skip
