"""SIGKILL, for workers, their supervisor and producers, at any moment."""

import random
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.system.crash_site import CrashSite, sizes, until
from windlass.core.lifecycle import State
from windlass.testing import snapshot


@pytest.fixture
def site(tmp_path: Path, rng: random.Random) -> Iterator[CrashSite]:
    # A process that runs a suspect may be killed as well, however often: that is no fault of the job's.
    with CrashSite(tmp_path, rng, max_lost=1000) as made:
        yield made


KILLS = 6
"""For one supervisor: it lets the next start wait twice as long each time."""


@sizes(6000, 120_000)
def test_workers_killed_at_random_moments(site: CrashSite, jobs: int) -> None:
    for _ in range(jobs // 6000):
        site.enqueue("work", ({"n": n, "seconds": site.rng.uniform(0, 0.05)} for n in range(5400)))
        site.enqueue("work_in_thread", ({"n": n, "seconds": 0.01} for n in range(600)))
        fleet = site.workers(2)
        for _ in range(KILLS):
            time.sleep(site.rng.uniform(0, 0.7))
            site.kill(site.rng.choice(until(fleet.pids, "a worker process")))
        site.drained(60)
        assert fleet.stop() == 0
    assert site.books.interrupted, "no kill met a running job: it proved nothing"
    site.audit()


def test_children_of_a_killed_supervisor_end_by_themselves(site: CrashSite) -> None:
    site.enqueue("work", ({"n": n, "seconds": 0.05} for n in range(5000)))
    fleet = site.workers(2)
    until(site.marks, "jobs to start")
    children = fleet.pids()
    fleet.process.kill()
    fleet.process.wait()
    until(lambda: not any(map(psutil.pid_exists, children)), "the children to end")
    assert not site.sessions(), "they closed their sessions"
    states = site.states()
    assert states[State.RUNNING] == 0
    assert states[State.READY] > 0, "they went on until all was done"
    fleet = site.workers(2, concurrency=100)
    site.drained()
    site.audit()
    assert fleet.stop() == 0


LINE = 37
"""Bytes for each acknowledgement: an id and a line feed."""


def wait_for_size(file: Path, size: int) -> None:
    until(lambda: file.stat().st_size > size, "acknowledgements")


@sizes(5000, 200_000)
def test_a_producer_killed_in_the_middle(site: CrashSite, jobs: int) -> None:
    """What it had acknowledged is there, and what it had only sent is there whole or not at all."""
    stored: set[bytes] = set()
    for n in range(4):
        acknowledged = site.folder / f"acknowledged-{n}"
        acknowledged.touch()
        producer = site.producer(10**9, acknowledged)
        wait_for_size(acknowledged, site.rng.randrange(jobs // 5, jobs // 3) * LINE)
        producer.kill()
        assert producer.communicate()[0] == ""
        confirmed = site.enter(acknowledged)
        now_stored = set(site.ask(snapshot.take(site.store)).jobs)
        assert confirmed <= now_stored
        assert len(now_stored - stored - confirmed) <= 3000, "more was under way than two chunks and one being read"
        stored = now_stored
    doubtful = stored - site.books.expected.keys()
    fleet = site.workers(2, concurrency=100)
    site.drained(600)
    site.audit(doubtful=doubtful)
    assert fleet.stop() == 0


@sizes(6000, 200_000)
def test_producers_and_workers_share_one_file(site: CrashSite, jobs: int) -> None:
    """Four processes enqueue, three run, and nobody ever hears of a lock."""
    fleet = site.workers(3, concurrency=100)
    files = [site.folder / f"acknowledged-{n}" for n in range(4)]
    producers = [site.producer(jobs // 4, file) for file in files]
    for producer, file in zip(producers, files, strict=True):
        assert producer.communicate(timeout=600)[0] == ""
        assert producer.returncode == 0
        assert len(site.enter(file)) == jobs // 4
    site.drained(600)
    site.audit()
    assert len({mark.pid for mark in site.marks()}) == 3, "one worker had nothing to do"
    assert fleet.stop() == 0
