"""dramatiq on Redis: one worker process with its eight threads; results kept."""

import os
import sys

import dramatiq
import redis
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend
from driving import drive

URL = f"redis://127.0.0.1:{os.environ['PEER_PORT']}"
broker = RedisBroker(url=f"{URL}/0")
broker.add_middleware(Results(backend=RedisBackend(url=f"{URL}/1"), store_results=True))
dramatiq.set_broker(broker)
results = redis.Redis.from_url(f"{URL}/1")


@dramatiq.actor
def add(a: int, b: int) -> int:
    return a + b


def _enqueue(jobs: int) -> None:
    for number in range(jobs):
        add.send(number, 1)


def _round_trip() -> None:
    assert add.send(1, 2).get_result(block=True, timeout=10_000) == 3


def main(jobs: int) -> None:
    worker = [sys.executable, "-m", "dramatiq", "dramatiq_peer", "--processes", "1", "--threads", "8"]
    drive(worker, _enqueue, results.dbsize, _round_trip, jobs)
