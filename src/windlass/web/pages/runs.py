"""Runs of workflows: a list, and one with its graph and its time."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple

from litestar import Response, get, post
from markupsafe import Markup

from windlass.core import drawing
from windlass.core.ids import from_text
from windlass.core.records import JobRecord
from windlass.views import RunDetail, RunView, StepView, read_run, run_view, shown_arguments
from windlass.web.api.common import LOOK, STEER, AnyRequest, InPath, TheConsole, Word, note
from windlass.web.api.workflows import drawn
from windlass.web.console import Console
from windlass.web.pages.frame import Form, changed, page, root_of

SHOWN = 50
STEPS_SHOWN = 300
"""Steps of which the table says everything; the graph has all."""
BARS = 200
"""Steps of which it is drawn when they ran."""
_FIRST = {status: place for place, status in enumerate(("dead", "cancelled", "running"))}
_WIDTH = 1000
"""Units of all the time that a run took."""


@get("/runs", guards=LOOK, include_in_schema=False)
async def runs(console: TheConsole, request: AnyRequest, workflow: Word = None, before: Word = None) -> Response[str]:
    """The newest first."""
    name = (workflow or "").strip()

    async def ask() -> list[RunView]:
        return [run_view(one) for one in await console.app.runs(name or None, limit=SHOWN, before=before)]

    found = await console.shared.read(("runs", name, before), ask)
    older = found[-1].id if len(found) == SHOWN else None
    return page(request, "runs.html", runs=found, workflow=name, older=older)


@get("/runs/{id:str}", guards=LOOK, include_in_schema=False)
async def run(console: TheConsole, request: AnyRequest, id: InPath) -> Response[str]:
    """A run with its steps."""
    root = root_of(request)
    start, found = await console.shared.read(("run", id), lambda: _read(console, id))
    bars, span = _bars(found)
    shown = found.steps
    if len(shown) > STEPS_SHOWN:  # those that somebody looks for come first
        shown = sorted(shown, key=lambda step: _FIRST.get(step.status, len(_FIRST)))[:STEPS_SHOWN]
    jobs = {step.name: f"{root}/jobs/{step.job_id}" for step in found.steps}
    return page(
        request,
        "run.html",
        run=found,
        workflow="Run" if start is None else start.task,
        arguments=""
        if start is None
        else shown_arguments(start, console.hide(start.task, start.payload)).decode("utf-8", "replace"),
        graph=Markup(drawing.as_svg(drawn(found.steps), jobs.__getitem__)),  # noqa: S704 - it escapes what it is given
        bars=bars[:BARS],
        bars_in_all=len(bars),
        span=span,
        steps=shown,
    )


@post("/runs/{id:str}/steps", guards=STEER, include_in_schema=False, status_code=204)
async def act_on_step(console: TheConsole, request: AnyRequest, id: InPath, data: Form) -> Response[None]:
    """Run a step that failed again, or go on without one that has not started."""
    step, act = data.get("step", ""), data.get("act")
    note(request, f"{act} {step}")
    if act == "skip":
        await console.app.run(id).skip(step)
        return changed(f"{step} was skipped")
    count = await console.app.run(id).retry(step)
    return changed(f"{count} {'job goes' if count == 1 else 'jobs go'} on")


async def _read(console: Console, id: str) -> tuple[JobRecord | None, RunDetail]:
    found = await read_run(console.app.run(id))
    (start,) = await (await console.store()).get_jobs([from_text(id)])
    return start, found


class Bar(NamedTuple):
    """When a step ran."""

    name: str
    status: str
    x: int
    width: int
    said: str


def _bars(found: RunDetail) -> tuple[list[Bar], str]:
    started = [(step, _time(step.started_at)) for step in found.steps]
    ran = [(step, at, _time(step.finished_at)) for step, at in started if at is not None]
    if not ran:
        return [], ""
    begin = min(at for _, at, _ in ran)
    now = datetime.now(UTC)
    end = max(max(at, until or now) for _, at, until in ran)
    whole = max((end - begin).total_seconds(), 0.001)
    bars = [
        _bar(step, (at - begin).total_seconds() / whole, ((until or end) - at).total_seconds(), whole)
        for step, at, until in sorted(ran, key=lambda one: one[1])
    ]
    return bars, f"{whole:,.3f} s from the first start to the last end"


def _bar(step: StepView, offset: float, seconds: float, whole: float) -> Bar:
    width = max(4, round(seconds / whole * _WIDTH))
    return Bar(step.name, step.status, min(round(offset * _WIDTH), _WIDTH - 4), width, f"{seconds:,.3f} s")


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


HANDLERS = (runs, run, act_on_step)
