"""Workers on Redis while a replica takes the place of their server, at the same address."""

import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.servers.proxy import Proxy
from tests.servers.redis import RedisReplica, RedisServer
from tests.system.crash_site import CrashSite, sizes, until
from windlass.core.errors import StoreError
from windlass.core.lifecycle import State

PROCESSES, SLOTS = 2, 20


@dataclass
class Pair:
    """A server and its replica, the address that leads to one of them, and the site of the crash."""

    primary: RedisServer
    replica: RedisReplica
    proxy: Proxy
    site: CrashSite

    def begin(self, jobs: int) -> None:
        """Have workers at jobs that the replica has received."""
        self.site.enqueue("work", ({"n": n, "seconds": self.site.rng.uniform(0, 0.05)} for n in range(jobs)))
        self.replica.catch_up()
        self.site.workers(PROCESSES, concurrency=SLOTS)
        until(self.site.marks, "jobs to start")
        self.site.books.interrupted += PROCESSES * SLOTS

    def end(self) -> None:
        """See a job done that nobody had before, and then all of them."""
        until(self._answers, "the new server to answer")
        (job_id,) = self.site.enqueue("work", [{"n": 0}], priority=9)
        until(lambda: self.site.record(job_id).state is State.SUCCEEDED, "workers to go on", 15)
        self.site.drained(300)
        for fleet in self.site.fleets:
            fleet.excuse("Traceback")  # of a task that was cancelled: what it was doing then
            assert fleet.stop() == 0
        assert b"role:master" in self.replica.ask(b"INFO replication\r\n")

    def _answers(self) -> bool:
        try:
            self.site.states()
        except StoreError:
            return False
        return True


@pytest.fixture
def pair(tmp_path: Path, rng: random.Random) -> Iterator[Pair]:
    with (
        RedisServer() as primary,
        RedisReplica(primary) as replica,
        Proxy(primary.port) as proxy,
        CrashSite(tmp_path, rng, url=f"redis://127.0.0.1:{proxy.port}/0?timeout=5", max_lost=1000) as site,
    ):
        yield Pair(primary, replica, proxy, site)


@sizes(1000, 20_000)
def test_when_the_server_dies_workers_go_on_with_what_its_replica_had(pair: Pair, jobs: int) -> None:
    """All of these jobs had been received. The end of one may not have been: such a job is done again."""
    pair.begin(jobs)
    pair.primary.kill()
    time.sleep(pair.site.rng.uniform(0, 3))
    pair.replica.promote()
    pair.proxy.lead_to(pair.replica.port)
    pair.proxy.cut()
    pair.end()
    assert pair.site.states() == {State.SUCCEEDED: jobs + 1}


@sizes(1000, 20_000)
def test_when_the_two_change_places_nothing_is_lost_and_nobody_stays_behind(pair: Pair, jobs: int) -> None:
    """`FAILOVER` waits for the replica. Nobody cuts the connections to the old server, which refuses to write."""
    pair.begin(jobs)
    pair.replica.swap()
    time.sleep(pair.site.rng.uniform(0, 3))
    pair.proxy.lead_to(pair.replica.port)
    pair.end()
    pair.site.audit()
