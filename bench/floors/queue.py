"""Floors of enqueue and drain on SQLite: one process, one event loop, one thread that writes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple

import msgspec
import uvloop

from bench.floors.layouts import Ended, Layout, Taken, layout
from bench.floors.writer import GroupWriter, connect

BATCH = 1000
encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder().decode


def payload(*args: int | float) -> bytes:
    """Encode positional arguments."""
    return encode((args, {}))


# ------------------------------------------------------------------------------------------------------ enqueue


def bulk(folder: Path, *, floor: str, jobs: int) -> dict[str, float]:
    """Jobs per second in batches of 1,000."""
    return uvloop.run(_bulk(folder, floor, jobs))


async def _bulk(folder: Path, floor: str, jobs: int) -> dict[str, float]:
    writer, stored = _open(folder, floor)
    await writer.do(lambda db: stored.insert(db, jobs, [payload(0, 0)]))
    began = time.perf_counter()
    await _fill(writer, stored, jobs)
    return {"bulk": jobs / (time.perf_counter() - began)}


def coroutines(folder: Path, *, floor: str, jobs: int, at_once: int) -> dict[str, float]:
    """Jobs per second from so many coroutines that each await one enqueue after the other."""
    return uvloop.run(_coroutines(folder, floor, jobs, at_once))


async def _coroutines(folder: Path, floor: str, jobs: int, at_once: int) -> dict[str, float]:
    writer, stored = _open(folder, floor)
    numbers = iter(range(jobs))

    async def produce() -> None:
        for number in numbers:
            encoded = payload(number, number)
            await writer.do(lambda db, n=number, p=encoded: stored.insert(db, n, [p]))

    await writer.do(lambda db: stored.insert(db, jobs, [payload(0, 0)]))
    began = time.perf_counter()
    await asyncio.gather(*(produce() for _ in range(at_once)))
    return {"coroutines" if at_once > 1 else "one_by_one": jobs / (time.perf_counter() - began)}


def _open(folder: Path, floor: str) -> tuple[GroupWriter, Layout]:
    stored = layout(floor)
    db = connect(folder / "floor.db")
    stored.create(db)
    db.close()
    return GroupWriter(folder / "floor.db", asyncio.get_running_loop()), stored


async def _fill(writer: GroupWriter, stored: Layout, jobs: int) -> None:
    for first in range(0, jobs, BATCH):
        batch = [payload(number, number + 1) for number in range(first, min(first + BATCH, jobs))]
        await writer.do(lambda db, f=first, b=batch: stored.insert(db, f, b))


# -------------------------------------------------------------------------------------------------------- drain


def drain(folder: Path, *, floor: str, jobs: int, slots: int) -> dict[str, float]:
    """Jobs per second of claim, run, encode and settle."""

    async def add(a: int, b: int) -> int:
        return a + b

    return {"drain": jobs / uvloop.run(_drain(folder, floor, Work(jobs, slots, slots, add)))}


def sleepers(folder: Path, *, floor: str, jobs: int, slots: int, pause: float) -> dict[str, float]:
    """Seconds until so many sleeps are over and settled."""

    async def sleep(_a: int, _b: int) -> None:
        await asyncio.sleep(pause)

    return {"sleepers": uvloop.run(_drain(folder, floor, Work(jobs, slots, 0, sleep)))}


class Work(NamedTuple):
    """What is to be drained, and how."""

    jobs: int
    slots: int
    ahead: int
    """Jobs held beyond the slots. They run at once, all the same: nobody counts slots here."""
    run: Callable[[int, int], Awaitable[object]]


async def _drain(folder: Path, floor: str, work: Work) -> float:
    writer, stored = _open(folder, floor)
    await _fill(writer, stored, work.jobs)
    began = time.perf_counter()
    await Drain(writer, stored, work).finished()
    return time.perf_counter() - began


class Drain:
    """A claimer and a completer that overlap with what runs."""

    def __init__(self, writer: GroupWriter, stored: Layout, work: Work) -> None:
        self._writer, self._stored, self._work = writer, stored, work
        # Where jobs take time, a free slot is time lost.
        self._least = work.slots // 2 if work.ahead else 1
        self._held = 0
        self._ended: list[Ended] = []
        self._something_ended = asyncio.Event()
        self._room = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    async def finished(self) -> None:
        """Return when every job is settled."""
        await asyncio.gather(self._claim(), self._settle())

    async def _claim(self) -> None:
        loop = asyncio.get_running_loop()
        most = self._work.slots + self._work.ahead
        while True:
            room = most - self._held
            if room < self._least:
                self._room.clear()
                await self._room.wait()
                continue
            taken = await self._writer.do(lambda db, n=room: self._stored.claim(db, min(n, BATCH)))
            if not taken:
                return
            for job in taken:
                self._held += 1
                task = loop.create_task(self._attempt(job))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _attempt(self, job: Taken) -> None:
        args, kwargs = decode(job.payload)
        async with asyncio.timeout(30):
            result = await self._work.run(*args, **kwargs)
        self._ended.append((encode(result), job.key, job.token))
        self._held -= 1
        self._something_ended.set()
        self._room.set()

    async def _settle(self) -> None:
        settled = 0
        while settled < self._work.jobs:
            await self._something_ended.wait()
            self._something_ended.clear()
            batch = self._ended[:BATCH]
            del self._ended[:BATCH]
            if batch:
                count = await self._writer.do(lambda db, b=batch: self._stored.settle(db, b))
                assert count == len(batch), f"{len(batch) - count} jobs were lost"
                settled += count
            if self._ended:
                self._something_ended.set()
