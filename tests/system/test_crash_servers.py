"""Stores on servers, while workers, the server and the network between them fail at random moments.

In `make soak` each scenario runs with 20,000 jobs and more, and all of them mixed for as long as it is told to.
"""

import random
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.servers.postgres import PostgresServer
from tests.servers.proxy import Proxy, Weather
from tests.servers.redis import RedisServer
from tests.servers.server import Server
from tests.system.crash_site import PATIENCE, SCALE, CrashSite, Fleet, sizes, until
from windlass.core.errors import StoreUnavailable
from windlass.core.lifecycle import State

PROCESSES = 2
SLOTS = 20
"""Of each process."""
LEASE = 1.0
HALF_A_MINUTE = 30.0
LINE = 37
"""Bytes for each acknowledgement: an id and a line feed."""
BACK_WITHIN = 15.0
"""Seconds within which workers have to go on after the end of an outage, on a busy machine."""


@dataclass
class Network:
    """A server, its clients on the other side of a proxy, and the site of the crash."""

    server: Server
    proxy: Proxy
    site: CrashSite
    far_url: str
    """The store for who goes through the proxy."""

    def workers(self) -> Fleet:
        """Start worker processes on the far side."""
        fleet = self.site.start(PROCESSES, concurrency=SLOTS, url=self.far_url)
        until(lambda: len(self.site.sessions_of(fleet)) >= PROCESSES, "workers to open their sessions")
        return fleet

    def interrupted(self) -> None:
        """Enter in the books that all that runs may run again."""
        self.site.books.interrupted += PROCESSES * SLOTS

    def answers_again(self) -> None:
        """Wait until the server can be asked again."""
        until(self._answers, "the server to answer")

    def _answers(self) -> bool:
        try:
            self.site.states()
        except StoreUnavailable:
            return False
        return True

    def drained(self, timeout: float = PATIENCE) -> None:
        """Wait until every job is finished."""
        until(lambda: self.site.unfinished() == 0, "every job to finish", timeout)


def _redis(port: int) -> str:
    return f"redis://127.0.0.1:{port}/0?namespace=crash"


def _postgres(port: int) -> str:
    return f"postgresql://postgres@127.0.0.1:{port}/postgres?schema=crash"


STORES: dict[str, tuple[Callable[[], Server], Callable[[int], str]]] = {
    "redis": (RedisServer, _redis),
    "postgres": (PostgresServer, _postgres),
}


@pytest.fixture(params=STORES)
def network(request: pytest.FixtureRequest, tmp_path: Path, rng: random.Random) -> Iterator[Network]:
    make_server, url_at = STORES[request.param]
    with (
        make_server() as server,
        Proxy(server.port) as proxy,
        CrashSite(tmp_path, rng, url=url_at(server.port), max_lost=1000) as site,
    ):
        site.ask(site.store.migrate())
        yield Network(server, proxy, site, url_at(proxy.port))


# ------------------------------------------------------------------------------------------------- what goes wrong


def worker_killed(network: Network, fleet: Fleet) -> None:
    """SIGKILL for one of the workers."""
    network.interrupted()
    network.site.kill(network.site.rng.choice(until(fleet.pids, "a worker process")))


def server_killed(network: Network, fleet: Fleet) -> None:
    """SIGKILL for the server, which comes back after a while that may be longer than a lease."""
    network.interrupted()
    network.server.kill()
    time.sleep(network.site.rng.uniform(0, 2 * LEASE))
    network.server.start()


def server_restarted(network: Network, fleet: Fleet) -> None:
    """The server is stopped and started as an administrator would."""
    network.interrupted()
    network.server.stop()
    network.server.start()


def server_paused(network: Network, fleet: Fleet) -> None:
    """Nobody answers for a while, and then everything comes at once."""
    network.interrupted()
    network.server.pause()
    time.sleep(network.site.rng.uniform(0, 2 * LEASE))
    network.server.resume()


def connections_cut(network: Network, fleet: Fleet) -> None:
    """All connections are reset, several times."""
    network.interrupted()
    for _ in range(5):
        network.proxy.cut()
        time.sleep(network.site.rng.uniform(0, 0.1))


def answers_truncated(network: Network, fleet: Fleet) -> None:
    """Connections are cut in the middle of an answer."""
    network.interrupted()
    for _ in range(5):
        network.proxy.truncate(network.site.rng.randrange(1, 2000))
        time.sleep(network.site.rng.uniform(0, 0.1))


def network_refused(network: Network, fleet: Fleet) -> None:
    """Nobody can connect for a while."""
    network.interrupted()
    network.proxy.turn(Weather.REFUSED)
    network.proxy.cut()
    time.sleep(network.site.rng.uniform(0, 2 * LEASE))
    network.proxy.turn(Weather.FAIR)


def network_silent(network: Network, fleet: Fleet) -> None:
    """Connections are half-open for a while."""
    network.interrupted()
    network.proxy.turn(Weather.SILENT)
    time.sleep(network.site.rng.uniform(0, 2 * LEASE))
    network.proxy.turn(Weather.FAIR)


def network_deaf(network: Network, fleet: Fleet) -> None:
    """What workers say arrives, and they hear nothing of it."""
    network.interrupted()
    network.proxy.turn(Weather.DEAF)
    time.sleep(network.site.rng.uniform(0, 2 * LEASE))
    network.proxy.turn(Weather.FAIR)


def network_slow(network: Network, fleet: Fleet) -> None:
    """Everything takes its time, within the lease."""
    network.interrupted()
    network.proxy.delay(0.05)
    time.sleep(network.site.rng.uniform(0, LEASE))
    network.proxy.delay(0)


Fault = Callable[[Network, Fleet], None]
FAULTS: list[Fault] = [
    worker_killed,
    server_killed,
    server_restarted,
    server_paused,
    connections_cut,
    answers_truncated,
    network_refused,
    network_silent,
    network_deaf,
    network_slow,
]
BATCH = 2000


def carry_out(network: Network, jobs: int, faults: list[Fault]) -> None:
    """Run so many jobs while ``faults`` happen, one after the other, and hold the books against what is left."""
    rng, site = network.site.rng, network.site
    fleet = network.workers()
    fleet.excuse("Traceback")  # of a task that was cancelled: what it was doing then
    for number, fault in enumerate(faults):
        site.enqueue("work", ({"n": n, "seconds": rng.uniform(0, 0.02)} for n in range(jobs // len(faults))))
        until(lambda: site.states()[State.RUNNING] > 0, f"jobs to run before fault {number}")
        time.sleep(rng.uniform(0, 0.2))
        fault(network, fleet)
        network.answers_again()
    network.drained(60)
    fleet.signal(signal.SIGTERM)
    assert fleet.ended() == 0
    site.audit()


@pytest.mark.timeout(180)
def test_nothing_is_lost_and_nothing_ends_twice(network: Network) -> None:
    carry_out(network, 6000, network.site.rng.sample(FAULTS, len(FAULTS)))


@sizes(8000, 100_000)
def test_producers_store_each_job_once(network: Network, jobs: int) -> None:
    """They are on the far side too: whatever is not answered is sent again, and nobody hears of it."""
    site = network.site
    fleet = network.workers()
    fleet.excuse("Traceback")
    files = [site.folder / f"acknowledged-{n}" for n in range(2)]
    for file in files:
        file.touch()
    producers = [site.producer(jobs // 2, file, network.far_url) for file in files]
    happened = 0
    step = jobs // 20 * LINE
    # Not before they have begun: who cannot connect at first is told so.
    for size in range(step, jobs // 2 * LINE, step):
        until(lambda least=size: all(file.stat().st_size >= least for file in files), "acknowledgements")
        if any(producer.poll() is None for producer in producers):
            site.rng.choice(FAULTS)(network, fleet)
            network.answers_again()
            happened += 1
    for producer, file in zip(producers, files, strict=True):
        printed, _ = producer.communicate(timeout=300)
        assert producer.returncode == 0, printed
        assert len(site.enter(file)) == jobs // 2
    assert happened, "the producers were gone before anything happened"
    network.drained(300)
    fleet.signal(signal.SIGTERM)
    assert fleet.ended() == 0
    site.audit()


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("fault", FAULTS)
def test_soak_of_one_fault(network: Network, fault: Fault) -> None:
    carry_out(network, round(20_000 * SCALE), [fault] * 10)


@pytest.mark.soak
@pytest.mark.timeout(900)
@pytest.mark.parametrize("what", ["server", "network"])
def test_soak_of_half_a_minute_in_which_connections_are_refused(network: Network, what: str) -> None:
    """Longer than every deadline, and than any patience of a driver's."""
    site = network.site
    site.enqueue("work", ({"n": n, "seconds": site.rng.uniform(0, 0.02)} for n in range(round(20_000 * SCALE))))
    fleet = network.workers()
    fleet.excuse("Traceback")
    until(lambda: site.states()[State.RUNNING] > 0, "jobs to run")
    network.interrupted()
    if what == "server":
        network.server.stop()
        time.sleep(HALF_A_MINUTE)
        network.server.start()
    else:
        network.proxy.turn(Weather.REFUSED)
        network.proxy.cut()
        time.sleep(HALF_A_MINUTE)
        network.proxy.turn(Weather.FAIR)
    network.answers_again()
    (job_id,) = site.enqueue("work", [{"n": 0}], priority=9)
    until(lambda: site.record(job_id).state is State.SUCCEEDED, "workers to go on", BACK_WITHIN)
    network.drained(300)
    fleet.signal(signal.SIGTERM)
    assert fleet.ended() == 0
    site.audit()


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_soak_of_all_faults(network: Network, pytestconfig: pytest.Config) -> None:
    end = time.monotonic() + 60 * pytestconfig.option.minutes
    while time.monotonic() < end:
        carry_out(network, 5000, network.site.rng.choices(FAULTS, k=5))
