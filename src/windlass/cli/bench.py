"""``windlass bench``: what this machine can do, measured on a temporary SQLite file.

A quick look, all in one process. The figures that the project is held to come from ``make bench`` in its repository.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Awaitable
from pathlib import Path
from typing import TYPE_CHECKING

from windlass.cli.arguments import Argument, between, command
from windlass.cli.output import say_json, say_table
from windlass.cli.target import JSON

if TYPE_CHECKING:
    from windlass.app import App
    from windlass.task import Task

QUEUE = "bench"
PRODUCERS = 100


@command(
    Argument(
        "--jobs",
        type=between(100, 1_000_000),
        default=20_000,
        metavar="N",
        help="Jobs to enqueue and drain. Default: 20,000.",
    ),
    JSON,
    examples=[("windlass bench --jobs 100000", "Longer, and so more exactly.")],
)
def bench(*, jobs: int, as_json: bool) -> None:
    """Measure this machine. Enqueueing, draining and latency, on a temporary SQLite file, with one worker."""
    with tempfile.TemporaryDirectory(prefix="windlass-bench-") as folder:
        url = f"sqlite:///{Path(folder).absolute()}/bench.db"
        figures = asyncio.run(_measure(url, jobs))
    if as_json:
        say_json([{"name": name, "value": value, "unit": unit} for name, value, unit in figures])
    else:
        say_table(("figure", "#value", "unit"), ((name, _round(value), unit) for name, value, unit in figures))
        print(f"\n{os.cpu_count()} CPUs, Python {sys.version.split()[0]}, {jobs} jobs")


async def _measure(url: str, jobs: int) -> list[tuple[str, float, str]]:
    from windlass.app import App

    app = App(url)

    async def add(a: int, b: int) -> int:
        return a + b

    task = app.task(name="add", queue=QUEUE)(add)
    async with app:
        bulk = await _seconds(_enqueue_bulk(app, task, jobs))
        together = await _seconds(_enqueue_together(task, jobs))
        single = min(jobs, 2_000)
        alone = await _seconds(_enqueue_alone(task, single))
        drained = await _seconds(_drain(app))
        trips = sorted(await _round_trips(app, task, 200))
    return [
        ("enqueue, in bulk", jobs / bulk, "jobs/s"),
        (f"enqueue, {PRODUCERS} coroutines", jobs / together, "jobs/s"),
        ("enqueue, one by one", single / alone, "jobs/s"),
        ("drain, one worker", (2 * jobs + single) / drained, "jobs/s"),
        ("round trip when idle, median", trips[len(trips) // 2] * 1000, "ms"),
        ("round trip when idle, 99 of 100", trips[len(trips) * 99 // 100] * 1000, "ms"),
    ]


async def _seconds(work: Awaitable[None]) -> float:
    started = time.perf_counter()
    await work
    return time.perf_counter() - started


async def _enqueue_bulk(app: App, task: Task[[int, int], int], jobs: int) -> None:
    await app.enqueue_many(task.bind(number, 1) for number in range(jobs))


async def _enqueue_together(task: Task[[int, int], int], jobs: int) -> None:
    numbers = iter(range(jobs))

    async def produce() -> None:
        for number in numbers:
            await task.enqueue(number, 1)

    await asyncio.gather(*(produce() for _ in range(PRODUCERS)))


async def _enqueue_alone(task: Task[[int, int], int], jobs: int) -> None:
    for number in range(jobs):
        await task.enqueue(number, 1)


async def _drain(app: App) -> None:
    store = await app.store()
    async with app.worker([QUEUE]):
        while await store.queues():  # noqa: ASYNC110 - nothing announces that nothing is left
            await asyncio.sleep(0.02)


async def _round_trips(app: App, task: Task[[int, int], int], trips: int) -> list[float]:
    taken = []
    async with app.worker([QUEUE]):
        await (await task.enqueue(0, 0)).result(30)
        for number in range(trips):
            started = time.perf_counter()
            await (await task.enqueue(number, 1)).result(30)
            taken.append(time.perf_counter() - started)
    return taken


def _round(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"


COMMAND = bench
