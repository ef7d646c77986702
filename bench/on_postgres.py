"""PostgreSQL, on a server of its own with fsync on: drain, enqueue, round trip, depth, and beside an old snapshot."""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvloop

from bench.figure import Aim, Group, Metric, Probe

if TYPE_CHECKING:
    from tests.servers.postgres import PostgresServer

BATCH = 400


def server() -> PostgresServer:
    """A server as it might be set up for this, on the machine that measures."""
    from tests.servers.postgres import PostgresServer

    return PostgresServer(shared_buffers="512MB", max_wal_size="4GB")


def _use(running: PostgresServer) -> str:
    """Have `bench.app` use a new schema; before it is imported. Answers the URL."""
    from bench import deployment

    os.environ["WINDLASS_URL"] = running.url
    asyncio.run(deployment.store(running.url).migrate())
    return running.url


def drain(folder: Path, *, jobs: int, concurrency: int | None = None) -> dict[str, float]:
    """Jobs per second of a real worker process."""
    from bench.drain import through_worker

    with server() as running:
        return {"drain": through_worker(folder, _use(running), jobs, concurrency)}


def bulk(folder: Path, *, jobs: int) -> dict[str, float]:
    """Jobs per second of `App.enqueue_many`."""
    from bench.enqueue import bulk_here

    del folder
    with server() as running:
        _use(running)
        return bulk_here(jobs)


def coroutines(folder: Path, *, jobs: int, at_once: int) -> dict[str, float]:
    """Jobs per second of so many coroutines, each awaiting one enqueue after the other."""
    from bench.enqueue import coroutines_here

    del folder
    with server() as running:
        _use(running)
        return coroutines_here(jobs, at_once)


def trips(folder: Path, *, trips: int) -> dict[str, float]:
    """Enqueue here, run there, wait for the result here; one after the other."""
    from bench import deployment, roundtrip

    with server() as running:
        _use(running)
        with deployment.worker(folder):
            return roundtrip.percentiles(uvloop.run(roundtrip.trips_here(trips)))


# --------------------------------------------------------------------------------------------- at the store's port


class Line:
    """One session on a store, driven by hand."""

    def __init__(self, url: str) -> None:
        from bench import deployment
        from windlass.core.ids import new_id

        self.store: Any = deployment.store(url)
        self._session = new_id()
        self._request = 0
        self._held: list[tuple[bytes, int]] = []

    async def fill(self, jobs: int) -> None:
        from windlass.core.ids import new_id
        from windlass.core.model import MAX_BATCH, NewJob, Session

        await self.store.open(Session(id=self._session, node="bench", pid=1))
        for first in range(0, jobs, MAX_BATCH):
            batch = [
                NewJob(id=new_id(), task="add", payload=b'{"a":%d,"b":1}' % number)
                for number in range(first, min(first + MAX_BATCH, jobs))
            ]
            await self.store.enqueue(batch, first_sent=await self.store.now())

    async def step(self) -> int:
        """Settle what is held, and claim more; answers how many were settled."""
        from windlass.core.lifecycle import Outcome
        from windlass.core.model import ClaimRequest, Lane, Settled, Settlement

        self._request += 1
        batch = [Settlement(job, token, Outcome.SUCCEEDED, b"3") for job, token in self._held]
        request = ClaimRequest(self._request, (Lane("default", "", BATCH),))
        result = await self.store.settle(self._session, batch, request)
        assert set(result.answers) <= {Settled.APPLIED}
        self._held = [(job.id, job.token) for job in result.claim.jobs]
        return len(batch)

    async def measure(self, jobs: int) -> list[float]:
        """Microseconds for each job, step by step, until so many are done."""
        costs = []
        done = 0
        await self.step()
        while done < jobs:
            began = time.perf_counter()
            settled = await self.step()
            costs.append((time.perf_counter() - began) / settled * 1e6)
            done += settled
        return costs


def depth(folder: Path, *, few: int, many: int, measured: int) -> dict[str, float]:
    """Cost per job of settle with claim, while few and while many wait."""
    del folder
    with server() as running:
        return uvloop.run(_depth(_use(running), few, many, measured))


async def _depth(url: str, few: int, many: int, measured: int) -> dict[str, float]:
    line = Line(url)
    await line.fill(few + measured)
    at_few = statistics.mean(await line.measure(measured))
    await line.fill(many - few + measured)
    at_many = statistics.mean(await line.measure(measured))
    await line.store.aclose()
    return {"few": at_few, "many": at_many, "ratio": at_many / at_few}


def pinned(folder: Path, *, jobs: int) -> dict[str, float]:
    """Jobs per second of settle with claim beside a stranger's transaction that keeps an old snapshot, so that nothing
    that dies can be cleaned up: of all jobs, and of their first and their last tenth."""
    del folder
    with server() as running:
        return uvloop.run(_pinned(_use(running), jobs))


async def _pinned(url: str, jobs: int) -> dict[str, float]:
    import asyncpg

    line = Line(url)
    await line.fill(jobs + 2 * BATCH)
    stranger = await asyncpg.connect(url)
    await stranger.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class")
    costs = await line.measure(jobs - BATCH)
    await stranger.close()
    await line.store.aclose()
    tenth = max(1, len(costs) // 10)
    first, last = (1e6 / statistics.mean(some) for some in (costs[:tenth], costs[-tenth:]))
    return {"first": first, "last": last, "all": 1e6 / statistics.mean(costs), "kept": last / first}


def _group(
    name: str, key: str, aim: float, scale: dict[str, object], quick: dict[str, object], **more: dict[str, object]
) -> Group:
    return Group(
        name=f"postgres-{name}",
        store="postgres",
        metrics=(Metric(key, name, "jobs/s", Aim(of_floor=aim)),),
        ours=Probe(f"bench.on_postgres:{key}", more.get("ours", {})),
        floor=Probe(f"bench.floors.postgres:{key}", {"floor": "promises", **more.get("floor", {})}),
        reference=Probe(f"bench.floors.postgres:{key}", {"floor": "reference", **more.get("reference", {})}),
        scale=scale,
        quick=quick,
    )


def _drain_group(name: str, slots: int, ours: dict[str, object]) -> Group:
    return _group(
        name, "drain", 0.7, {"jobs": 80_000}, {"jobs": 5_000},
        ours=ours, floor={"slots": slots}, reference={"slots": 400},
    )  # fmt: skip


GROUPS = [
    _drain_group("drain", 100, {}),
    _drain_group("drain-400", 400, {"concurrency": 400}),
    _group("enqueue-bulk", "bulk", 0.5, {"jobs": 100_000}, {"jobs": 5_000}),
    _group("enqueue-100", "coroutines", 0.5, {"jobs": 40_000, "at_once": 100}, {"jobs": 2_000}),
    Group(
        name="postgres-round-trip",
        store="postgres",
        metrics=(
            Metric("p50", "round-trip p50", "ms", Aim(at_most=2.0)),
            Metric("p99", "round-trip p99", "ms", Aim(at_most=10.0)),
        ),
        ours=Probe("bench.on_postgres:trips"),
        floor=Probe("bench.floors.postgres_roundtrip:trips"),
        scale={"trips": 500},
        quick={"trips": 50},
    ),
    Group(
        name="postgres-depth",
        store="postgres",
        metrics=(
            Metric("ratio", "depth: 1 M waiting / 10 k", "x", Aim(at_most=1.2)),
            Metric("many", "claim + settle, 1 M waiting", "us/job"),
            Metric("few", "claim + settle, 10 k waiting", "us/job"),
        ),
        ours=Probe("bench.on_postgres:depth"),
        scale={"few": 10_000, "many": 1_000_000, "measured": 40_000},
        quick={"few": 1_000, "many": 20_000, "measured": 4_000},
        rounds=1,
    ),
    Group(
        name="postgres-pinned",
        store="postgres",
        metrics=(
            Metric("all", "claim + settle beside an old snapshot", "jobs/s"),
            Metric("kept", "its last tenth / its first", "x"),
        ),
        ours=Probe("bench.on_postgres:pinned"),
        scale={"jobs": 1_000_000},
        quick={"jobs": 20_000},
        rounds=1,
    ),
]
