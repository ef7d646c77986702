"""Several schedulers on one store, with clocks that disagree, killed at random moments: each fire time has one job."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import msgspec
import pytest

from tests.system.scheduler_process import make_store
from windlass.core.clock import SECOND, Instant
from windlass.core.definition import Definition, Policies, encode
from windlass.core.firing import following
from windlass.core.model import MAX_BATCH
from windlass.core.options import decode_options
from windlass.core.records import JobFilter
from windlass.core.schedules import NewSchedule
from windlass.core.triggers import Every

ROOT = Path(__file__).parents[2]
SKEW = 30.0


class Schedulers:
    """So many processes; a new one for each that is killed."""

    def __init__(self, url: str, number: int, rng: random.Random) -> None:
        self._url = url
        self._rng = rng
        self._running = [self._start() for _ in range(number)]

    def _start(self) -> subprocess.Popen[str]:
        skew = self._rng.uniform(-SKEW, SKEW)
        command = [sys.executable, "-m", "tests.system.scheduler_process", self._url, str(skew)]
        return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)

    def kill_one(self) -> None:
        """Kill one that is at work, and put another in its place."""
        at = self._rng.randrange(len(self._running))
        victim = self._running[at]
        assert victim.stdout is not None
        assert victim.stdout.readline() == "ready\n", "a scheduler ended by itself"
        time.sleep(self._rng.uniform(0, 0.3))
        victim.kill()
        victim.communicate()
        self._running[at] = self._start()

    def end(self) -> None:
        """Kill them all."""
        for process in self._running:
            process.kill()
        for process in self._running:
            process.communicate()


async def make_schedules(url: str, number: int) -> None:
    store = make_store(url, 0.0)
    now = await store.now()
    one = Definition(
        trigger=Every(seconds=1),
        task="tick",
        payload=msgspec.Raw(b"{}"),
        policies=Policies(coalesce="all", catch_up=1000),
    )
    for start in range(0, number, MAX_BATCH):
        await store.put_schedules(
            [
                NewSchedule(
                    name=f"s{at:05}", definition=encode(one), version=0, next=following(one.trigger, now + SECOND)
                )
                for at in range(start, min(start + MAX_BATCH, number))
            ]
        )
    await store.aclose()


async def fire_times(url: str) -> dict[str, list[Instant]]:
    """Of all jobs, by schedule."""
    store = make_store(url, 0.0)
    found: dict[str, list[Instant]] = {}
    cursor = None
    while True:
        page = await store.list_jobs(JobFilter(), limit=MAX_BATCH, cursor=cursor)
        for job in await store.get_jobs([job.id for job in page.jobs]):
            assert job is not None
            options = decode_options(job.options)
            assert options.schedule is not None
            assert options.fire_time is not None
            found.setdefault(options.schedule, []).append(options.fire_time)
        cursor = page.cursor
        if cursor is None:
            break
    await store.aclose()
    return found


def check(url: str, schedules: int, seconds: float, processes: int, rng: random.Random) -> None:
    asyncio.run(make_schedules(url, schedules))
    running = Schedulers(url, processes, rng)
    try:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            running.kill_one()
        time.sleep(3)  # those that are left catch up with what the last one left
    finally:
        running.end()
    found = asyncio.run(fire_times(url))
    assert len(found) == schedules
    for name, times in found.items():
        twice = [at for at, number in Counter(times).items() if number > 1]
        assert not twice, f"{name} fired twice"
        assert len(times) == (max(times) - min(times)) // SECOND + 1, f"{name}: a fire time has no job"
        assert len(times) >= seconds * 0.8, f"{name} stood still"


@pytest.mark.timeout(120)
def test_each_fire_time_has_one_job(url: str, rng: random.Random) -> None:
    check(url, schedules=100, seconds=6, processes=4, rng=rng)


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_each_fire_time_has_one_job_at_full_size(url: str, rng: random.Random) -> None:
    check(url, schedules=1000, seconds=60, processes=8, rng=rng)
