"""How everything stands."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import Response, get

from windlass.core.clock import MINUTE, SECOND, Instant
from windlass.core.errors import StoreError
from windlass.core.lifecycle import State
from windlass.core.records import JobFilter
from windlass.core.steps import FINISH_RUN
from windlass.doctor import Finding, examine
from windlass.engine.minutes import Minute, read_minutes
from windlass.views import JobSummary, job_summary
from windlass.web.api.common import LOOK, AnyRequest, TheConsole
from windlass.web.console import Console
from windlass.web.live import Pulse
from windlass.web.pages.frame import page

SHOWN = 60
"""Minutes that the charts show."""
QUEUES = 10
FINDINGS = 20


@get("/", guards=LOOK, include_in_schema=False)
async def overview(console: TheConsole, request: AnyRequest) -> Response[str]:
    """What runs, what waits and for how long, what has ended, what has died."""
    try:
        pulse = await console.live.pulse()
        minutes, now, dead = await console.shared.read("overview", lambda: _read(console))
    except StoreError as error:
        pulse, minutes, now, dead = Pulse(now=None, error=str(error)), {}, 0, []
    ends = sum(minute.ended for minute in minutes.values())
    started = sum(minute.started for minute in minutes.values())
    waited = sum(minute.wait for minute in minutes.values())
    return page(
        request,
        "overview.html",
        pulse=pulse,
        dead=dead,
        queues=pulse.queues[:QUEUES],
        ending=pulse.workers_in_all - pulse.live - pulse.silent,
        oldest=min((queue.oldest_ready_at for queue in pulse.queues if queue.oldest_ready_at), default=None),
        has_minutes=bool(minutes),
        throughput=_chart(minutes, now, [("succeeded", "--good", _succeeded), ("failed or dead", "--bad", _bad)]),
        waits=_chart(minutes, now, [("mean", "--busy", _mean_wait), ("longest", "--warn", _longest_wait)]),
        said=f"{ends:,} in the last hour",
        waited=f"{waited / started:.3f} s in the mean of the last hour" if started else "",
    )


async def _read(console: Console) -> tuple[dict[Instant, Minute], Instant, list[JobSummary]]:
    store = await console.store()
    now = await store.now()
    dead = await store.list_jobs(JobFilter(states=(State.DEAD,)), limit=20)
    died = [job_summary(job) for job in dead.jobs if job.task != FINISH_RUN]  # runs die of a step, which is there too
    return await read_minutes(store, now - SHOWN * MINUTE), now, died[:5]


def _succeeded(minute: Minute) -> float:
    return minute.succeeded


def _bad(minute: Minute) -> float:
    return minute.failed + minute.dead


def _mean_wait(minute: Minute) -> float:
    return minute.wait / minute.started if minute.started else 0


def _longest_wait(minute: Minute) -> float:
    return minute.longest_wait


def _chart(minutes: dict[Instant, Minute], now: Instant, lines: list[tuple[str, str, Any]]) -> str:
    """Minutes in which nothing happened are there too."""
    last = now // MINUTE * MINUTE
    times = [last - back * MINUTE for back in reversed(range(SHOWN))]
    none = Minute()
    data = [[at // SECOND for at in times]]
    data += [[round(of(minutes.get(at, none)), 4) for at in times] for _, _, of in lines]
    return msgspec.json.encode({"data": data, "series": [[label, colour, True] for label, colour, _ in lines]}).decode()


@get("/stuck", guards=LOOK, include_in_schema=False)
async def stuck(console: TheConsole, request: AnyRequest) -> Response[str]:
    """What keeps jobs from running."""

    async def look() -> list[Finding]:
        return await examine(await console.store())

    found = await console.shared.read("stuck", look)
    return page(request, "stuck.html", findings=found[:FINDINGS], more=len(found[FINDINGS:]))


HANDLERS = (overview, stuck)
