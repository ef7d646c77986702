"""Processes that are stopped for longer than their lease, outside and inside a write to the store, and come back."""

import itertools
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.crash_site import CrashSite, Fleet, sizes, until
from windlass.core.errors import StoreUnavailable
from windlass.core.lifecycle import State


@pytest.fixture
def site(tmp_path: Path, rng: random.Random) -> Iterator[CrashSite]:
    with CrashSite(tmp_path, rng) as made:
        yield made


def freeze_outside_a_write(site: CrashSite, pid: int) -> None:
    """Stop a process that holds jobs and keeps nobody from writing."""
    while True:
        until(lambda: any(record.running for record in site.sessions(pid)), f"process {pid} to hold jobs")
        os.kill(pid, signal.SIGSTOP)
        writes = site.holds_anything(pid) or time.sleep(0.01) or site.holds_anything(pid)
        if not writes and site.freeze(pid):  # it may have settled all that it held before it stopped
            return
        site.thaw(pid)


def freeze_inside_a_write(site: CrashSite, fleet: Fleet) -> int:
    """Stop one of the workers while it holds the lock of all writers; answers its process id."""
    for pid in itertools.cycle(fleet.pids()):
        os.kill(pid, signal.SIGSTOP)
        # Twice: the thread that writes may stop a moment after the signal was sent.
        if site.holds_lock(pid) and (time.sleep(0.01) or site.holds_lock(pid)):
            return pid
        site.thaw(pid)
        assert site.unfinished(), "it was never seen inside a write"
        time.sleep(site.rng.uniform(0, 0.002))
    raise AssertionError("no process to stop")


def interrupt_everybody(site: CrashSite) -> None:
    """Enter in the books that nobody can renew a lease."""
    site.books.interrupted += sum(record.running for record in site.sessions())


def wait_for_change(site: CrashSite, states: Counter[State]) -> None:
    until(lambda: site.states() != states, "work to go on")


def test_a_zombie_is_refused(site: CrashSite) -> None:
    """Stopped outside a write; others run its jobs again; while they do, it wakes, its ends are refused, and then it
    works on.

    Its coroutines are cancelled before they can take their next step; its threads run on to their ends.
    """
    fleet = site.workers(2, concurrency=50)
    in_threads: set[str] = set()
    for _ in range(125):  # so that its slots hold both kinds, as a rule
        site.enqueue("work", ({"n": n, "seconds": 0.02, "again": 1} for n in range(20)))
        in_threads.update(site.enqueue("work_in_thread", ({"n": n, "seconds": 0.02, "again": 1} for n in range(20))))
    zombie = site.rng.choice(fleet.pids())
    while True:
        freeze_outside_a_write(site, zombie)
        before = site.marks()
        its = [mark for mark in before if mark.pid == zombie and mark.job in in_threads]
        if len({mark.job for mark in its}) > sum(mark.what == "end" for mark in its):
            break
        site.thaw(zombie)  # none of its threads is in the middle of a job
    until(lambda: any(mark.attempt == 2 for mark in site.marks()), "the zombie's jobs to run again")
    site.thaw(zombie)
    fleet.next(rf"\[{zombie}\] windlass.engine: job .* was lost: the outcome of this attempt is dropped")
    until(lambda: site.sessions(zombie), "the zombie to begin a new life")
    site.drained()
    late = {
        mark.job for mark in site.marks()[len(before) :] if (mark.what, mark.attempt, mark.pid) == ("end", 1, zombie)
    }
    refused = [job_id for job_id in late if site.record(job_id).attempt == 2]
    assert refused, "the zombie ended nothing late: its refusal proved nothing"
    again = set(site.enqueue("work", ({"n": n, "seconds": 0.02} for n in range(2000))))
    site.drained()
    assert {mark.pid for mark in site.marks() if mark.job in again} == set(fleet.pids()), "it works again"
    site.audit()
    assert fleet.stop() == 0


@sizes(5000, 50_000)
def test_stopped_inside_a_write_and_continued(site: CrashSite, jobs: int) -> None:
    """Everybody waits; nobody is robbed when it goes on, though every lease is over by the clock."""
    fleet = site.workers(2, concurrency=50)
    site.enqueue("work", ({"n": n, "seconds": 0.02} for n in range(jobs)))
    for _ in range(max(1, jobs // 25_000)):
        holder = freeze_inside_a_write(site, fleet)
        interrupt_everybody(site)
        time.sleep(1.5)
        states = site.states()
        time.sleep(0.2)
        assert site.states() == states, "somebody writes beside the holder of the lock"
        site.thaw(holder)
        wait_for_change(site, states)
    site.drained(600)
    assert site.states() == {State.SUCCEEDED: jobs}
    site.audit()
    assert fleet.stop() == 0


def test_stopped_inside_a_write_and_killed(site: CrashSite) -> None:
    """After 10 s callers hear who is to blame. Its death frees the lock, and its half-done write is gone."""
    fleet = site.workers(2, concurrency=50)
    site.enqueue("work", ({"n": n, "seconds": 0.02} for n in range(5000)))
    holder = freeze_inside_a_write(site, fleet)
    interrupt_everybody(site)
    began = time.monotonic()
    with pytest.raises(StoreUnavailable, match=f"{site.path}.* 10 s by process {holder}, which is stopped"):
        site.enqueue("work", [{"n": 0}])
    assert 9 < time.monotonic() - began < 13
    os.kill(holder, signal.SIGKILL)
    site.drained()
    site.audit()
    assert fleet.stop() == 0
