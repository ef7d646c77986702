"""Floor of the round trip: two processes on one SQLite file that wake each other with datagrams."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import random
import socket
import time
from pathlib import Path

import uvloop

from bench.floors.layouts import Promises
from bench.floors.queue import BATCH, decode, encode, payload
from bench.floors.writer import GroupWriter, connect
from bench.roundtrip import LONGEST_PAUSE, WARM_UP, percentiles


def trips(folder: Path, *, trips: int) -> dict[str, float]:
    """Insert here, run there, read the result here; one after the other."""
    stored = Promises()
    db = connect(folder / "floor.db")
    stored.create(db)
    spawn = multiprocessing.get_context("spawn")
    worker = spawn.Process(target=_work, args=(folder,), daemon=True)
    worker.start()
    while not (folder / "worker").exists():
        time.sleep(0.01)
    try:
        return percentiles(uvloop.run(_produce(folder, trips)))
    finally:
        worker.kill()
        worker.join()


class Bell:
    """A datagram socket that others ring."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.bind(str(folder / name))
        self._rung = asyncio.Event()
        asyncio.get_running_loop().add_reader(self._socket, self._hear)

    def _hear(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                self._socket.recv(16)
        self._rung.set()

    async def wait(self) -> None:
        """Wait until somebody rings."""
        await self._rung.wait()
        self._rung.clear()

    def ring(self, name: str) -> None:
        """Wake the other side."""
        self._socket.sendto(b"!", str(self._folder / name))


async def _produce(folder: Path, trips: int) -> list[float]:
    writer, stored = GroupWriter(folder / "floor.db", asyncio.get_running_loop()), Promises()
    reader = connect(folder / "floor.db")
    bell = Bell(folder, "producer")
    took = []
    for number in range(WARM_UP + trips):
        await asyncio.sleep(random.uniform(0, LONGEST_PAUSE))
        began = time.perf_counter()
        encoded = payload(number, 1)
        await writer.do(lambda db, n=number, p=encoded: stored.insert(db, n, [p]))
        bell.ring("worker")
        await bell.wait()
        (result,) = reader.execute("SELECT result FROM job WHERE id = ? AND state = 4", (b"%016d" % number,)).fetchone()
        assert decode(result) == number + 1
        took.append(time.perf_counter() - began)
    return took[WARM_UP:]


def _work(folder: Path) -> None:
    uvloop.run(_serve(folder))


async def _serve(folder: Path) -> None:
    stored = Promises()
    stored.adopt(connect(folder / "floor.db"))
    writer = GroupWriter(folder / "floor.db", asyncio.get_running_loop())
    bell = Bell(folder, "worker")

    async def add(a: int, b: int) -> int:
        return a + b

    while True:
        await bell.wait()
        for job in await writer.do(lambda db: stored.claim(db, BATCH)):
            args, kwargs = decode(job.payload)
            ended = (encode(await add(*args, **kwargs)), job.key, job.token)
            assert await writer.do(lambda db, e=ended: stored.settle(db, [e])) == 1
            bell.ring("producer")
