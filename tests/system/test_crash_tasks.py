"""Tasks that do their worst: neighbours run again and never die for it, and the worker goes on."""

import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.system.crash_site import CrashSite, until
from windlass.core.lifecycle import State
from windlass.core.records import Reason


@pytest.fixture
def site(tmp_path: Path, rng: random.Random) -> Iterator[CrashSite]:
    with CrashSite(tmp_path, rng) as made:
        yield made


def enqueue_neighbours(site: CrashSite, count: int) -> list[bytes]:
    some = site.enqueue("work", ({"n": n, "seconds": site.rng.uniform(0, 0.01)} for n in range(count * 9 // 10)))
    return some + site.enqueue("work_in_thread", ({"n": n} for n in range(count // 10)))


def test_poison_dies_alone_and_takes_nobody_along(site: CrashSite) -> None:
    """Two jobs that kill their process: a segmentation fault, and an exit. Both are dead once they have killed two
    processes that they had to themselves, and the supervisor lives."""
    enqueue_neighbours(site, 2500)
    poison = [site.enqueue(task, expect=State.DEAD)[0] for task in ("segfault", "exit_at_once")]
    enqueue_neighbours(site, 2500)
    fleet = site.workers(2)
    fleet.excuse("Fatal Python error")
    site.books.exact = False  # nobody counts what ran when a process killed itself: the store's losses must do
    site.drained(60)
    late = enqueue_neighbours(site, 100)
    site.drained()
    for record in map(site.record, poison):
        assert (record.state, record.reason) == (State.DEAD, Reason.LOST)
        assert (record.losses, record.attempt) == (4, 4)
        assert record.failures == 0
    executions = Counter(mark.job for mark in site.marks() if mark.what == "start")
    # Before they were suspect, the one may have been lost to the other, unstarted.
    assert all(2 <= executions[job_id] <= 4 for job_id in poison)
    assert all(executions[job_id] == 1 for job_id in late)
    text = "\n".join(fleet.lines)
    assert "killed by SIGSEGV" in text
    assert "exit code 1" in text
    assert "for suspects alone" in text
    site.audit()
    assert fleet.stop() == 0


def test_tasks_that_misbehave_disturb_nobody(site: CrashSite) -> None:
    """Closed standard descriptors, forks whose child returns from the task as well, much memory and much output."""
    before = set(psutil.pids())
    enqueue_neighbours(site, 2000)
    forks = ["fork_in_thread", "fork_on_loop", "fork_and_await"]
    for task in [*forks, "close_standard", *forks]:
        site.enqueue(task)
        enqueue_neighbours(site, 400)
    site.enqueue("gorge", [{"megabytes": 64}] * 2)
    enqueue_neighbours(site, 1000)
    fleet = site.workers(2)
    pids = fleet.pids()
    site.drained()
    assert fleet.pids() == pids, "nobody died"
    assert not any("died" in line for line in fleet.lines)
    assert {job.losses for job in map(site.record, site.books.expected)} == {0}
    until(lambda: not strays(before, [fleet.process.pid, *pids]), "the forked children to end")
    site.audit()
    assert fleet.stop() == 0


def strays(before: set[int], known: list[int]) -> list[psutil.Process]:
    """Processes of this session, since then, that are neither the supervisor nor its workers."""
    found = []
    for pid in set(psutil.pids()) - before - set(known):
        try:
            process = psutil.Process(pid)
            if set(known) & {parent.pid for parent in process.parents()} and process.status() != "zombie":
                found.append(process)
        except psutil.NoSuchProcess:
            continue
    return found


def test_tasks_that_will_not_end_cannot_hold_up_the_end(site: CrashSite) -> None:
    """One swallows every cancellation and has the process ignore SIGTERM, one sleeps in a thread for ever."""
    stubborn = site.enqueue("never_end") + site.enqueue("never_end_in_thread")
    neighbours = enqueue_neighbours(site, 5000)
    fleet = site.workers(1, grace=0.5)
    until(lambda: len({mark.job for mark in site.marks()} & set(stubborn)) == 2, "the stubborn ones to start")
    until(lambda: site.unfinished() == 2, "the others to finish")
    (pid,) = fleet.pids()
    fleet.signal(signal.SIGTERM)
    began = time.monotonic()
    assert fleet.stop() == 0
    assert time.monotonic() - began < 10
    assert not psutil.pid_exists(pid)
    for record in map(site.record, stubborn):
        assert (record.state, record.attempt, record.losses) == (State.READY, 1, 0)
    assert all(site.record(job_id).state is State.SUCCEEDED for job_id in neighbours)
    assert not site.sessions()
