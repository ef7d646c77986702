"""How fast one worker process empties a queue of no-op jobs: claim, decode, run, encode, settle."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

from bench import deployment
from bench.figure import Aim, Group, Metric, Probe

if TYPE_CHECKING:
    from windlass.store.port import Store

PATIENCE = 300.0


def sqlite(
    folder: Path, *, jobs: int, concurrency: int | None = None, keys: int = 0, options: tuple[str, ...] = ()
) -> dict[str, float]:
    """Jobs per second of a real worker process, by the store's own times; with ``keys``, spread over so many limit keys
    of which each may run one job at a time."""
    return {"drain": through_worker(folder, deployment.use(folder), jobs, concurrency, keys=keys, options=options)}


def through_worker(
    folder: Path,
    url: str,
    jobs: int,
    concurrency: int | None = None,
    *,
    keys: int = 0,
    options: tuple[str, ...] = (),
) -> float:
    """Jobs per second of a real worker process on the store that `bench.app` uses."""
    if concurrency is not None:
        options = (*options, "--concurrency", str(concurrency))

    async def drained(wait: Callable[[], Awaitable[object]]) -> None:
        with deployment.worker(folder, *options):
            await wait()

    return asyncio.run(_measure(url, jobs, drained, keys))


def memory(folder: Path, *, jobs: int, concurrency: int) -> dict[str, float]:
    """Jobs per second of a worker in this process, on the memory store."""
    import os

    import uvloop

    del folder
    os.environ["WINDLASS_URL"] = url = "memory://bench"
    from bench.app import app

    async def drained(wait: Callable[[], Awaitable[object]]) -> None:
        async with app.worker(concurrency=concurrency):
            await wait()

    return {"drain": uvloop.run(_measure(url, jobs, drained))}


async def _measure(
    url: str, jobs: int, drained: Callable[[Callable[[], Awaitable[object]]], Awaitable[None]], keys: int = 0
) -> float:
    from bench.app import add, app

    store = deployment.store(url)
    first = await add.options(priority=9).enqueue(0, 0)
    if keys:
        await _limit_keys(store)
    tasks = [add.options(limit_by=f"customer:{number}") for number in range(keys)] or [add]
    await app.enqueue_many(tasks[number % len(tasks)].bind(number, number + 1) for number in range(jobs))
    last = await add.options(priority=0).enqueue(0, 0)
    await drained(lambda: last.result(timeout=PATIENCE))
    seconds = await _between(store, str(first.id), str(last.id))
    await _audit(store, jobs + 2)
    await store.aclose()
    await app.aclose()
    return jobs / seconds


async def _limit_keys(store: Store) -> None:
    from windlass.core.records import Limit, LimitScope

    await store.put_limit(Limit(scope=LimitScope.KEY, name="customer", concurrency=1))


async def _between(store: Store, first: str, last: str) -> float:
    """Seconds from the claim of the first to the end of the last, by the store's clock."""
    from windlass.core.ids import from_text

    began, ended = await store.get_jobs([from_text(first), from_text(last)])
    assert began is not None
    assert began.started_at is not None
    assert ended is not None
    assert ended.finished_at is not None
    return (ended.finished_at - began.started_at) / 1e6


async def _audit(store: Store, jobs: int) -> None:
    from windlass.core.lifecycle import State

    counts = await store.counts()
    assert counts == {("default", State.SUCCEEDED): jobs}, f"expected {jobs} succeeded jobs, the store counts {counts}"


def _group(name: str, floor_slots: int, concurrency: int | None, aim: Aim | None) -> Group:
    return Group(
        name=name,
        store="sqlite",
        metrics=(Metric("drain", name, "jobs/s", aim),),
        ours=Probe("bench.drain:sqlite", {} if concurrency is None else {"concurrency": concurrency}),
        floor=Probe("bench.floors.queue:drain", {"floor": "promises", "slots": floor_slots}),
        reference=Probe("bench.floors.queue:drain", {"floor": "rowid", "slots": 400}),
        scale={"jobs": 80_000},
        quick={"jobs": 5_000},
    )


GROUPS = [
    _group("drain", 100, None, Aim(share=0.55)),
    _group("drain-400", 400, 400, Aim(share=0.55)),
    Group(
        name="drain-keys",
        store="sqlite",
        metrics=(Metric("drain", "drain, 100,000 limit keys", "jobs/s", Aim(share=0.75)),),
        ours=Probe("bench.drain:sqlite", {"keys": 100_000}),
        reference=Probe("bench.drain:sqlite"),
        scale={"jobs": 100_000},
        quick={"jobs": 5_000},
    ),
    Group(
        name="drain-memory",
        store="memory",
        metrics=(Metric("drain", "drain-memory", "jobs/s"),),
        ours=Probe("bench.drain:memory", {"concurrency": 400}),
        floor=Probe("bench.floors.memory:drain", {"slots": 400}),
        scale={"jobs": 80_000},
        quick={"jobs": 5_000},
    ),
]
