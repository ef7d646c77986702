"""How long an idle deployment takes from `enqueue` to the result, across processes."""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from pathlib import Path

import uvloop

from bench import deployment
from bench.figure import Aim, Group, Metric, Probe

WARM_UP = 20
LONGEST_PAUSE = 0.02
"""Seconds between two trips: enough for everybody to fall asleep."""


def percentiles(seconds: list[float]) -> dict[str, float]:
    """Milliseconds that half of them, and 99 of 100, stay under."""
    cuts = statistics.quantiles(seconds, n=100, method="inclusive")
    return {"p50": cuts[49] * 1000, "p99": cuts[98] * 1000}


def ours(folder: Path, *, trips: int) -> dict[str, float]:
    """Enqueue here, run there, wait for the result here; one after the other."""
    deployment.use(folder)
    with deployment.worker(folder):
        return percentiles(uvloop.run(trips_here(trips)))


async def trips_here(trips: int) -> list[float]:
    """Seconds of each trip, on the store that `bench.app` uses."""
    from bench.app import add, app

    took = []
    for number in range(WARM_UP + trips):
        await asyncio.sleep(random.uniform(0, LONGEST_PAUSE))
        began = time.perf_counter()
        job = await add.enqueue(number, 1)
        assert await job.result(timeout=30) == number + 1
        took.append(time.perf_counter() - began)
    await app.aclose()
    return took[WARM_UP:]


GROUPS = [
    Group(
        name="round-trip",
        store="sqlite",
        metrics=(
            Metric("p50", "round-trip p50", "ms", Aim(at_most=2.0)),
            Metric("p99", "round-trip p99", "ms", Aim(at_most=6.0)),
        ),
        ours=Probe("bench.roundtrip:ours"),
        floor=Probe("bench.floors.roundtrip:trips"),
        scale={"trips": 500},
        quick={"trips": 50},
    )
]
