"""What an attempt in a child process costs beyond one in a thread, and what it costs to replace the children."""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from operator import add
from pathlib import Path
from typing import Any

import uvloop

from bench import deployment
from bench.figure import Aim, Group, Metric, Probe

APP = "bench.process_app:app"
WARM_UP = 20
LONGEST_PAUSE = 0.02
"""Seconds between two trips: enough for everybody to fall asleep."""
PATIENCE = 60.0


def overhead(folder: Path, *, trips: int) -> dict[str, float]:
    """Enqueue here, run there, wait for the result here: in a thread and in a process by turns."""
    deployment.use(folder)
    with deployment.worker(folder, app=APP):
        return uvloop.run(_overhead(trips))


async def _overhead(trips: int) -> dict[str, float]:
    from bench.process_app import add_in_process, add_in_thread, app

    took: dict[Any, list[float]] = {add_in_thread: [], add_in_process: []}
    for number in range(WARM_UP + trips):
        for task, seconds in took.items():
            await asyncio.sleep(random.uniform(0, LONGEST_PAUSE))
            began = time.perf_counter()
            job = await task.enqueue(number, 1)
            assert await job.result(timeout=PATIENCE) == number + 1
            seconds.append(time.perf_counter() - began)
    await app.aclose()
    return _difference(took[add_in_thread][WARM_UP:], took[add_in_process][WARM_UP:])


def overhead_of_pools(folder: Path, *, trips: int) -> dict[str, float]:  # noqa: ARG001 - every probe gets a folder
    """The same of the standard library's executors: no store, no job, nothing but the call."""
    with ThreadPoolExecutor(1) as threads, ProcessPoolExecutor(1, get_context("spawn")) as processes:
        took: dict[Executor, list[float]] = {threads: [], processes: []}
        for number in range(WARM_UP + trips):
            for executor, seconds in took.items():
                time.sleep(random.uniform(0, LONGEST_PAUSE))
                began = time.perf_counter()
                assert executor.submit(add, number, 1).result() == number + 1
                seconds.append(time.perf_counter() - began)
    return _difference(took[threads][WARM_UP:], took[processes][WARM_UP:])


def _difference(thread: list[float], process: list[float]) -> dict[str, float]:
    return {"overhead": (statistics.median(process) - statistics.median(thread)) * 1000}


def recycled(folder: Path, *, jobs: int, each: int, seconds: float) -> dict[str, float]:
    """The share of the throughput that is lost when children are replaced every so often. The jobs only wait, so that
    what is seen is whether they had to wait for a successor, and not what it costs a processor to start it."""
    deployment.use(folder)
    kept = asyncio.run(_drained(folder, jobs, seconds))
    replaced = asyncio.run(_drained(folder, jobs, seconds, "--max-jobs-per-child", str(each)))
    return {"lost": 1 - replaced / kept}


async def _drained(folder: Path, jobs: int, seconds: float, *options: str) -> float:
    from bench.process_app import app, rest

    with deployment.worker(folder, *options, app=APP):
        await _all(app, [rest.bind(seconds) for _ in range(4)])  # the children are there
        began = time.perf_counter()
        await _all(app, [rest.bind(seconds) for _ in range(jobs)])
        took = time.perf_counter() - began
    await app.aclose()
    return jobs / took


async def _all(app: Any, calls: list[Any]) -> None:
    for job in await app.enqueue_many(calls):
        await job.result(timeout=PATIENCE)


GROUPS = [
    Group(
        name="executors",
        store="sqlite",
        metrics=(Metric("overhead", "process over thread, p50", "ms", Aim(at_most=0.5)),),
        ours=Probe("bench.executors:overhead"),
        floor=Probe("bench.executors:overhead_of_pools"),
        scale={"trips": 500},
        quick={"trips": 50},
    ),
    Group(
        name="executors-recycled",
        store="sqlite",
        metrics=(Metric("lost", "throughput lost to replacing children", "share", Aim(at_most=0.05)),),
        ours=Probe("bench.executors:recycled"),
        scale={"jobs": 2000, "each": 200, "seconds": 0.01},
        quick={"jobs": 100, "each": 20},
    ),
]
