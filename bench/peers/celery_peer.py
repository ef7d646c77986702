"""Celery on Redis: one worker process with threads; acknowledged late, results kept."""

import os
import sys

import redis
from celery import Celery
from driving import drive

URL = f"redis://127.0.0.1:{os.environ['PEER_PORT']}"
app = Celery("celery_peer", broker=f"{URL}/0", backend=f"{URL}/1")
app.conf.task_acks_late = True
results = redis.Redis.from_url(f"{URL}/1")


@app.task
def add(a: int, b: int) -> int:
    return a + b


def _enqueue(jobs: int) -> None:
    for number in range(jobs):
        add.delay(number, 1)


def _round_trip() -> None:
    assert add.delay(1, 2).get(timeout=10) == 3


def main(jobs: int) -> None:
    worker = [sys.executable, "-m", "celery", "-A", "celery_peer", "worker", "-P", "threads", "-c", "8"]
    drive(worker, _enqueue, results.dbsize, _round_trip, jobs)
