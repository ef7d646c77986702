"""Schedules: how late many are that are due at once, what many cost that are not, how late one is where all is idle."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from bench.figure import Aim, Group, Metric, Probe
from windlass.connect import connect
from windlass.core.clock import SECOND, Instant, to_datetime
from windlass.core.definition import Definition, encode
from windlass.core.firing import following
from windlass.core.model import MAX_BATCH, Settings
from windlass.core.options import decode_options
from windlass.core.records import JobFilter
from windlass.core.schedules import NewSchedule
from windlass.core.triggers import Cron, Every, Trigger
from windlass.engine.scheduler import Scheduler
from windlass.engine.signals import SILENT
from windlass.store.port import Store

_IDLE = 10.0
_FIRINGS = 60


def sqlite(folder: Path, *, due: int, stored: int) -> dict[str, float]:
    """On a file."""
    return asyncio.run(_measure(f"sqlite:///{folder}/w.db", due, stored))


def redis(folder: Path, *, due: int, stored: int) -> dict[str, float]:
    """On a server that is started for it."""
    from tests.servers.redis import RedisServer

    del folder
    with RedisServer("--appendfsync", "everysec") as server:
        return asyncio.run(_measure(server.url, due, stored))


def postgres(folder: Path, *, due: int, stored: int) -> dict[str, float]:
    """On a server that is started for it."""
    from tests.servers.postgres import PostgresServer

    del folder
    with PostgresServer() as server:
        return asyncio.run(_measure(server.url, due, stored, migrate=True))


async def _measure(url: str, due: int, stored: int, *, migrate: bool = False) -> dict[str, float]:
    store = connect(url, Settings())
    if migrate:
        await store.migrate()
    await store.connect()
    yearly = _definition(Cron("0 0 1 1 *"))
    first = await _put(store, "y", yearly, min(stored, 10_000), at=None)
    await _put(store, "yy", yearly, max(0, stored - 20_000), at=None)
    last = await _put(store, "yyy", yearly, min(stored, 10_000), at=None)
    found = {"put": last, "growth": last / first}
    async with _scheduling(url):
        await asyncio.sleep(1)
        began = time.process_time()
        await asyncio.sleep(_IDLE)
        found["idle"] = 100 * (time.process_time() - began) / _IDLE
        found["late"] = await _lateness_of_one(store)
        found |= await _many_at_once(store, due)
    await store.aclose()
    return found


def _definition(trigger: Trigger) -> Definition:
    return Definition(trigger=trigger, task="tick", payload=msgspec.Raw(b'{"a":1,"b":2}'))


async def _put(store: Store, prefix: str, one: Definition, number: int, *, at: Instant | None) -> float:
    """Make so many; answers how many microseconds each took."""
    encoded = encode(one)
    at = following(one.trigger, await store.now()) if at is None else at
    began = time.perf_counter()
    for start in range(0, number, MAX_BATCH):
        batch = range(start, min(start + MAX_BATCH, number))
        await store.put_schedules(
            [NewSchedule(name=f"{prefix}{n:06}", definition=encoded, version=0, next=at) for n in batch]
        )
    return (time.perf_counter() - began) / max(1, number) * 1e6


@asynccontextmanager
async def _scheduling(url: str) -> AsyncIterator[None]:
    store = connect(url, Settings())
    await store.connect()
    task = asyncio.create_task(Scheduler(store, SILENT, {}).run())
    yield
    task.cancel()
    await asyncio.wait({task})
    await store.aclose()


async def _lateness_of_one(store: Store) -> float:
    """p99 in milliseconds, of a schedule that fires four times a second."""
    await _put(store, "often", _definition(Every(seconds=0.25)), 1, at=None)
    await asyncio.sleep(_FIRINGS / 4 + 0.5)
    await store.delete_schedules(["often000000"])
    return _p99(await _lateness(store))


async def _many_at_once(store: Store, due: int) -> dict[str, float]:
    """All of them due at the same instant."""
    await store.purge()
    known = sum((await store.counts()).values())
    at = await store.now() + round(3e6 + due * 60)
    await _put(store, "d", _definition(Every(days=1000, anchor=to_datetime(at))), due, at=at)
    assert await store.now() < at, "they took too long to make"
    async with asyncio.timeout(60):
        while sum((await store.counts()).values()) < known + due:  # noqa: ASYNC110 - there is nothing to wait for
            await asyncio.sleep(0.2)
    late = [one for one in await _lateness(store, at) if one >= 0]
    return {"all": max(late) / 1000, "p99": _p99(late)}


async def _lateness(store: Store, of: Instant | None = None) -> list[float]:
    """Of all jobs, or those of one fire time: milliseconds from it to being enqueued."""
    found: list[float] = []
    cursor = None
    while True:
        page = await store.list_jobs(JobFilter(), limit=MAX_BATCH, cursor=cursor)
        for job in await store.get_jobs([job.id for job in page.jobs]):
            at = None if job is None else decode_options(job.options).fire_time
            if job is not None and at is not None and (of is None or at == of):
                found.append((job.enqueued_at - at) / SECOND * 1000)
        cursor = page.cursor
        if cursor is None:
            return found


def _p99(numbers: Sequence[float]) -> float:
    return sorted(numbers)[min(len(numbers) - 1, len(numbers) * 99 // 100)]


GROUPS = [
    Group(
        name=f"schedules-{store}",
        store=store,
        metrics=(
            Metric("late", "a schedule on an idle store: lateness p99", "ms", Aim(at_most=20)),
            Metric("all", "10 k schedules due at once: all enqueued after", "s", Aim(at_most=1)),
            Metric("p99", "10 k schedules due at once: lateness p99", "ms"),
            Metric("idle", "an idle scheduler with 100 k schedules", "% CPU", Aim(at_most=1)),
            Metric("put", "making a schedule beside 90 k", "us"),
            Metric("growth", "making a schedule beside 90 k / beside none", "x", Aim(at_most=1.5)),
        ),
        ours=Probe(f"bench.schedules:{store}"),
        scale={"due": 10_000, "stored": 100_000},
        quick={"due": 200, "stored": 1_000},
        rounds=1,
    )
    for store in ("sqlite", "redis", "postgres")
]
