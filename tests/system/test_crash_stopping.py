"""SIGTERM under load, once and twice."""

import random
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.crash_site import CrashSite, sizes, until
from windlass.core.lifecycle import State
from windlass.testing import snapshot


@pytest.fixture
def site(tmp_path: Path, rng: random.Random) -> Iterator[CrashSite]:
    with CrashSite(tmp_path, rng) as made:
        yield made


def starts(site: CrashSite) -> Counter[bytes]:
    return Counter(mark.job for mark in site.marks() if mark.what == "start")


def assert_only_starts_count(site: CrashSite) -> None:
    """The attempts that the store counts are the executions that there were, and nobody holds anything."""
    begun = starts(site)
    for job in site.ask(snapshot.take(site.store)).jobs.values():
        assert job.attempt == begun[job.id], f"{begun[job.id]} executions of {job}"
        assert job.losses == 0
        assert job.state in (State.SUCCEEDED, State.READY)
    assert not site.sessions()


def wait_for_growth(log: Path, size: int) -> None:
    """Wait until tasks have written so many more bytes, some fifty for each start and each end."""
    before = log.stat().st_size if log.exists() else 0
    until(lambda: log.exists() and log.stat().st_size > before + size, "jobs to run")


@sizes(5000, 100_000)
def test_the_first_sigterm_drains(site: CrashSite, jobs: int) -> None:
    """What has started finishes, the rest is given back with no attempt counted."""
    site.enqueue("work", ({"n": n, "seconds": site.rng.uniform(0, 0.04)} for n in range(jobs * 9 // 10)))
    site.enqueue("work_in_thread", ({"n": n, "seconds": 0.02} for n in range(jobs // 10)))
    for _ in range(max(3, jobs // 5000)):
        fleet = site.workers(2)
        wait_for_growth(site.log, site.rng.randrange(5_000, 50_000))
        assert fleet.stop() == 0
        marks = site.marks()
        assert sum(mark.what == "start" for mark in marks) == sum(mark.what == "end" for mark in marks)
        assert_only_starts_count(site)
    assert site.states()[State.READY], "there was no load any more"
    fleet = site.workers(2, concurrency=100)
    site.drained(600)
    site.audit()
    assert fleet.stop() == 0
    assert max(starts(site).values()) == 1


def test_the_second_sigterm_gives_everything_back_now(site: CrashSite) -> None:
    """Executions that are cut short do count."""
    site.enqueue("work", ({"n": n} for n in range(5000)))
    long = site.enqueue("work", ({"n": n, "seconds": 3600} for n in range(20)), priority=9)
    long += site.enqueue("work_in_thread", ({"n": n, "seconds": 3600} for n in range(20)), priority=9)
    fleet = site.workers(2, grace=600)
    until(lambda: starts(site).keys() >= set(long), "the long ones to start")
    fleet.signal(signal.SIGTERM)
    fleet.next("stopping: .* held, 600 s of grace")
    fleet.next("stopping: .* held, 600 s of grace")
    assert fleet.stop(10) == 0
    assert_only_starts_count(site)
    records = site.ask(site.store.get_jobs(long))
    assert [(job and job.state, job and job.attempt) for job in records] == [(State.READY, 1)] * 40
