"""Floors on PostgreSQL: the same promises by hand (leased, fenced, idempotent by id, results kept in a history with a
unique index), in one table with one index for what is ready, and nothing else: no edges, limits, unique keys, expiry,
priorities, requirements or retention. Two connections, so that claiming and settling overlap."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import uuid_utils
import uvloop

BATCH = 1000
SCHEMA = """
    CREATE SCHEMA floor;
    SET search_path = floor;
    CREATE SEQUENCE seq;
    CREATE TABLE job (
        id uuid PRIMARY KEY, pos bigint NOT NULL, lane smallint NOT NULL, state smallint NOT NULL,
        token int NOT NULL DEFAULT 0, attempt int NOT NULL DEFAULT 0, session uuid, at bigint NOT NULL,
        task text NOT NULL, payload bytea NOT NULL
    ) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
    CREATE INDEX ready ON job (lane, pos) WHERE state = 1;
    CREATE INDEX held ON job (session) WHERE state = 2;
    CREATE TABLE done (
        id uuid PRIMARY KEY, task text, state smallint, attempt int, session uuid, token int, result bytea,
        finished bigint
    );
    CREATE TABLE session (id uuid PRIMARY KEY, request bigint NOT NULL, lease_until bigint NOT NULL);
"""
ENQUEUE = """
    INSERT INTO floor.job (id, pos, lane, state, at, task, payload)
    SELECT g.id, nextval('floor.seq'), 1, 1, $4, g.task, g.payload FROM unnest($1::uuid[], $2::text[], $3::bytea[])
    AS g (id, task, payload) ON CONFLICT (id) DO NOTHING
"""
CLAIM = """
    WITH mine AS (UPDATE floor.session SET request = request + 1 WHERE id = $2 RETURNING id),
    picked AS MATERIALIZED (
        SELECT id FROM floor.job WHERE state = 1 AND lane = 1 ORDER BY pos LIMIT $1 FOR UPDATE SKIP LOCKED
    )
    UPDATE floor.job j SET state = 2, token = token + 1, attempt = attempt + 1, session = $2
    FROM picked, mine WHERE j.id = picked.id RETURNING j.id, j.token, j.task, j.payload, j.attempt
"""
SETTLE = """
    WITH ended AS (SELECT * FROM unnest($1::uuid[], $2::int[], $3::bytea[]) AS s (id, token, result)),
    gone AS (
        DELETE FROM floor.job j USING ended e
        WHERE j.id = e.id AND j.token = e.token AND j.session = $4 AND j.state + 0 = 2
        RETURNING j.id, j.task, j.attempt, j.token, e.result
    )
    INSERT INTO floor.done (id, task, state, attempt, session, token, result, finished)
    SELECT id, task, 5, attempt, $4, token, result, $5 FROM gone RETURNING id
"""
encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder().decode


def bulk(folder: Path, *, jobs: int) -> dict[str, float]:
    """Jobs per second in batches of 1,000, two of them on their way at a time, as `App.enqueue_many` has it."""
    return _with_server(folder, lambda url: _bulk(url, jobs))


def coroutines(folder: Path, *, jobs: int, at_once: int) -> dict[str, float]:
    """Jobs per second from so many coroutines, whose jobs travel together."""
    return _with_server(folder, lambda url: _coroutines(url, jobs, at_once))


def drain(folder: Path, *, jobs: int, slots: int) -> dict[str, float]:
    """Jobs per second of claim, run, encode and settle."""
    return _with_server(folder, lambda url: _drain(url, jobs, slots))


def _with_server(folder: Path, measure: Any) -> dict[str, float]:
    from bench.on_postgres import server

    del folder
    with server() as running:
        return uvloop.run(measure(running.url))


async def _connections(url: str, number: int) -> list[Any]:
    connections = [await asyncpg.connect(url) for _ in range(number)]
    await connections[0].execute(SCHEMA)
    return connections


async def _store(connection: Any, first: int, last: int) -> None:
    ids = [uuid_utils.uuid7() for _ in range(first, last)]
    payloads = [encode({"a": number, "b": number + 1}) for number in range(first, last)]
    await connection.fetch(ENQUEUE, ids, ["add"] * len(ids), payloads, time.time_ns() // 1000)


async def _bulk(url: str, jobs: int) -> dict[str, float]:
    connections = await _connections(url, 2)
    starts = iter(range(0, jobs, BATCH))

    async def send(connection: Any) -> None:
        for start in starts:
            await _store(connection, start, start + BATCH)

    began = time.perf_counter()
    await asyncio.gather(*map(send, connections))
    return {"bulk": jobs / (time.perf_counter() - began)}


async def _coroutines(url: str, jobs: int, at_once: int) -> dict[str, float]:
    (connection,) = await _connections(url, 1)
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
            await _store(connection, 0, len(batch))
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


async def _drain(url: str, jobs: int, slots: int) -> dict[str, float]:
    claiming, settling = await _connections(url, 2)
    session = uuid_utils.uuid7()
    await claiming.execute("INSERT INTO floor.session VALUES ($1, 0, 0)", session)
    for start in range(0, jobs, BATCH):
        await _store(claiming, start, min(start + BATCH, jobs))
    began = time.perf_counter()
    await _Drain(claiming, settling, session, jobs, slots).finished()
    return {"drain": jobs / (time.perf_counter() - began)}


class _Drain:
    """A claimer and a completer that overlap with what runs."""

    def __init__(self, claiming: Any, settling: Any, session: Any, jobs: int, slots: int) -> None:
        self._claiming, self._settling, self._session = claiming, settling, session
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
            rows = await self._claiming.fetch(CLAIM, want, self._session)
            if not rows:
                return
            for job, token, _, payload, _ in rows:
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
                done = await self._settling.fetch(SETTLE, *columns, self._session, time.time_ns() // 1000)
                assert len(done) == len(batch)
                self._left -= len(batch)
