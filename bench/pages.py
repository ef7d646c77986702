"""How long the pages of the web UI take, from the request to the last byte, while a million finished and a hundred
thousand waiting jobs are in the store."""

from __future__ import annotations

import asyncio
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.figure import Aim, Group, Metric, Probe

if TYPE_CHECKING:
    from windlass.app import App
    from windlass.store.port import Store

QUEUES, TASKS = 8, 20
DEAD_IN = 200
"""One of so many finished jobs is dead."""
STEPS = 1_000
"""Of the run whose page is looked at."""
LOOKS = 7
FRESH = 1.1
"""Seconds after which the site reads the store again, whatever it remembers."""


def ours(folder: Path, *, finished: int, waiting: int) -> dict[str, float]:
    """Milliseconds of each page, medians; and of the slowest."""
    url = f"sqlite:///{folder / 'jobs.db'}"
    paths = asyncio.run(_prepare(url, finished, waiting))
    with _served(url) as where:
        found = _look(where, paths)
    return {"slowest": max(found.values()), **found}


async def _prepare(url: str, finished: int, waiting: int) -> dict[str, str]:
    """Fill a store; gives the pages to look at, by name."""
    async with _app(url) as app:
        store = await app.store()
        ended = await _finish(store, finished)
        await _enqueue(store, finished, waiting)
        for number in range(50):
            await app.schedules.add(f"schedule-{number}", app.find_task("task-0").bind(1), _every(number))
        run = await app.workflows["wide"].start()
        async with app.worker():
            await run.result(timeout=120)
        assert len(await run.steps()) == STEPS
        return {
            "overview": "/",
            "jobs": "/jobs",
            "jobs, by state": "/jobs?state=ready",
            "jobs, by queue and task": "/jobs?queue=queue-3&task=task-3",
            "jobs, by error": "/jobs?error_type=ValueError",
            "jobs, by text": "/jobs?text=no+such+text",
            "job": f"/jobs/{ended}",
            "queues": "/queues",
            "workers": "/workers",
            "schedules": "/schedules",
            "runs": "/runs",
            "run": f"/runs/{run.id}",
            "dead": "/dead",
            "settings": "/settings",
        }


def _app(url: str) -> App:
    from windlass import App, Step

    app = App(url)

    def nothing(a: int) -> int:
        return a

    for number in range(TASKS):
        app.task(name=f"task-{number}")(nothing)
    step = app.find_task("task-0")

    @app.workflow(name="wide")
    def wide() -> Step[Any]:
        last: Step[Any] = step.step(0)
        for number in range(1, STEPS):
            made = step.step(last)
            last = made if number % 10 == 0 else last
        return last

    return app


def _every(number: int) -> Any:
    from windlass import Every

    return Every(minutes=5 + number)


async def _finish(store: Store, jobs: int) -> str:
    """Have jobs end, as workers do; gives the id of the last."""
    import msgspec

    from windlass.core.ids import new_id, to_text
    from windlass.core.lifecycle import Outcome
    from windlass.core.model import MAX_BATCH, ClaimRequest, ErrorRecord, Lane, Session, Settlement

    session, request, last, batch = new_id(), 0, b"", MAX_BATCH
    await store.open(Session(id=session, node="bench", pid=1))
    for first in range(0, jobs, batch):
        await _enqueue(store, first, batch)
        for queue in range(QUEUES):
            while True:
                request += 1
                answer = await store.claim(session, ClaimRequest(request, (Lane(f"queue-{queue}", "", batch),)))
                ends = []
                for job in answer.jobs:
                    last = job.id
                    if int.from_bytes(job.id[-2:]) % DEAD_IN:
                        ends.append(Settlement(job.id, job.token, Outcome.SUCCEEDED, b"3"))
                    else:
                        error = ErrorRecord(type="ValueError", message=f"job {job.id.hex()}", traceback="x" * 500)
                        ends.append(Settlement(job.id, job.token, Outcome.DEAD, None, msgspec.json.encode(error)))
                if not ends:
                    break
                await store.settle(session, ends)
    return to_text(last)


async def _enqueue(store: Store, first: int, jobs: int) -> None:
    from windlass.core.ids import new_id
    from windlass.core.model import MAX_BATCH, NewJob

    numbers = range(first, first + jobs)
    for start in range(0, jobs, MAX_BATCH):
        batch = [
            NewJob(
                id=new_id(),
                task=f"task-{number % TASKS}",
                queue=f"queue-{number % QUEUES}",
                payload=b'{"a":%d}' % number,
            )
            for number in numbers[start : start + MAX_BATCH]
        ]
        await store.enqueue(batch, first_sent=await store.now())


@contextmanager
def _served(url: str) -> Iterator[str]:
    import socket

    import uvicorn

    from windlass.web import site

    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    application: Any = site(_app(url), open_on_this_machine=True)
    server = uvicorn.Server(uvicorn.Config(application, log_config=None, access_log=False))
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(20)


def _look(where: str, paths: dict[str, str]) -> dict[str, float]:
    import httpx

    taken: dict[str, list[float]] = {name: [] for name in paths}
    with httpx.Client(base_url=where, timeout=60) as client:
        for _ in range(LOOKS):
            for name, path in paths.items():
                began = time.perf_counter()
                answer = client.get(path, headers={"accept": "text/html"})
                taken[name].append((time.perf_counter() - began) * 1e3)
                assert answer.status_code == 200, (path, answer.status_code, answer.text[:500])
            time.sleep(FRESH)
    return {name: statistics.median(times) for name, times in taken.items()}


PAGES = (
    "overview", "jobs", "jobs, by state", "jobs, by queue and task", "jobs, by error", "jobs, by text", "job", "queues",
    "workers", "schedules", "runs", "run", "dead", "settings",
)  # fmt: skip
GROUPS = [
    Group(
        name="pages",
        store="sqlite",
        metrics=(
            Metric("slowest", "web UI, slowest page", "ms", Aim(at_most=200)),
            *(Metric(name, f"web UI, {name}", "ms") for name in PAGES),
        ),
        ours=Probe("bench.pages:ours"),
        scale={"finished": 1_000_000, "waiting": 100_000},
        quick={"finished": 10_000, "waiting": 1_000},
        rounds=1,
    )
]
