"""The floor of a round trip on PostgreSQL: a producer and a worker, each with a connection that works and one that
listens, driven by hand with the statements of the floor that keeps our promises. Three commits wait for the disk."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import random
import statistics
import time
from pathlib import Path
from typing import Any

import asyncpg
import uuid_utils
import uvloop

from bench.floors.postgres import decode, encode
from bench.floors.postgres_layouts import PROMISES
from bench.roundtrip import LONGEST_PAUSE, WARM_UP, percentiles


def trips(folder: Path, *, trips: int) -> dict[str, float]:
    """Insert here, run there, read the result here; one after the other. Also what the disk takes for one commit."""
    from bench.on_postgres import server

    with server() as running:
        worker = multiprocessing.get_context("spawn").Process(target=_work, args=(running.url, folder), daemon=True)
        uvloop.run(_prepare(running.url))
        worker.start()
        while not (folder / "worker").exists():
            time.sleep(0.01)
        try:
            found = percentiles(uvloop.run(_produce(running.url, trips)))
        finally:
            worker.kill()
            worker.join()
        return {**found, "disk": _disk(folder)}


def _disk(folder: Path) -> float:
    """Milliseconds of `fdatasync` after 8 KiB, the median."""
    took = []
    with (folder / "disk").open("wb", buffering=0) as file:
        file.write(bytes(1 << 20))
        for place in range(300):
            began = time.perf_counter()
            os.pwrite(file.fileno(), bytes(8192), place % 128 * 8192)
            os.fdatasync(file.fileno())
            took.append(time.perf_counter() - began)
    return statistics.median(took) * 1000


async def _prepare(url: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute(PROMISES.schema)
    await connection.close()


def _telling(statement: str, channel: str) -> str:
    """A statement that ends with ``RETURNING``, and tells."""
    return f"{statement.rstrip()}, pg_notify('{channel}', '')"


async def _listening(url: str, channel: str) -> tuple[asyncio.Event, Any]:
    """An event that is set by notifications, and the connection that hears them."""
    connection, heard = await asyncpg.connect(url), asyncio.Event()

    def hear(*_: Any) -> None:
        heard.set()

    await connection.add_listener(channel, hear)
    return heard, connection


async def _produce(url: str, trips: int) -> list[float]:
    connection, (heard, _listener) = await asyncpg.connect(url), await _listening(url, "finished")
    enqueue = _telling(f"{PROMISES.enqueue} RETURNING id", "ready")
    took = []
    for number in range(WARM_UP + trips):
        await asyncio.sleep(random.uniform(0, LONGEST_PAUSE))
        began = time.perf_counter()
        key = uuid_utils.uuid7()
        heard.clear()
        await connection.fetch(enqueue, [key], ["add"], [encode({"a": number, "b": 1})], time.time_ns() // 1000)
        await asyncio.wait_for(heard.wait(), 10)
        result = await connection.fetchval("SELECT result FROM floor.done WHERE id = $1", key)
        assert decode(result) == number + 1
        took.append(time.perf_counter() - began)
    return took[WARM_UP:]


def _work(url: str, folder: Path) -> None:
    uvloop.run(_serve(url, folder))


async def _serve(url: str, folder: Path) -> None:
    connection, (heard, _listener) = await asyncpg.connect(url), await _listening(url, "ready")
    session = uuid_utils.uuid7()
    await connection.execute("INSERT INTO floor.session VALUES ($1, 0, 0)", session)
    settle = _telling(PROMISES.settle, "finished")
    (folder / "worker").touch()

    async def add(a: int, b: int) -> int:
        return a + b

    while True:
        await heard.wait()
        heard.clear()
        for key, token, _, payload, *_ in await connection.fetch(PROMISES.claim, 100, session, time.time_ns() // 1000):
            ended = encode(await add(**decode(payload)))
            await connection.fetch(settle, [key], [token], [ended], session, time.time_ns() // 1000)
