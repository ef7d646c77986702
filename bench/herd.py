"""What many idle workers ask of a server, and what a single job costs beside them."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvloop

from bench.figure import Aim, Group, Metric, Probe

if TYPE_CHECKING:
    from tests.servers.redis import RedisServer

SETTLING = 5.0
"""Seconds until all have opened their sessions and found nothing."""
PATIENCE = 30.0

Count = Callable[[], Awaitable[int]]
"""Answers how many verbs the server has served so far."""


def redis(folder: Path, *, workers: int, seconds: float, jobs: int) -> dict[str, float]:  # noqa: ARG001 - as every probe
    """So many workers on one Redis, in this process; each with connections and a heartbeat of its own."""
    from tests.servers.redis import RedisServer

    with RedisServer("--appendfsync", "everysec") as server:
        return _herd(server.url, lambda: _scripts(server), workers, seconds, jobs)


def postgres(folder: Path, *, workers: int, seconds: float, jobs: int) -> dict[str, float]:  # noqa: ARG001
    """The same on one PostgreSQL."""
    from tests.servers.postgres import PostgresServer

    with PostgresServer(max_connections=str(6 * workers + 50)) as server:
        return _herd(f"{server.url}?pool=2", _statements(), workers, seconds, jobs)


def _herd(url: str, count: Count, workers: int, seconds: float, jobs: int) -> dict[str, float]:
    os.environ["WINDLASS_URL"] = url
    return uvloop.run(_measure(count, workers, seconds, jobs))


async def _measure(count: Count, workers: int, seconds: float, jobs: int) -> dict[str, float]:
    from bench.app import add, app

    store = app.new_store()
    await store.migrate()
    await store.aclose()
    herd: list[Any] = [app.new_worker(app.worker_config(concurrency=10)) for _ in range(workers)]
    for worker in herd:
        await worker.start()
    await asyncio.sleep(SETTLING)
    before = await count()
    await asyncio.sleep(seconds)
    idle = (await count() - before) / seconds
    before, began = await count(), time.monotonic()
    for number in range(jobs):
        job = await add.enqueue(number, 1)
        assert await job.result(timeout=PATIENCE) == number + 1
        await asyncio.sleep(0.2)
    woken = (await count() - before - idle * (time.monotonic() - began)) / jobs
    for worker in herd:
        await worker.stop(0)
    await app.aclose()
    return {"idle": idle, "woken": woken}


async def _scripts(server: RedisServer) -> int:
    said = await asyncio.to_thread(server.ask, b"INFO commandstats\r\n")
    return int(said.partition(b"cmdstat_evalsha:calls=")[2].partition(b",")[0] or 0)


def _statements() -> Count:
    """Count here what is sent: the server's own statistics of transactions come late."""
    from windlass.store.postgres.pool import Pool

    served = 0
    fetch = Pool.fetch

    async def counted(*arguments: Any, **more: Any) -> list[Any]:
        nonlocal served
        served += 1
        return await fetch(*arguments, **more)

    Pool.fetch = counted  # type: ignore[method-assign]

    async def count() -> int:
        return served

    return count


def _group(store: str, aim: Aim | None) -> Group:
    return Group(
        name=f"{store}-herd",
        store=store,
        metrics=(
            Metric("idle", f"{store}: 200 idle workers", "verbs/s", aim),
            Metric("woken", f"{store}: a single job beside them", "verbs"),
        ),
        ours=Probe(f"bench.herd:{store}"),
        scale={"workers": 200, "seconds": 10.0, "jobs": 20},
        quick={"workers": 5, "seconds": 1.0, "jobs": 2},
        rounds=1,
    )


GROUPS = [_group("redis", None), _group("postgres", None)]
