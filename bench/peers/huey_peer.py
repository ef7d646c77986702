"""huey on SQLite, as its documentation starts it: threads; results kept."""

import os
import sqlite3
import sys
from pathlib import Path

from driving import drive
from huey import SqliteHuey

FILE = Path(os.environ["PEER_FOLDER"]) / "huey.db"
huey = SqliteHuey(filename=str(FILE))


@huey.task()
def add(a: int, b: int) -> int:
    return a + b


def _enqueue(jobs: int) -> None:
    for number in range(jobs):
        add(number, 1)


def _finished() -> int:
    with sqlite3.connect(FILE) as db:
        return db.execute("SELECT count(*) FROM kv").fetchone()[0]


def _round_trip() -> None:
    assert add(1, 2).get(blocking=True, timeout=10, backoff=1.05, max_delay=0.005) == 3


def main(jobs: int) -> None:
    consumer = [sys.executable, "-m", "huey.bin.huey_consumer", "huey_peer.huey", "-w", "4", "-k", "thread"]
    drive(consumer, _enqueue, _finished, _round_trip, jobs)
