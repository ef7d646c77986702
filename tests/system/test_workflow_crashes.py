"""A run of a random graph ends as a plain evaluation says, whoever is killed on the way: workers, or the server."""

from __future__ import annotations

import asyncio
import random
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from tests.servers.postgres import PostgresServer
from tests.servers.redis import RedisServer
from tests.system.crash_site import PATIENCE, ROOT, sizes
from tests.system.supervised import Supervised
from tests.workflow_graphs import Node, Outcome, app, draw, evaluate, graph, has_failed
from windlass.connect import connect
from windlass.core.ids import Family, from_text
from windlass.workflows.run import Run

SIZE = 500
PAUSE = 0.02
"""Seconds that each step takes, so that kills meet running ones."""


class Place:
    """A store, with a server that can be killed, if it has one."""

    def __init__(self, url: str, server: RedisServer | PostgresServer | None = None) -> None:
        self.url = url
        self.server = server


@pytest.fixture(params=["sqlite", "redis", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    if request.param == "sqlite":
        yield Place(f"sqlite:///{tmp_path}/graphs.db")
    elif request.param == "redis":
        with RedisServer("--appendonly", "yes", "--appendfsync", "always") as redis:
            yield Place(redis.url, redis)
    else:
        with PostgresServer() as postgres:
            yield Place(postgres.url, postgres)


@asynccontextmanager
async def client_of(url: str) -> AsyncIterator[None]:
    """Have the app of the graphs use this store, here."""
    with app._client.elsewhere(lambda: connect(url, app.settings)):
        await (store := app.new_store()).migrate()
        await store.aclose()
        try:
            yield
        finally:
            await app.aclose()


@contextmanager
def workers(url: str) -> Iterator[Supervised]:
    command = [sys.executable, "-m", "windlass", "worker", "--app", "tests.workflow_graphs:app"]
    with Supervised([*command, "--processes", "2", "--concurrency", "20"], ROOT, {"GRAPH_URL": url}) as fleet:
        try:
            yield fleet
        finally:
            fleet.signal(signal.SIGTERM)
            fleet.process.wait(PATIENCE)


@sizes(1, 30)
async def test_a_run_survives_kills(place: Place, rng: random.Random, jobs: int) -> None:
    async with client_of(place.url):
        with workers(place.url) as fleet:
            for _ in range(jobs):
                seed = rng.getrandbits(32)
                run = await graph.start(seed, SIZE, PAUSE)
                await kill_some(place, fleet, rng)
                await until_over(run)
                nodes = draw(seed, SIZE)
                await compare(run, nodes, evaluate(nodes))


async def kill_some(place: Place, fleet: Supervised, rng: random.Random) -> None:
    killed = 0
    server = place.server
    while killed < 4:
        await asyncio.sleep(rng.uniform(0.05, 0.6))
        for child in rng.sample(children := psutil.Process(fleet.process.pid).children(), min(1, len(children))):
            child.kill()
            killed += 1
        if server is not None and killed == 2:
            server.kill()
            await asyncio.sleep(rng.uniform(0, 1))
            await asyncio.to_thread(server.start)
            server = None


async def until_over(run: Run[Any]) -> None:
    """Wait until no step is left to run."""
    deadline = time.monotonic() + 2 * PATIENCE
    while True:
        status = await run.status()
        done, total = await run.progress()
        if status not in ("starting", "running") and done == total:
            return
        assert time.monotonic() < deadline, f"{run}: {status}, {done}/{total}: {await run.steps()}"
        await asyncio.sleep(0.1)


async def compare(run: Run[Any], nodes: list[Node], expected: list[Outcome]) -> None:
    steps = {int(step.name): step for step in await run.steps()}
    assert {number: step.status for number, step in sorted(steps.items())} == {
        number: outcome.status for number, outcome in enumerate(expected)
    }
    assert await run.status() == ("failed" if has_failed(nodes, expected) else "succeeded")
    assert await run.audit() == []
    store = await app.store()
    for number, outcome in enumerate(expected):
        job_id = from_text(steps[number].job_id)
        if nodes[number].kind == "map":
            items = Family(job_id)
            ids = [items.id(n) for n in range(len(outcome.items))]
            values = [None if one is None else one.result for one in await store.results(ids)]
            found: object = [None if value is None else msgspec.json.decode(value) for value in values]
            assert found == (outcome.items), f"step {number}"
        elif outcome.status == "succeeded":
            [result] = await store.results([job_id])
            assert result is not None
            assert msgspec.json.decode(result.result or b"null") == outcome.value, f"step {number}"
