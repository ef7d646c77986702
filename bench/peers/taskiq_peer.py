"""taskiq on Redis streams (acknowledged): one worker process on its event loop; results kept."""

import asyncio
import os
import sys

import redis
from driving import drive
from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

URL = f"redis://127.0.0.1:{os.environ['PEER_PORT']}"
broker = RedisStreamBroker(url=f"{URL}/0").with_result_backend(RedisAsyncResultBackend(redis_url=f"{URL}/1"))
results = redis.Redis.from_url(f"{URL}/1")


@broker.task
async def add(a: int, b: int) -> int:
    return a + b


async def _send(jobs: int) -> None:
    for number in range(jobs):
        await add.kiq(number, 1)


async def _trip() -> None:
    task = await add.kiq(1, 2)
    assert (await task.wait_result(check_interval=0.001, timeout=10)).return_value == 3


def main(jobs: int) -> None:
    worker = [sys.executable, "-m", "taskiq", "worker", "taskiq_peer:broker", "--workers", "1"]
    with asyncio.Runner() as loop:
        loop.run(broker.startup())
        drive(
            worker,
            lambda count: loop.run(_send(count)),
            results.dbsize,
            lambda: loop.run(_trip()),
            jobs,
        )
        loop.run(broker.shutdown())
