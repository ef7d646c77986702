"""Floors on PostgreSQL, driven by hand over two connections, so that claiming and settling overlap."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import uuid_utils
import uvloop

from bench.floors.postgres_layouts import LAYOUTS, Layout

BATCH = 1000
encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder().decode


def bulk(folder: Path, *, floor: str, jobs: int) -> dict[str, float]:
    """Jobs per second in batches of 1,000, two of them on their way at a time, as `App.enqueue_many` has it."""
    return _with_server(folder, lambda url: _bulk(url, LAYOUTS[floor], jobs))


def coroutines(folder: Path, *, floor: str, jobs: int, at_once: int) -> dict[str, float]:
    """Jobs per second from so many coroutines, whose jobs travel together."""
    return _with_server(folder, lambda url: _coroutines(url, LAYOUTS[floor], jobs, at_once))


def drain(folder: Path, *, floor: str, jobs: int, slots: int) -> dict[str, float]:
    """Jobs per second of claim, run, encode and settle."""
    return _with_server(folder, lambda url: _drain(url, LAYOUTS[floor], jobs, slots))


def _with_server(folder: Path, measure: Any) -> dict[str, float]:
    from bench.on_postgres import server

    del folder
    with server() as running:
        return uvloop.run(measure(running.url))


async def _connections(url: str, layout: Layout, number: int) -> list[Any]:
    connections = [await asyncpg.connect(url) for _ in range(number)]
    await connections[0].execute(layout.schema)
    return connections


async def _store(connection: Any, layout: Layout, first: int, last: int) -> None:
    ids = [uuid_utils.uuid7() for _ in range(first, last)]
    payloads = [encode({"a": number, "b": number + 1}) for number in range(first, last)]
    await connection.fetch(layout.enqueue, ids, ["add"] * len(ids), payloads, time.time_ns() // 1000)


async def _bulk(url: str, layout: Layout, jobs: int) -> dict[str, float]:
    connections = await _connections(url, layout, 2)
    starts = iter(range(0, jobs, BATCH))

    async def send(connection: Any) -> None:
        for start in starts:
            await _store(connection, layout, start, start + BATCH)

    began = time.perf_counter()
    await asyncio.gather(*map(send, connections))
    return {"bulk": jobs / (time.perf_counter() - began)}


async def _coroutines(url: str, layout: Layout, jobs: int, at_once: int) -> dict[str, float]:
    (connection,) = await _connections(url, layout, 1)
    numbers = iter(range(jobs))
    waiting: list[asyncio.Future[None]] = []
    come = asyncio.Event()

    async def produce() -> None:
        for _ in numbers:
            stored = asyncio.get_running_loop().create_future()
            waiting.append(stored)
            come.set()
            await stored

    async def send() -> None:
        while True:
            await come.wait()
            come.clear()
            batch, waiting[:] = waiting[:BATCH], waiting[BATCH:]
            await _store(connection, layout, 0, len(batch))
            for stored in batch:
                stored.set_result(None)
            if waiting:
                come.set()

    sender = asyncio.create_task(send())
    began = time.perf_counter()
    await asyncio.gather(*(produce() for _ in range(at_once)))
    seconds = time.perf_counter() - began
    sender.cancel()
    return {"coroutines": jobs / seconds}


async def _drain(url: str, layout: Layout, jobs: int, slots: int) -> dict[str, float]:
    claiming, settling = await _connections(url, layout, 2)
    session = uuid_utils.uuid7()
    await claiming.execute("INSERT INTO floor.session VALUES ($1, 0, 0)", session)
    for start in range(0, jobs, BATCH):
        await _store(claiming, layout, start, min(start + BATCH, jobs))
    began = time.perf_counter()
    await _Drain((claiming, settling), layout, session, jobs, slots).finished()
    return {"drain": jobs / (time.perf_counter() - began)}


class _Drain:
    """A claimer and a completer that overlap with what runs."""

    def __init__(self, connections: tuple[Any, Any], layout: Layout, session: Any, jobs: int, slots: int) -> None:
        self._claiming, self._settling = connections
        self._layout, self._session = layout, session
        self._left, self._slots = jobs, slots
        self._running = 0
        self._ended: list[tuple[Any, int, bytes]] = []
        self._some_ended, self._room = asyncio.Event(), asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    async def finished(self) -> None:
        await asyncio.gather(self._claim(), self._settle())

    async def _claim(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            want = 2 * self._slots - self._running
            if want < self._slots // 2:
                self._room.clear()
                await self._room.wait()
                continue
            rows = await self._claiming.fetch(self._layout.claim, want, self._session, time.time_ns() // 1000)
            if not rows:
                return
            for job, token, _, payload, *_ in rows:
                self._running += 1
                task = loop.create_task(self._run(job, token, payload))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _run(self, job: Any, token: int, payload: bytes) -> None:
        async def add(a: int, b: int) -> int:
            return a + b

        result = await add(**decode(payload))
        self._ended.append((job, token, encode(result)))
        self._running -= 1
        self._some_ended.set()
        self._room.set()

    async def _settle(self) -> None:
        while self._left:
            await self._some_ended.wait()
            self._some_ended.clear()
            batch, self._ended[:] = self._ended[:BATCH], self._ended[BATCH:]
            if batch:
                columns = [list(column) for column in zip(*batch, strict=True)]
                done = await self._settling.fetch(self._layout.settle, *columns, self._session, time.time_ns() // 1000)
                assert len(done) == len(batch)
                self._left -= len(batch)
