"""Workers on PostgreSQL while their server dies and a replica takes its place, at the same address."""

import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from tests.servers.postgres import PostgresReplica, PostgresServer
from tests.servers.proxy import Proxy
from tests.system.crash_site import CrashSite, sizes, until
from windlass.core.errors import StoreUnavailable
from windlass.core.lifecycle import State

PROCESSES, SLOTS = 2, 20


@dataclass
class Pair:
    """A server and its replica, the address that leads to one of them, and the site of the crash."""

    primary: PostgresServer
    replica: PostgresReplica
    proxy: Proxy
    site: CrashSite

    def synchronous(self) -> None:
        """Have every commit wait for the replica."""
        with psycopg.connect(self.primary.url, autocommit=True) as admin:
            admin.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
            admin.execute("SELECT pg_reload_conf()")
            state = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync' AND state = 'streaming'"
            until(lambda: admin.execute(state).fetchone() == (1,), "the replica to be waited for")

    def fail_over(self) -> None:
        """The server dies, and after a while the replica is what the address leads to."""
        self.site.books.interrupted += PROCESSES * SLOTS
        self.primary.kill()
        time.sleep(self.site.rng.uniform(0, 3))
        self.replica.promote()
        self.proxy.lead_to(self.replica.port)
        self.proxy.cut()

    def goes_on(self) -> None:
        """See a job done that nobody had before."""
        until(self._answers, "the new server to answer")
        (job_id,) = self.site.enqueue("work", [{"n": 0}], priority=9)
        until(lambda: self.site.record(job_id).state is State.SUCCEEDED, "workers to go on", 15)

    def _answers(self) -> bool:
        try:
            self.site.states()
        except StoreUnavailable:
            return False
        return True


@pytest.fixture
def pair(tmp_path: Path, rng: random.Random) -> Iterator[Pair]:
    with PostgresServer() as primary, PostgresReplica(primary) as replica, Proxy(primary.port) as proxy:
        url = f"postgresql://postgres@127.0.0.1:{proxy.port}/postgres"
        with CrashSite(tmp_path, rng, url=url, max_lost=1000) as site:
            site.ask(site.store.migrate())
            yield Pair(primary, replica, proxy, site)


def begin(pair: Pair, jobs: int) -> None:
    pair.site.enqueue("work", ({"n": n, "seconds": pair.site.rng.uniform(0, 0.05)} for n in range(jobs)))
    pair.site.workers(PROCESSES, concurrency=SLOTS)
    until(pair.site.marks, "jobs to start")


@sizes(1000, 20_000)
def test_with_a_synchronous_replica_a_fail_over_loses_nothing(pair: Pair, jobs: int) -> None:
    pair.synchronous()
    begin(pair, jobs)
    pair.fail_over()
    pair.goes_on()
    pair.site.drained(300)
    for fleet in pair.site.fleets:
        fleet.excuse("Traceback")  # of a task that was cancelled: what it was doing then
        assert fleet.stop() == 0
    pair.site.audit()


@sizes(1000, 20_000)
def test_with_an_asynchronous_replica_workers_go_on_with_what_it_had(pair: Pair, jobs: int) -> None:
    """What it had not received is lost, whoever was told of it; what it has is done."""
    begin(pair, jobs)
    pair.fail_over()
    pair.goes_on()
    pair.site.drained(300)
    for fleet in pair.site.fleets:
        fleet.excuse("Traceback")
        assert fleet.stop() == 0
    assert set(pair.site.states()) == {State.SUCCEEDED}
