"""What the tests of SQLite's own share: records, and processes of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uuid_utils

from windlass.core.clock import Instant
from windlass.core.model import ClaimRequest, Lane, NewJob, Session
from windlass.store.port import Store
from windlass.store.sqlite import SQLiteStore

LANE = Lane("default")


def new_id() -> bytes:
    return uuid_utils.uuid7().bytes


def new_job(**fields: Any) -> NewJob:
    return NewJob(**{"id": new_id(), "task": "t", "payload": b"{}", **fields})


def now() -> Instant:
    return time.time_ns() // 1000


async def enqueue(store: SQLiteStore, *jobs: NewJob) -> None:
    await store.enqueue(jobs, first_sent=now())


async def open_session(store: Store) -> bytes:
    session = os.urandom(16)
    await store.open(Session(id=session, node="here", pid=os.getpid(), lanes=(LANE,)))
    return session


def request(number: int, most: int = 1000, queue: str = "default") -> ClaimRequest:
    return ClaimRequest(number, (Lane(queue, until=most),))


@contextmanager
def process(code: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run Python code in a process of its own, with `sys.argv[1:]` as given; killed at the end if it still runs."""
    started = subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    try:
        yield started
    finally:
        if started.poll() is None:
            started.send_signal(signal.SIGCONT)
            started.kill()
        started.communicate()


def said(started: subprocess.Popen[str]) -> str:
    """The next line that a process prints."""
    assert started.stdout is not None
    return started.stdout.readline().strip()


def say(started: subprocess.Popen[str], line: str = "") -> None:
    """Send a line to a process."""
    assert started.stdin is not None
    started.stdin.write(line + "\n")
    started.stdin.flush()
