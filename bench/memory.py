"""Whether memory stays flat: a worker that drains, and a producer that enqueues, a million jobs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop

from bench import deployment
from bench.figure import Aim, Group, Metric, Probe
from bench.processes import family, resident_mib

if TYPE_CHECKING:
    from windlass import Call

PATIENCE = 300.0


def ours(folder: Path, *, early: int, late: int) -> dict[str, float]:
    """Resident MiB that were gained between the early and the late job."""
    return uvloop.run(_ours(folder, early, late))


async def _ours(folder: Path, early: int, late: int) -> dict[str, float]:
    deployment.use(folder)
    from bench.app import add, app

    produced: dict[int, float] = {}

    def calls(first: int, last: int) -> Iterator[Call[int]]:
        for number in range(first, last):
            if number in (early, late - 1):
                produced[number] = resident_mib(os.getpid())
            yield add.bind(number, 1)

    async for _ in app.enqueue_many(calls(0, early)):
        pass
    first = await add.enqueue(0, 0)
    async for _ in app.enqueue_many(calls(early, late)):
        pass
    second = await add.enqueue(0, 0)
    with deployment.worker(folder, "--concurrency", "400") as process:
        await first.result(timeout=PATIENCE)
        _, worker = family(process.pid)
        then = resident_mib(worker)
        await second.result(timeout=PATIENCE)
        now = resident_mib(worker)
    await app.aclose()
    return {"worker": now - then, "producer": produced[late - 1] - produced[early], "level": now}


GROUPS = [
    Group(
        name="memory",
        store="sqlite",
        metrics=(
            Metric("worker", "memory growth of a worker, 200 k to 1 M jobs", "MiB", Aim(at_most=5.0)),
            Metric("producer", "memory growth of a producer, 200 k to 1 M jobs", "MiB", Aim(at_most=5.0)),
            Metric("level", "resident memory of the worker after 1 M jobs", "MiB"),
        ),
        ours=Probe("bench.memory:ours"),
        scale={"early": 200_000, "late": 1_000_000},
        quick={"early": 5_000, "late": 20_000},
        rounds=2,
    )
]
