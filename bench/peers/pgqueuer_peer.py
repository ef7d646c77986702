"""PgQueuer on PostgreSQL: one worker process, large batches; it keeps no results, but a log of how each job ended."""

import asyncio
import json
import os
import subprocess
import sys
from datetime import timedelta

import asyncpg
import psycopg
import uvloop
from driving import drive
from pgqueuer import PgQueuer
from pgqueuer.core.completion import CompletionWatcher
from pgqueuer.db import AsyncpgDriver
from pgqueuer.models import Job
from pgqueuer.queries import Queries

URL = os.environ["PEER_URL"]
BATCH = 1000


def work() -> None:
    """Be a worker. (That is what its command line starts, which does not run beside its newest dependencies.)"""
    uvloop.run(_work())


async def _work() -> None:
    worker = PgQueuer(AsyncpgDriver(await asyncpg.connect(URL)))

    @worker.entrypoint("add")
    async def add(job: Job) -> None:
        assert job.payload is not None
        a, b = json.loads(job.payload)
        assert a + b >= b

    await worker.run(batch_size=BATCH)


def main(jobs: int) -> None:
    subprocess.run([sys.executable, "-m", "pgqueuer", "--pg-dsn", URL, "install"], check=True, capture_output=True)
    worker = [sys.executable, "-c", "import pgqueuer_peer; pgqueuer_peer.work()"]
    with asyncio.Runner() as loop, psycopg.connect(URL, autocommit=True) as admin:
        driver = AsyncpgDriver(loop.run(asyncpg.connect(URL)))
        queries = Queries(driver)

        async def send(count: int) -> None:
            for first in range(0, count, BATCH):
                numbers = range(first, min(first + BATCH, count))
                payloads = [json.dumps([number, 1]).encode() for number in numbers]
                await queries.enqueue(["add"] * len(numbers), payloads, [0] * len(numbers))

        async def trip() -> None:
            async with CompletionWatcher(driver, queries=queries, debounce=timedelta(0)) as watcher:
                (job_id,) = await queries.enqueue("add", b"[1, 2]")
                assert await watcher.wait_for(job_id) == "successful"

        def finished() -> int:
            found = admin.execute("SELECT count(*) FROM pgqueuer_log WHERE status = 'successful'").fetchone()
            assert found is not None
            return int(found[0])

        drive(worker, lambda count: loop.run(send(count)), finished, lambda: loop.run(trip()), jobs)
