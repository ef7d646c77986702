"""How fast one process enqueues: many at once, from many coroutines, one after the other."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import uvloop

from bench import deployment
from bench.figure import Aim, Group, Metric, Probe


def bulk(folder: Path, *, jobs: int) -> dict[str, float]:
    """Jobs per second of `App.enqueue_many`."""
    deployment.use(folder)
    return bulk_here(jobs)


def bulk_here(jobs: int) -> dict[str, float]:
    """The same on the store that `bench.app` uses."""
    from bench.app import add, app

    calls = (add.bind(number, number + 1) for number in range(jobs))
    return {"bulk": jobs / uvloop.run(_timed(app.enqueue_many(calls)))}


def coroutines(folder: Path, *, jobs: int, at_once: int) -> dict[str, float]:
    """Jobs per second of so many coroutines, each awaiting one enqueue after the other."""
    deployment.use(folder)
    return coroutines_here(jobs, at_once)


def coroutines_here(jobs: int, at_once: int) -> dict[str, float]:
    """The same on the store that `bench.app` uses."""
    from bench.app import add

    async def produce() -> None:
        for number in numbers:
            await add.enqueue(number, number)

    async def everybody() -> None:
        await asyncio.gather(*(produce() for _ in range(at_once)))

    numbers = iter(range(jobs))
    return {"coroutines" if at_once > 1 else "one_by_one": jobs / uvloop.run(_timed(everybody()))}


async def _timed(work: Coroutine[Any, Any, object]) -> float:
    from bench.app import add, app

    await add.enqueue(0, 0)  # opens the store
    began = time.perf_counter()
    await work
    seconds = time.perf_counter() - began
    await app.aclose()
    return seconds


def _group(
    name: str, key: str, function: str, scale: dict[str, object], share: float, *, quick: int, **floor: object
) -> Group:
    return Group(
        name=name,
        store="sqlite",
        metrics=(Metric(key, name, "jobs/s", Aim(share=share)),),
        ours=Probe(f"bench.enqueue:{function}"),
        floor=Probe(f"bench.floors.queue:{function}", {"floor": "promises", **floor}),
        reference=Probe(f"bench.floors.queue:{function}", {"floor": "rowid", **floor}),
        scale=scale,
        quick={"jobs": quick},
    )


GROUPS = [
    _group("enqueue-bulk", "bulk", "bulk", {"jobs": 100_000}, 0.5, quick=5_000),
    _group("enqueue-100", "coroutines", "coroutines", {"jobs": 40_000, "at_once": 100}, 0.5, quick=2_000),
    _group("enqueue-one", "one_by_one", "coroutines", {"jobs": 5_000, "at_once": 1}, 0.75, quick=300),
]
