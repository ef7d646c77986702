"""``windlass worker --health``: what strangers can do to it, and from where."""

import http.client
import re
import signal
import socket
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from tests.system.probing import Endpoint, probed
from tests.system.supervised import Supervised, tell, wait_until, worker_command

TASKS = """\
from windlass import App

app = App("sqlite:///jobs.db")
"""

# ------------------------------------------------------------------------------------------------ strangers


def test_it_speaks_http(tmp_path: Path) -> None:
    with probed(tmp_path, mode="silent") as (_, endpoint):
        assert endpoint.ask("/healthz?verbose=1")[0] == 200
        assert endpoint.ask("/healthz", "HEAD") == (200, {})
        assert endpoint.ask("/healthz", "POST")[0] == 405
        assert endpoint.ask("/")[0] == 404
        assert endpoint.ask("/healthz/../etc/passwd")[0] == 404
        assert endpoint.say(b"GET /healthz HTTP/1.0\n\n").startswith(b"HTTP/1.1 200 OK\r\n")
        head, _, body = endpoint.say(b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n").partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
        assert f"Content-Length: {len(body)}".encode() in head
        assert endpoint.say(b"\r\nGET http://x/healthz HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize(
    "garbage",
    [
        b"\r\n\r\n",
        b"GET\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\n\n",  # TLS
        b"GET /healthz HTTP/2.0\r\n\r\n",
        b"\x00" * 500 + b"\n\n",
        "GET /héalthz HTTP/1.1\r\n\r\n".encode(),
        b"GET /" + b"a" * 20_000,
    ],
)
def test_garbage_is_refused(tmp_path: Path, garbage: bytes) -> None:
    with probed(tmp_path, mode="silent") as (_, endpoint):
        answer = endpoint.say(garbage)
        assert not answer or re.match(rb"HTTP/1\.1 4\d\d ", answer), answer
        assert endpoint.ask("/healthz")[0] == 200


def test_slow_and_silent_visitors_are_sent_away(tmp_path: Path) -> None:
    patch = "import windlass.engine.health_server as h; h.PATIENCE = 0.5"
    with probed(tmp_path, mode="silent", patch=patch) as (_, at), at.connect() as silent, at.connect() as slow:
        slow.sendall(b"GET /heal")
        began = time.monotonic()
        assert silent.recv(10) == b""
        assert slow.recv(10) == b""
        assert time.monotonic() - began < 5
        assert at.ask("/healthz")[0] == 200


def test_a_probe_gets_in_among_hundreds_of_others(tmp_path: Path) -> None:
    with probed(tmp_path, mode="silent") as (supervisor, endpoint), ExitStack() as others:
        for _ in range(300):
            others.enter_context(endpoint.connect())
        began = time.monotonic()
        assert endpoint.ask("/healthz")[0] == 200
        assert time.monotonic() - began < 2
        assert psutil.Process(supervisor.process.pid).num_fds() < 50
        supervisor.signal(signal.SIGTERM)
        assert supervisor.ended() == 0


def test_visitors_do_not_keep_it_from_its_work(tmp_path: Path) -> None:
    """Several clients ask as fast as they can while children die."""
    with probed(tmp_path) as (supervisor, endpoint):
        asked, over = [0], threading.Event()

        def pester() -> None:
            while not over.is_set():
                try:
                    endpoint.ask("/readyz")
                except (OSError, http.client.HTTPException):
                    continue  # sent away, with so many at once
                asked[0] += 1

        crowd = [threading.Thread(target=pester) for _ in range(30)]
        for one in crowd:
            one.start()
        try:
            for _ in range(4):
                tell(tmp_path, supervisor.started(), "exit 1")
            supervisor.started()
            supervisor.signal(signal.SIGTERM)
            assert supervisor.ended() == 0
        finally:
            over.set()
            for one in crowd:
                one.join()
        assert asked[0] > 30


def test_without_room_for_another_visitor_it_waits_rather_than_spins(tmp_path: Path) -> None:
    patch = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (20, 20))"
    with probed(tmp_path, mode="silent", patch=patch) as (supervisor, endpoint), ExitStack() as others:
        supervisor.started()
        for _ in range(14):
            others.enter_context(endpoint.connect())
        us = psutil.Process(supervisor.process.pid)
        wait_until(lambda: us.num_fds() >= 19, "descriptors to run out")
        before = us.cpu_times()
        time.sleep(2)
        after = us.cpu_times()
        assert after.user + after.system - before.user - before.system < 0.5
        others.close()
        wait_until(lambda: answered(endpoint), "it to answer again")


def answered(endpoint: Endpoint) -> bool:
    try:
        return endpoint.ask("/healthz")[0] == 200
    except (OSError, http.client.HTTPException):
        return False


# ---------------------------------------------------------------------------------------------------- where


def listeners(pid: int) -> set[str]:
    return {one.laddr.ip for one in psutil.Process(pid).net_connections() if one.status == psutil.CONN_LISTEN}


def test_it_listens_to_this_machine_only_unless_told_and_nowhere_unless_asked(tmp_path: Path) -> None:
    (tmp_path / "tasks.py").write_text(TASKS)
    for options, expected in (
        ((), set()),
        (("--health", "0"), {"127.0.0.1"}),
        (("--health", "localhost:0"), {"127.0.0.1"}),
        (("--health", "0.0.0.0:0"), {"0.0.0.0"}),
        (("--health", "[::1]:0"), {"::1"}),
    ):
        if "[::1]:0" in options and not _has_ipv6():
            continue
        with Supervised(worker_command("--app", "tasks:app", *options), tmp_path) as worker:
            pid = worker.started()
            worker.ready()
            assert listeners(worker.process.pid) == expected
            assert listeners(pid) == set(), "the endpoint is the supervisor's"
            worker.signal(signal.SIGTERM)
            assert worker.ended() == 0


def _has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


def test_an_address_that_is_taken_is_a_mistake_in_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "tasks.py").write_text(TASKS)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        for given, why in ((where, "Address already in use"), ("no.such.host.invalid:80", "")):
            with Supervised(worker_command("--app", "tasks:app", "--health", given), tmp_path) as worker:
                worker.next(f"--health {given}: cannot listen there: .*{why}")
                assert worker.ended() == 2
                assert not any("started" in line for line in worker.lines)


def test_what_cannot_be_answered_ends_nobody(tmp_path: Path) -> None:
    patch = "import windlass.engine.report as r; r.Report._answer = lambda *_: 1 / 0"
    with probed(tmp_path, patch=patch) as (supervisor, endpoint):
        supervisor.started()
        for _ in range(2):
            status, said = endpoint.ask("/healthz")
            assert (status, said) == (500, {"error": "this could not be answered; the log says why"})
            supervisor.next("could not answer: ZeroDivisionError")
