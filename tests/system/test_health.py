"""``windlass worker --health``: what probes are told, and what strangers can do to it."""

import http.client
import json
import os
import re
import signal
import socket
import sqlite3
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.system.supervised import PATIENCE, Supervised, tell, wait_until, worker_command
from windlass import App

ROOT = Path(__file__).parents[2]

TASKS = """\
import asyncio, time
from windlass import App

app = App("sqlite:///jobs.db", lease=1)


@app.task
async def nap(seconds: float) -> None:
    await asyncio.sleep(seconds)


@app.task
async def block(seconds: float) -> None:
    time.sleep(seconds)
"""

Answer = tuple[int, dict[str, Any]]


class Endpoint:
    """Where a supervisor answers probes."""

    def __init__(self, supervisor: Supervised) -> None:
        found = supervisor.next(r"answers http://(\S+):(\d+)/healthz and /readyz")
        self.host, self.port = found[1], int(found[2])

    def connect(self) -> socket.socket:
        line = socket.create_connection((self.host.strip("[]"), self.port), timeout=PATIENCE)
        line.settimeout(PATIENCE)
        return line

    def ask(self, path: str, method: str = "GET") -> Answer:
        """Ask as a probe does."""
        connection = http.client.HTTPConnection(self.host.strip("[]"), self.port, timeout=PATIENCE)
        try:
            connection.request(method, path)
            answer = connection.getresponse()
            assert answer.headers["Connection"] == "close"
            body = answer.read()
            return answer.status, json.loads(body) if body else {}
        finally:
            connection.close()

    def wait_for(self, path: str, status: int, reason: str = "") -> dict[str, Any]:
        """Ask until that is the answer."""
        answers: list[Answer] = []

        def answered() -> bool:
            answers.append(self.ask(path))
            return answers[-1][0] == status and any(reason in one for one in answers[-1][1]["reasons"] or [""])

        wait_until(answered, f"{path} to say {status} {reason}")
        return answers[-1][1]

    def say(self, text: bytes) -> bytes:
        """Send bytes, and hear all that comes back."""
        with self.connect() as line:
            line.sendall(text)
            heard = b""
            try:
                while block := line.recv(4096):
                    heard += block
            except ConnectionResetError:
                pass  # it had not read all that we sent
            return heard


@contextmanager
def probed(
    folder: Path, processes: int = 1, mode: str = "ready", health: str = "127.0.0.1:0", patch: str = ""
) -> Iterator[tuple[Supervised, Endpoint]]:
    """A supervisor of scripted children with an endpoint."""
    (folder / "mode").write_text(mode)
    arguments = [str(processes), "5", f"--health={health}", "tests.system.scripted_child", str(folder)]
    program = f"import sys, windlass.engine.supervisor as s\n{patch}\nsys.exit(s.main({arguments!r}))"
    with Supervised([sys.executable, "-c", program], ROOT) as supervisor:
        yield supervisor, Endpoint(supervisor)


FRESH = "ticked_at=0 answered_at=0 turned_at=0 claimed_at=0 lease=9 held=3 slots=100"


def test_all_is_well(tmp_path: Path) -> None:
    with probed(tmp_path, processes=2) as (supervisor, endpoint):
        pids = [supervisor.started(), supervisor.started()]
        for pid in pids:
            tell(tmp_path, pid, f"show {FRESH}")
        wait_until(lambda: [one["held"] for one in endpoint.ask("/readyz")[1]["processes"]] == [3, 3], "the vitals")
        ready = endpoint.wait_for("/readyz", 200)
        assert ready["ok"] is True
        assert [(one["pid"], one["state"]) for one in ready["processes"]] == [(pid, "working") for pid in pids]
        for process in ready["processes"]:
            assert (process["held"], process["slots"]) == (3, 100)
            assert all(0 <= process[age] < PATIENCE for age in ("ready", "loop_turned", "store_answered", "last_claim"))
        assert endpoint.ask("/healthz")[0] == 200


def test_not_ready_until_all_are(tmp_path: Path) -> None:
    with probed(tmp_path, processes=2, mode="silent") as (supervisor, endpoint):
        first = supervisor.started()
        status, body = endpoint.ask("/readyz")
        assert (status, body["reasons"]) == (503, ["0 of 2 worker processes are ready"])
        assert [(one["pid"], one["state"]) for one in body["processes"]] == [(first, "starting")]
        assert endpoint.ask("/healthz")[0] == 200, "one that starts is not dead"
        tell(tmp_path, first, f"show {FRESH}")
        tell(tmp_path, first, "say R")
        second = supervisor.started()
        assert endpoint.ask("/readyz")[1]["reasons"] == ["1 of 2 worker processes are ready"]
        tell(tmp_path, second, f"show {FRESH}")
        tell(tmp_path, second, "say R")
        endpoint.wait_for("/readyz", 200)
        tell(tmp_path, second, "exit 1")
        supervisor.next("died")
        assert endpoint.ask("/readyz")[1]["reasons"] == ["1 of 2 worker processes are ready"]


@pytest.mark.parametrize(
    ("shown", "path", "reason"),
    [
        ("ticked_at=31 answered_at=0 turned_at=0", "/healthz", "its event loop has stood still for 31 s"),
        ("ticked_at=11 answered_at=0 turned_at=0", "/readyz", "its event loop has stood still for 11 s"),
        ("ticked_at=0 answered_at=11 turned_at=0", "/readyz", "the store has not answered for 11 s"),
        ("ticked_at=0 answered_at=0 turned_at=11", "/readyz", "it has not looked for jobs for 11 s"),
        ("ticked_at=0 answered_at=0 turned_at=0 stopping=1", "/readyz", "it is stopping"),
    ],
)
def test_the_reason_is_said_in_words(tmp_path: Path, shown: str, path: str, reason: str) -> None:
    with probed(tmp_path) as (supervisor, endpoint):
        first = supervisor.started()
        tell(tmp_path, first, f"show {FRESH}")
        endpoint.wait_for("/readyz", 200)
        tell(tmp_path, first, f"show {shown}")
        body = endpoint.wait_for(path, 503)
        assert body["ok"] is False
        assert body["reasons"] == [f"worker {first}: {reason}"]
        if path == "/readyz":
            assert endpoint.ask("/healthz")[0] == 200


def test_the_lease_is_the_least_that_a_silent_store_is_waited_for(tmp_path: Path) -> None:
    """A worker that holds all it can hears of the store with each renewal only."""
    with probed(tmp_path) as (supervisor, endpoint):
        first = supervisor.started()
        tell(tmp_path, first, "show ticked_at=0 answered_at=15 turned_at=15 claimed_at=100 lease=30")
        wait_until(lambda: (endpoint.ask("/readyz")[1]["processes"][0]["last_claim"] or 0) > 99, "the vitals")
        assert endpoint.ask("/readyz")[0] == 200


def test_not_ready_while_stopping_but_alive(tmp_path: Path) -> None:
    with probed(tmp_path) as (supervisor, endpoint):
        first = supervisor.started()
        tell(tmp_path, first, "deaf")
        tell(tmp_path, first, "show ticked_at=100 answered_at=100 turned_at=100")
        supervisor.signal(signal.SIGTERM)
        supervisor.next("stopping, with")
        assert endpoint.ask("/readyz")[1]["reasons"] == ["the workers are stopping"]
        assert endpoint.ask("/healthz")[0] == 200
        tell(tmp_path, first, "exit 0")
        assert supervisor.ended() == 0


def test_one_that_runs_suspects_does_not_count_and_is_shown(tmp_path: Path) -> None:
    with probed(tmp_path) as (supervisor, endpoint):
        first = supervisor.started()
        tell(tmp_path, first, f"show {FRESH}")
        tell(tmp_path, first, "say S")
        alone = int(supervisor.next(r"worker (\d+) started, for suspects alone")[1])
        tell(tmp_path, alone, "show ticked_at=100")
        wait_until(lambda: len(endpoint.ask("/readyz")[1]["processes"]) == 2, "the one for suspects")
        wait_until(lambda: endpoint.ask("/readyz")[1]["processes"][1]["state"] == "suspects", "it to be ready")
        wait_until(lambda: endpoint.ask("/readyz")[1]["processes"][1]["loop_turned"] is not None, "its vitals")
        assert endpoint.ask("/readyz")[0] == endpoint.ask("/healthz")[0] == 200


def test_one_that_drains_does_not_count_and_is_shown(tmp_path: Path) -> None:
    with probed(tmp_path) as (supervisor, endpoint):
        first = supervisor.started()
        tell(tmp_path, first, "deaf")
        tell(tmp_path, first, "show ticked_at=100")
        tell(tmp_path, first, "say W")
        second = supervisor.started()
        supervisor.next("takes the place")
        tell(tmp_path, second, f"show {FRESH}")
        body = endpoint.wait_for("/readyz", 200)
        assert [(one["pid"], one["state"]) for one in body["processes"]] == [(second, "working"), (first, "leaving")]


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


# --------------------------------------------------------------------------------------------- real workers


@pytest.fixture
def app(tmp_path: Path) -> Iterator[App]:
    (tmp_path / "tasks.py").write_text(TASKS)
    made = App(f"sqlite:///{tmp_path}/jobs.db", lease=1)

    async def nap(seconds: float) -> None:
        raise NotImplementedError

    made.task(name="tasks.nap")(nap)
    made.task(name="tasks.block")(nap)
    yield made
    made.close_sync()


@contextmanager
def impatient(
    folder: Path, *options: str, stalled: float = 1.0, late: float = 1.0
) -> Iterator[tuple[Supervised, Endpoint]]:
    """A real worker, whose supervisor waits for one second where it would wait for many."""
    program = (
        f"import sys, windlass.engine.health as h, windlass.cli.worker as w, windlass.engine.supervisor as s\n"
        f"h.STALLED_AFTER, h.LATE_AFTER = {stalled}, {late}\n"
        f"w._become = lambda arguments: sys.exit(s.main(arguments[1:]))\n"
        f"from windlass.cli.main import run\n"
        f"run(['worker', '--app', 'tasks:app', '--health', '0', *{options!r}])"
    )
    with Supervised([sys.executable, "-c", program], folder) as worker:
        yield worker, Endpoint(worker)


def test_a_worker_that_is_idle_or_full_is_ready(app: App, tmp_path: Path) -> None:
    with impatient(tmp_path, "--concurrency", "1", "--processes", "2", late=3.0) as (worker, endpoint):
        worker.ready(2)
        body = endpoint.wait_for("/readyz", 200)
        assert [one["slots"] for one in body["processes"]] == [1, 1]
        for _ in range(2):
            app.find_task("tasks.nap").enqueue_sync(6.0)
        wait_until(lambda: sum(one["held"] for one in endpoint.ask("/readyz")[1]["processes"]) == 2, "full workers")
        deadline = time.monotonic() + 4
        while time.monotonic() < deadline:
            status, body = endpoint.ask("/readyz")
            assert status == 200, body
            time.sleep(0.1)
        assert all(one["last_claim"] > 3 for one in body["processes"]), "they were full for longer than that"
        worker.signal(signal.SIGTERM)
        assert worker.ended() == 0


def test_a_loop_that_is_blocked_is_neither_ready_nor_alive_until_it_goes_on(app: App, tmp_path: Path) -> None:
    with impatient(tmp_path) as (worker, endpoint):
        endpoint.wait_for("/readyz", 200)
        app.find_task("tasks.block").enqueue_sync(3.0)
        endpoint.wait_for("/readyz", 503, "its event loop has stood still for")
        endpoint.wait_for("/healthz", 503, "its event loop has stood still for")
        endpoint.wait_for("/healthz", 200)
        endpoint.wait_for("/readyz", 200)
        worker.signal(signal.SIGTERM)
        assert worker.ended() == 0


def test_a_process_that_is_stopped_is_noticed(app: App, tmp_path: Path) -> None:
    """It cannot say so itself."""
    with impatient(tmp_path) as (worker, endpoint):
        child = worker.started()
        endpoint.wait_for("/readyz", 200)
        os.kill(child, signal.SIGSTOP)
        endpoint.wait_for("/healthz", 503, f"worker {child}: its event loop has stood still for")
        os.kill(child, signal.SIGCONT)
        endpoint.wait_for("/healthz", 200)
        worker.signal(signal.SIGTERM)
        assert worker.ended() == 0


def test_a_store_that_does_not_answer_is_a_reason_not_to_be_ready(app: App, tmp_path: Path) -> None:
    with impatient(tmp_path) as (worker, endpoint):
        endpoint.wait_for("/readyz", 200)
        with hold_the_lock(tmp_path / "jobs.db"):
            endpoint.wait_for("/readyz", 503, "the store has not answered for")
            assert endpoint.ask("/healthz")[0] == 200, "to start it anew would not help"
        endpoint.wait_for("/readyz", 200)
        worker.signal(signal.SIGTERM)
        assert worker.ended() == 0


@contextmanager
def hold_the_lock(path: Path) -> Iterator[None]:
    """Keep everybody from writing, as a stranger with the sqlite3 shell does."""
    stranger = sqlite3.connect(path, isolation_level=None, timeout=20)
    try:
        stranger.execute("BEGIN IMMEDIATE")
        yield
        stranger.execute("ROLLBACK")
    finally:
        stranger.close()
