"""``windlass worker --health``: what probes are told."""

import os
import signal
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.system.probing import Endpoint, probed
from tests.system.supervised import PATIENCE, Supervised, tell, wait_until
from windlass import App

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
