"""Limits hold whoever dies when, however often they are changed; and no place is ever lost."""

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from uuid import UUID

import pytest

from tests.system import turnstile
from tests.system.crash_app import work_for
from tests.system.crash_site import ROOT, CrashSite, Fleet, sizes, until
from windlass.core.records import LimitScope
from windlass.limits import limit_record

CUSTOMERS = tuple("abcdefgh")
ALL = "everybody"
KILLS = 4
"""For one supervisor: it lets the next start wait twice as long each time."""
MOST_OF_QUEUE = 9
MOST_OF_KEY = 3


@pytest.fixture
def site(tmp_path: Path, rng: random.Random) -> Iterator[CrashSite]:
    # A process that runs a suspect may be killed as well, however often: that is no fault of the job's.
    with CrashSite(tmp_path, rng, max_lost=1000) as made:
        made.ask(made.store.connect())
        turnstile.put_up(made.path)
        yield made


def enqueue(site: CrashSite, customers: str, seconds: float) -> dict[bytes, str]:
    """Enqueue a job for each of these customers; answers whose is which."""
    calls = [work_for.bind(customer, site.rng.uniform(0.2, 1) * seconds) for customer in customers]
    jobs = [call.recipe.new_job(call.payload, call.limit_key) for call in calls]
    return dict(zip(site.enqueue_jobs(jobs), customers, strict=True))


def limit(site: CrashSite, concurrency: int | None, **of: str) -> None:
    site.ask(site.store.put_limit(limit_record(concurrency=concurrency, **of)))


def change_a_limit(site: CrashSite) -> None:
    """Raise or lower one, or let one key have its own, or none of its own."""
    customer = site.rng.choice(CUSTOMERS)
    site.rng.choice(
        [
            lambda: limit(site, site.rng.randint(1, MOST_OF_KEY), key="customer"),
            lambda: limit(site, site.rng.randint(3, MOST_OF_QUEUE), queue="default"),
            lambda: limit(site, site.rng.randint(1, MOST_OF_KEY), key=f"customer:{customer}"),
            lambda: limit(site, None, key=f"customer:{customer}"),
        ]
    )()


def kill(site: CrashSite, pid: int) -> None:
    """Kill a worker, and write it into the log behind all that it wrote there."""
    site.kill(pid)
    with site.log.open("a") as log:
        log.write(f"killed {UUID(int=0)} 0 {pid}\n")


def busy(site: CrashSite, fleet: Fleet) -> list[int]:
    """The worker processes under which jobs run."""
    return [record.session.pid for record in site.sessions_of(fleet) if record.running]


def running(site: CrashSite) -> dict[tuple[LimitScope, str], int]:
    return site.ask(site.store.running())


@sizes(1500, 20_000)
def test_limits_hold_while_workers_die_and_limits_change(site: CrashSite, jobs: int) -> None:
    limit(site, 2, key="customer")
    limit(site, 7, queue="default")
    whose: dict[bytes, str] = {}
    for _ in range(jobs // 1500):
        whose |= enqueue(site, "".join(site.rng.choices(CUSTOMERS, k=1500)), 0.05)
        fleet = site.workers(2)
        for _ in range(KILLS):
            for _ in range(3):
                time.sleep(site.rng.uniform(0, 0.3))
                change_a_limit(site)
            kill(site, site.rng.choice(until(partial(busy, site, fleet), "a worker that runs something")))
        site.drained(60)
        assert fleet.stop() == 0
    assert site.books.interrupted, "no kill met a running job: it proved nothing"
    site.audit()
    assert running(site) == {}
    assert not list(turnstile.findings(turnstile.passages(site.path)))
    assert turnstile.most_at_once(site.marks(), whose).most_common(1)[0][1] <= MOST_OF_KEY
    assert turnstile.most_at_once(site.marks(), dict.fromkeys(whose, ALL))[ALL] <= MOST_OF_QUEUE


def test_no_place_is_lost_with_those_who_die_holding_it(site: CrashSite) -> None:
    """All that may run does run again, however often everything that ran was killed."""
    limit(site, 2, key="customer")
    limit(site, 5, queue="default")
    enqueue(site, "aaaaaaaabbbbbbbbcccccccc", 20)
    fleet = site.workers(2)
    full = {"customer:a": 2, "customer:b": 2, "customer:c": 1}
    for _ in range(3):
        until(lambda: running(site).get((LimitScope.QUEUE, "default")) == 5, "all places to be taken")
        taken = {name: count for (scope, name), count in running(site).items() if scope is LimitScope.KEY}
        assert sorted(taken.values()) == sorted(full.values())
        for pid in fleet.pids():
            kill(site, pid)
        until(lambda: site.sessions_of(fleet), "workers to open their sessions")
    until(lambda: running(site).get((LimitScope.QUEUE, "default")) == 5, "all places to be taken again")
    assert not list(turnstile.findings(turnstile.passages(site.path)))


def test_limits_are_raised_and_lowered_from_the_command_line_while_jobs_run(site: CrashSite) -> None:
    windlass(site, "limits", "set", "--key", "customer", "--concurrency", "2")
    enqueue(site, "a" * 30, 20)
    fleet = site.workers(2)
    of_a = (LimitScope.KEY, "customer:a")
    until(lambda: running(site).get(of_a) == 2, "two to run")
    windlass(site, "limits", "set", "--key", "customer:a", "--concurrency", "5")
    until(lambda: running(site).get(of_a) == 5, "five to run")
    windlass(site, "limits", "rm", "--key", "customer:a")
    for pid in fleet.pids():
        kill(site, pid)
    until(lambda: running(site).get(of_a) == 2, "two to run after five had died")
    windlass(site, "limits", "rm", "--key", "customer")
    until(lambda: running(site).get(of_a) == 30, "all to run")
    assert not list(turnstile.findings(turnstile.passages(site.path)))


def windlass(site: CrashSite, *arguments: str) -> None:
    command = [sys.executable, "-m", "windlass", *arguments, "--url", f"sqlite:///{site.path}"]
    subprocess.run(command, cwd=ROOT, env=os.environ, check=True, timeout=50, stdout=subprocess.DEVNULL)
