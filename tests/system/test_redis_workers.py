"""Real workers on a real Redis: whatever happens to the server or to the connections, they go on by themselves, within
seconds, and the audit finds every job done."""

import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.servers.redis import RedisServer
from tests.system.crash_site import CrashSite, Fleet, sizes, until
from windlass.core.lifecycle import State

SLOTS, PROCESSES = 20, 2
BACK_WITHIN = 10.0
"""Seconds within which workers have to go on after the end of a fault, on a busy machine."""


class RedisSite(CrashSite):
    """As its parent, on a server."""

    def __init__(self, folder: Path, rng: random.Random, server: RedisServer) -> None:
        self.server = server
        self.fleets: list[Fleet] = []
        super().__init__(folder, rng, url=f"{server.url}?timeout=30", max_lost=1000)

    def environment(self, database: Path | None = None) -> dict[str, str]:
        return super().environment(database) | {"CRASH_URL": self.server.url}

    def workers(self, processes: int = PROCESSES, *options: str, concurrency: int = SLOTS, grace: float = 20) -> Fleet:
        fleet = super().workers(processes, *options, concurrency=concurrency, grace=grace)
        self.fleets.append(fleet)
        return fleet

    def outage(self) -> None:
        """Enter in the books that no lease can be renewed: each slot's attempt may be cancelled, and made again."""
        self.books.interrupted += SLOTS * PROCESSES

    def goes_on(self, task: str = "work") -> None:
        """See a job done, one that nobody had before."""
        began = time.monotonic()
        (job_id,) = self.enqueue(task, [{"n": 0}], priority=9)
        until(lambda: self.record(job_id).state is State.SUCCEEDED, "workers to go on", BACK_WITHIN)
        assert time.monotonic() - began < BACK_WITHIN


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def site(tmp_path: Path, rng: random.Random, server: RedisServer) -> Iterator[RedisSite]:
    with RedisSite(tmp_path, rng, server) as made:
        yield made


def put_work(site: RedisSite, jobs: int) -> None:
    site.enqueue("work", ({"n": n, "seconds": site.rng.uniform(0, 0.05)} for n in range(jobs)))


def finish(site: RedisSite) -> None:
    """Let everything be done, stop the workers, and hold the books against the store."""
    site.drained(60)
    for fleet in site.fleets:
        assert fleet.stop() == 0
    site.audit()


@sizes(3000, 20_000)
def test_workers_killed_at_random_moments(site: RedisSite, jobs: int) -> None:
    put_work(site, jobs)
    fleet = site.workers()
    for _ in range(4):
        time.sleep(site.rng.uniform(0, 0.7))
        site.kill(site.rng.choice(until(fleet.pids, "a worker process")))
    finish(site)


@sizes(3000, 20_000)
def test_a_server_killed_and_started_again(site: RedisSite, jobs: int) -> None:
    put_work(site, jobs)
    site.workers()
    for away in (0.0, 0.5, 2.5):
        until(site.marks, "jobs to start")
        time.sleep(site.rng.uniform(0, 0.5))
        site.outage()
        site.server.kill()
        time.sleep(away)
        site.server.start()
        site.goes_on()
    finish(site)


def test_a_server_paused_for_longer_than_all_deadlines(site: RedisSite) -> None:
    put_work(site, 2000)
    site.workers()
    until(site.marks, "jobs to start")
    for pause in (0.3, 4.0):
        site.outage()
        site.server.pause()
        time.sleep(pause)
        site.server.resume()
        site.goes_on()
    finish(site)


@pytest.mark.parametrize("what", ["CLIENT KILL TYPE normal", "CLIENT KILL TYPE pubsub", "SCRIPT FLUSH"])
def test_what_an_administrator_may_do_at_any_time(site: RedisSite, what: str) -> None:
    """Again and again, while jobs run and while all is idle; nothing runs twice for it."""
    command = f"{what}\r\n".encode()
    put_work(site, 3000)
    site.workers()
    until(site.marks, "jobs to start")
    with repeated(lambda: site.server.ask(command), every=0.05):
        until(lambda: site.unfinished() < 500, "most of the jobs to be done")
    site.drained()
    for _ in range(3):
        site.server.ask(command)
        site.goes_on()
    finish(site)


class repeated:  # noqa: N801 - reads as what it does
    """Does something again and again, in a thread, as long as the block runs."""

    def __init__(self, act: Callable[[], object], every: float) -> None:
        self._act = act
        self._every = every
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._end.wait(self._every):
            self._act()

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()


def test_a_full_server_is_drained(tmp_path: Path, rng: random.Random) -> None:
    with RedisServer("--maxmemory", "6mb") as server, RedisSite(tmp_path, rng, server) as site:
        put_work(site, 3000)
        used = int(server.ask(b"INFO memory\r\n").split(b"used_memory:")[1].split()[0])
        server.ask(b"CONFIG SET maxmemory %d\r\n" % (used // 2))
        site.workers()
        finish(site)


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_a_server_paused_for_twenty_seconds(site: RedisSite) -> None:
    put_work(site, 20_000)
    site.workers()
    until(site.marks, "jobs to start")
    site.outage()
    site.server.pause()
    time.sleep(20)
    site.server.resume()
    site.goes_on()
    finish(site)
