"""Real workers on a real PostgreSQL: whatever an administrator does to it, they go on by themselves, within seconds,
and the audit finds every job done. (What happens to networks and servers: `test_crash_servers.py`.)"""

import random
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.servers.postgres import PostgresServer
from tests.system.crash_site import CrashSite, until
from tests.system.test_redis_workers import repeated
from windlass.core.errors import StoreUnavailable
from windlass.core.lifecycle import State

SLOTS, PROCESSES = 20, 2
BACK_WITHIN = 15.0
"""Seconds within which workers have to go on after the end of a fault, on a busy machine."""
TERMINATE = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
"""


class PostgresSite(CrashSite):
    """As its parent, with a server in place of the file."""

    def __init__(self, folder: Path, rng: random.Random, server: PostgresServer) -> None:
        self.server = server
        super().__init__(folder, rng, url=server.url, max_lost=1000)

    def admin(self, statement: str) -> None:
        """Have an administrator do something."""
        with psycopg.connect(self.server.url, autocommit=True) as connection:
            connection.execute(statement)

    def outage(self) -> None:
        """Enter in the books that no lease can be renewed: each slot's attempt may be cancelled, and made again."""
        self.books.interrupted += SLOTS * PROCESSES

    def goes_on(self) -> None:
        """See a job done, one that nobody had before."""
        self.answers_again()
        (job_id,) = self.enqueue("work", [{"n": 0}], priority=9)
        until(lambda: self._is_done(job_id), "workers to go on", BACK_WITHIN)

    def answers_again(self) -> None:
        """Wait until the server can be asked again."""
        until(self._answers, "the server to answer")

    def _answers(self) -> bool:
        try:
            self.states()
        except StoreUnavailable:
            return False
        return True

    def _is_done(self, job_id: bytes) -> bool:
        return self.record(job_id).state is State.SUCCEEDED


@pytest.fixture
def site(tmp_path: Path, rng: random.Random) -> Iterator[PostgresSite]:
    with PostgresServer() as server, PostgresSite(tmp_path, rng, server) as made:
        made.ask(made.store.migrate())
        yield made


def put_work(site: PostgresSite, jobs: int) -> None:
    site.enqueue("work", ({"n": n, "seconds": site.rng.uniform(0, 0.05)} for n in range(jobs)))


def finish(site: PostgresSite) -> None:
    """Let everything be done, stop the workers, and hold the books against the store."""
    site.drained(60)
    for fleet in site.fleets:
        assert fleet.stop() == 0
    site.audit()


@pytest.mark.timeout(120)
def test_every_kind_of_connection_is_ended_again_and_again(site: PostgresSite) -> None:
    """Pools, listeners and heartbeats, while jobs run and while all is idle."""
    put_work(site, 2000)
    site.outage()
    site.workers(PROCESSES, concurrency=SLOTS)
    until(site.marks, "jobs to start")
    with repeated(lambda: site.admin(TERMINATE), every=0.3):
        time.sleep(2)
    site.answers_again()
    site.drained(60)
    for _ in range(3):
        site.admin(TERMINATE)
        site.goes_on()
    finish(site)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("how", ["fast", "crash"])
def test_a_server_that_is_away_for_some_seconds(site: PostgresSite, how: str) -> None:
    put_work(site, 2000)
    site.workers(PROCESSES, concurrency=SLOTS)
    until(site.marks, "jobs to start")
    for away in (0.0, 3.0):
        site.outage()
        if how == "fast":
            site.server.stop()
        else:
            site.server.kill()
        time.sleep(away)
        site.server.start()
        site.goes_on()
    finish(site)


@pytest.mark.soak
@pytest.mark.timeout(600)
@pytest.mark.parametrize("what", ["paused", "away"])
def test_a_server_that_is_gone_for_half_a_minute(site: PostgresSite, what: str) -> None:
    """Longer than all deadlines."""
    put_work(site, 20_000)
    site.workers(PROCESSES, concurrency=SLOTS)
    until(site.marks, "jobs to start")
    site.outage()
    if what == "paused":
        site.server.pause()
    else:
        site.server.kill()
    time.sleep(30)
    if what == "paused":
        site.server.resume()
    else:
        site.server.start()
    site.goes_on()
    finish(site)
