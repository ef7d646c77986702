"""The floor of a round trip on Redis: a producer and a worker, each with a connection that works and one that listens,
driven by hand with the scripts of the floor that keeps our promises; no driver but its parser."""

from __future__ import annotations

import asyncio
import multiprocessing
import random
import time
from pathlib import Path
from typing import Any

import hiredis
import uvloop
from uuid_utils import uuid7

from bench.floors.queue import decode, encode, payload
from bench.floors.redis_queue import SCRIPTS
from bench.roundtrip import LONGEST_PAUSE, WARM_UP, percentiles

FINISHED = "redis.call('SPUBLISH', '{f}:finished', '') return applied"
TELLING = {**SCRIPTS["promises"], "settle": SCRIPTS["promises"]["settle"].replace("return applied", FINISHED)}


class Connection:
    """One connection: a call at a time, or a channel."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._parser = hiredis.Reader()

    async def call(self, *arguments: Any) -> Any:
        """Send a command; wait for its answer."""
        self._writer.write(hiredis.pack_command(arguments))
        return await self.answer()

    async def answer(self) -> Any:
        """Wait for what the server says next."""
        while (found := self._parser.gets()) is False:
            self._parser.feed(await self._reader.read(65_536))
        return found


async def connect(port: int) -> Connection:
    """Connect to the server on this port."""
    return Connection(*await asyncio.open_connection("127.0.0.1", port))


async def scripts(connection: Connection) -> dict[str, bytes]:
    """Make the scripts known to the server: their digests."""
    return {name: await connection.call("SCRIPT", "LOAD", text) for name, text in TELLING.items()}


async def listening(port: int, channel: str) -> Connection:
    """A connection that hears what is published there."""
    connection = await connect(port)
    await connection.call("SSUBSCRIBE", channel)
    return connection


def trips(folder: Path, *, trips: int) -> dict[str, float]:
    """Enqueue here, run there, read the result here; one after the other."""
    from tests.servers.redis import RedisServer

    with RedisServer("--appendfsync", "everysec") as server:
        worker = multiprocessing.get_context("spawn").Process(target=_work, args=(server.port, folder), daemon=True)
        worker.start()
        while not (folder / "worker").exists():
            time.sleep(0.01)
        try:
            return percentiles(uvloop.run(_produce(server.port, trips)))
        finally:
            worker.kill()
            worker.join()


async def _produce(port: int, trips: int) -> list[float]:
    connection, finished = await connect(port), await listening(port, "{f}:finished")
    digest = (await scripts(connection))["enqueue"]
    took = []
    for number in range(WARM_UP + trips):
        await asyncio.sleep(random.uniform(0, LONGEST_PAUSE))
        began = time.perf_counter()
        key = uuid7().bytes
        await connection.call("EVALSHA", digest, 1, "{f}", key, b"add", payload(number, 1))
        await finished.answer()
        result = await connection.call("HGET", b"{f}:j:" + key, "r")
        assert decode(result) == number + 1
        took.append(time.perf_counter() - began)
    return took[WARM_UP:]


def _work(port: int, folder: Path) -> None:
    uvloop.run(_serve(port, folder))


async def _serve(port: int, folder: Path) -> None:
    connection, ready = await connect(port), await listening(port, "{f}:ready")
    digests = await scripts(connection)
    session, request = uuid7().bytes, 0

    async def add(a: int, b: int) -> int:
        return a + b

    (folder / "worker").touch()
    while True:
        await ready.answer()
        request += 1
        job_id, token, _, one = await connection.call("EVALSHA", digests["claim"], 1, "{f}", session, 100, request)
        args, kwargs = decode(one)
        result = encode(await add(*args, **kwargs))
        await connection.call("EVALSHA", digests["settle"], 1, "{f}", session, 0, job_id, token, result)
