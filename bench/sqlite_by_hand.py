"""The SQLite store driven by hand, beside the least that such a queue costs.

    python -m bench.sqlite_by_hand [NAME ...]

The floor is a leased and fenced queue in one table, with integer row ids, a unique ordered id, kept results, a writer
thread and group commit, and nothing else: no edges, limits, sessions, keys, expiry or retention. Both are driven in
turns, in the same run, by the same code; a figure is the median of the rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import queue
import sqlite3
import statistics
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

import uuid_utils
import uvloop

from windlass.core.lifecycle import Outcome
from windlass.core.model import ClaimRequest, Lane, NewJob, Session, Settlement
from windlass.store.sqlite import SQLiteStore


class Timing(NamedTuple):
    """What is worth knowing of a run."""

    rate: float
    """Jobs per second."""
    cpu: float
    """Microseconds of computing for each job, in all threads."""


PAYLOAD = b'{"a":1,"b":2}'
LANES = (Lane("default"),)


class Floor:
    """What has to be done at least."""

    SCHEMA = """
        CREATE TABLE job (n INTEGER PRIMARY KEY, id BLOB UNIQUE, queue INT, rank INT, seq INT, state INT,
            token INT DEFAULT 0, attempt INT DEFAULT 0, worker INT, task TEXT, payload BLOB, result BLOB, finished INT);
        CREATE INDEX ready ON job (queue, rank, seq) WHERE state = 1;
        CREATE INDEX held ON job (worker) WHERE state = 2;
    """

    def __init__(self, path: str) -> None:
        self.loop = asyncio.get_running_loop()
        self.queue: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.path = path
        self.seq = 0
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self) -> None:
        db = sqlite3.connect(self.path, isolation_level=None)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        db.executescript(self.SCHEMA)
        while (first := self.queue.get()) is not None:
            group = [first]
            while not self.queue.empty():
                group.append(self.queue.get())
            db.execute("BEGIN IMMEDIATE")
            done = [(future, function(db)) for function, future in group]
            db.execute("COMMIT")
            self.loop.call_soon_threadsafe(self.resolve, done)
        db.close()

    @staticmethod
    def resolve(done: list[tuple[asyncio.Future[Any], Any]]) -> None:
        for future, answer in done:
            future.set_result(answer)

    def call(self, function: Callable[[sqlite3.Connection], Any]) -> asyncio.Future[Any]:
        future = self.loop.create_future()
        self.queue.put((function, future))
        return future

    async def enqueue(self, ids: list[bytes]) -> None:
        first, self.seq = self.seq, self.seq + len(ids)
        rows = [(key, seq, PAYLOAD) for seq, key in enumerate(ids, first)]
        await self.call(
            lambda db: db.executemany(
                "INSERT INTO job (id, queue, rank, seq, state, task, payload) VALUES (?, 1, 4, ?, 1, 'add', ?)", rows
            )
        )

    async def drain(self, batch: int) -> int:
        done = 0
        rows = await self.call(lambda db: self.claim(db, batch))
        while rows:
            done += len(rows)
            ended = [(b"3", n, token) for n, token, *_ in rows]
            rows = await self.call(lambda db, ended=ended: self.settle(db, ended, batch))
        return done

    @staticmethod
    def claim(db: sqlite3.Connection, batch: int) -> list[Any]:
        return db.execute(
            "UPDATE job SET state = 2, token = token + 1, attempt = attempt + 1, worker = 7 WHERE n IN "
            "(SELECT n FROM job WHERE state = 1 AND queue = 1 ORDER BY rank, seq LIMIT ?) "
            "RETURNING n, token, task, payload, attempt",
            (batch,),
        ).fetchall()

    def settle(self, db: sqlite3.Connection, ended: list[Any], batch: int) -> list[Any]:
        changed = db.executemany(
            "UPDATE job SET state = 5, result = ?, finished = unixepoch() "
            "WHERE n = ? AND token = ? AND worker = 7 AND state = 2",
            ended,
        )
        assert changed.rowcount == len(ended)
        return self.claim(db, batch)

    async def close(self) -> None:
        self.queue.put(None)
        self.thread.join()


class Ours:
    """The store itself."""

    def __init__(self, path: str) -> None:
        self.store = SQLiteStore(path)
        self.session = os.urandom(16)
        self.request = 0

    async def enqueue(self, ids: list[bytes]) -> None:
        jobs = [NewJob(id=key, task="add", payload=PAYLOAD) for key in ids]
        await self.store.enqueue(jobs, first_sent=time.time_ns() // 1000)

    def next(self, batch: int) -> ClaimRequest:
        self.request += 1
        return ClaimRequest(self.request, (Lane("default", until=batch),))

    async def drain(self, batch: int) -> int:
        await self.store.open(Session(id=self.session, node="here", pid=1, lanes=LANES))
        done = 0
        jobs = (await self.store.claim(self.session, self.next(batch))).jobs
        while jobs:
            done += len(jobs)
            ended = [Settlement(job.id, job.token, Outcome.SUCCEEDED, b"3") for job in jobs]
            answer = await self.store.settle(self.session, ended, self.next(batch))
            assert answer.claim is not None
            jobs = answer.claim.jobs
        return done

    async def close(self) -> None:
        await self.store.aclose()


def ids(count: int) -> list[bytes]:
    return [uuid_utils.uuid7().bytes for _ in range(count)]


async def bulk(side: Floor | Ours, count: int) -> int:
    for part in [ids(1000) for _ in range(count // 1000)]:
        await side.enqueue(part)
    return count


async def singly(side: Floor | Ours, count: int) -> int:
    for key in ids(count // 20):
        await side.enqueue([key])
    return count // 20


async def together(side: Floor | Ours, count: int) -> int:
    async def one(key: bytes) -> None:
        await side.enqueue([key])

    for _ in range(count // 500):
        await asyncio.gather(*(one(key) for key in ids(100)))
    return count // 500 * 100


async def drain(side: Floor | Ours, count: int, batch: int) -> Timing:
    await bulk(side, count)
    return await timed(side.drain(batch))


async def timed(work: Awaitable[int]) -> Timing:
    started, computed = time.perf_counter(), time.process_time()
    done = await work
    return Timing(done / (time.perf_counter() - started), (time.process_time() - computed) / done * 1e6)


FIGURES: dict[str, Callable[[Any, int], Awaitable[Timing]]] = {
    "bulk": lambda side, count: timed(bulk(side, count)),
    "singly": lambda side, count: timed(singly(side, count)),
    "together": lambda side, count: timed(together(side, count)),
    "drain-800": lambda side, count: drain(side, count, 800),
    "drain-100": lambda side, count: drain(side, count, 100),
}


async def measure(kind: type[Floor | Ours], figure: str, count: int) -> Timing:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        side = kind(str(Path(folder) / "queue.db"))
        if isinstance(side, Ours):
            await side.store.connect()
        found = await FIGURES[figure](side, count)
        await side.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=list(FIGURES))
    parser.add_argument("--count", type=int, default=40_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ours-only", action="store_true", help="for a profile")
    options = parser.parse_args()
    for figure in options.names:
        kinds = [Ours] if options.ours_only else [Floor, Ours]
        found: dict[type, list[Timing]] = {kind: [] for kind in kinds}
        for _ in range(options.rounds):
            for kind in kinds:
                found[kind].append(uvloop.run(measure(kind, figure, options.count)))
        line = f"{figure:<10}"
        for kind, timings in found.items():
            rate, cpu = (statistics.median(column) for column in zip(*timings, strict=True))
            line += f"  {kind.__name__.lower():<5} {rate:>9,.0f}/s {cpu:6.2f} us"
        if len(kinds) > 1:
            rates, cpus = zip(*(map(statistics.median, zip(*found[kind], strict=True)) for kind in kinds), strict=True)
            line += f"  ratio {rates[1] / rates[0]:.2f}, of computing {cpus[0] / cpus[1]:.2f}"
        print(line, flush=True)


if __name__ == "__main__":
    main()
