"""What a step of a workflow costs, in graphs of four shapes, and how many items a second are mapped."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.figure import Aim, Group, Metric, Probe

SHAPES = ("fan", "mapped", "dag", "chained")
_NAMES = {
    "fan": "a step of 10 k side by side, and joined",
    "mapped": "an item of a map over 10 k, and joined",
    "dag": "a step of a random graph of 10 k",
    "chained": "a step of a chain of 10 k",
}


def sqlite(folder: Path, *, steps: int, items: int) -> dict[str, float]:
    """On a file."""
    return _measure(f"sqlite:///{folder}/w.db", steps, items)


def redis(folder: Path, *, steps: int, items: int) -> dict[str, float]:
    """On a server that is started for it."""
    from tests.servers.redis import RedisServer

    del folder
    with RedisServer("--appendfsync", "everysec") as server:
        return _measure(server.url, steps, items)


def postgres(folder: Path, *, steps: int, items: int) -> dict[str, float]:
    """On a server that is started for it."""
    from tests.servers.postgres import PostgresServer

    del folder
    with PostgresServer() as server:
        return _measure(server.url, steps, items)


def _measure(url: str, steps: int, items: int) -> dict[str, float]:
    os.environ["WINDLASS_URL"] = url
    from bench.flows import app

    async def migrate() -> None:
        store = app.new_store()
        await store.migrate()
        await store.aclose()

    asyncio.run(migrate())
    with _worker(url):
        found = asyncio.run(_graphs(steps))
        found |= _maps(items)
    app.close_sync()
    return found


@contextmanager
def _worker(url: str) -> Iterator[None]:
    command = [sys.executable, "-m", "windlass", "worker", "--app", "bench.flows:app", "--log-level", "error"]
    worker = subprocess.Popen(command, env={**os.environ, "WINDLASS_URL": url})
    try:
        yield
    finally:
        worker.terminate()
        worker.wait()


async def _graphs(steps: int) -> dict[str, float]:
    from bench import flows

    await (await flows.fan.start(10)).result(timeout=60)
    found: dict[str, float] = {}
    for shape in SHAPES:
        began = time.perf_counter()
        run = await getattr(flows, shape).start(steps)
        await run.result(timeout=300)
        found[shape] = (time.perf_counter() - began) / steps * 1e6
    await flows.app.aclose()
    return found


def _maps(items: int) -> dict[str, float]:
    from bench.flows import app, square

    found: dict[str, float] = {}
    for key, count, chunksize in (("items", items, None), ("single", items // 5, 1)):
        began = time.perf_counter()
        assert sum(app.map(square, range(count), chunksize=chunksize)) == sum(n * n for n in range(count))
        found[key] = count / (time.perf_counter() - began)
    return found


_AIMS = {"sqlite": (60, 200), "redis": (60, 300), "postgres": (100, 700)}
GROUPS = [
    Group(
        name=f"workflows-{store}",
        store=store,
        metrics=(
            *(
                Metric(shape, _NAMES[shape], "us", Aim(at_most=chain if shape == "chained" else step))
                for shape in SHAPES
            ),
            Metric("items", "app.map of a no-op, chunks chosen by itself (aim: 200 k)", "items/s"),
            Metric("single", "the same, in chunks of one (aim: 20 k)", "items/s"),
        ),
        ours=Probe(f"bench.workflows:{store}"),
        scale={"steps": 10_000, "items": 100_000},
        quick={"steps": 200, "items": 2_000},
        rounds=3,
    )
    for store, (step, chain) in _AIMS.items()
]
