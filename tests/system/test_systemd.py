"""What systemd is told, with a socket as systemd's; and the unit file of the documentation."""

import random
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.system.supervised import Supervised, supervise_script, tell, wait_until, worker_command
from windlass import App

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "run-workers-under-systemd.md"

TASKS = """\
import time
from windlass import App

app = App("sqlite:///jobs.db")


@app.task
async def block(seconds: float) -> None:
    time.sleep(seconds)
"""


class Systemd:
    """The manager's end of the line."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._line = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._line.bind(address.replace("@", "\0", 1) if address.startswith("@") else address)
        self._line.settimeout(20)

    def hear(self) -> str:
        """Wait for the next datagram."""
        return self._line.recv(1000).decode()

    def hear_all(self) -> list[str]:
        """What has come by now, without waiting."""
        found = []
        self._line.setblocking(False)
        try:
            while True:
                found.append(self._line.recv(1000).decode())
        except BlockingIOError:
            self._line.settimeout(20)
            return found

    def wait_for(self, what: str) -> None:
        while what not in self.hear().splitlines():
            pass

    def hears_nothing_for(self, seconds: float) -> bool:
        self._line.settimeout(seconds)
        try:
            self._line.recv(1000)
        except TimeoutError:
            return True
        else:
            return False
        finally:
            self._line.settimeout(20)

    def close(self) -> None:
        self._line.close()


@pytest.fixture
def systemd(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Systemd]:
    abstract = getattr(request, "param", "path") == "abstract"
    made = Systemd(f"@windlass-test-{random.getrandbits(64):x}" if abstract else str(tmp_path / "notify"))
    yield made
    made.close()


@pytest.mark.parametrize("systemd", ["path", "abstract"], indirect=True)
def test_ready_when_all_are_ready_and_stopping_at_once(systemd: Systemd, tmp_path: Path) -> None:
    environment = {"NOTIFY_SOCKET": systemd.address, "WATCHDOG_USEC": "60000000"}
    with supervise_script(tmp_path, processes=2, mode="silent", **environment) as supervisor:
        first = supervisor.started()
        assert not {*environment, "WATCHDOG_PID"} & psutil.Process(first).environ().keys()
        assert systemd.hear() == "STATUS=0 of 2 worker processes are ready"
        assert systemd.hear() == "WATCHDOG=1"
        tell(tmp_path, first, "say R")
        assert systemd.hear() == "STATUS=1 of 2 worker processes are ready"
        second = supervisor.started()
        tell(tmp_path, second, "say R")
        assert systemd.hear() == "READY=1"
        assert systemd.hear() == "STATUS=2 of 2 worker processes are ready"
        tell(tmp_path, second, "exit 1")
        assert systemd.hear() == "STATUS=1 of 2 worker processes are ready"
        tell(tmp_path, supervisor.started(), "say R")
        assert systemd.hear() == "STATUS=2 of 2 worker processes are ready"
        supervisor.signal(signal.SIGTERM)
        assert systemd.hear() == "STOPPING=1\nSTATUS=stopping"
        assert supervisor.ended() == 0
    assert systemd.hear_all() == []


def test_a_loop_that_stands_still_stops_the_watchdog(systemd: Systemd, tmp_path: Path) -> None:
    with supervise_script(tmp_path, NOTIFY_SOCKET=systemd.address, WATCHDOG_USEC="1000000") as supervisor:
        first = supervisor.started()
        systemd.wait_for("READY=1")
        supervisor.next(f"systemd's watchdog is not fed: worker {first}: its event loop has stood still")
        systemd.hear_all()
        assert systemd.hears_nothing_for(1)
        tell(tmp_path, first, "show ticked_at=0")
        assert systemd.hear() == "WATCHDOG=1"


def test_nobody_waits_for_those_that_start_or_leave(systemd: Systemd, tmp_path: Path) -> None:
    environment = {"NOTIFY_SOCKET": systemd.address, "WATCHDOG_USEC": "400000"}
    with supervise_script(tmp_path, mode="silent", grace=100, **environment) as supervisor:
        first = supervisor.started()
        for _ in range(8):
            systemd.wait_for("WATCHDOG=1")
        tell(tmp_path, first, "deaf")
        supervisor.signal(signal.SIGTERM)
        for _ in range(8):
            systemd.wait_for("WATCHDOG=1")
        tell(tmp_path, first, "exit 0")
        assert supervisor.ended() == 0


def test_a_watchdog_that_is_meant_for_somebody_else_is_left_alone(systemd: Systemd, tmp_path: Path) -> None:
    environment = {"NOTIFY_SOCKET": systemd.address, "WATCHDOG_USEC": "400000", "WATCHDOG_PID": "1"}
    with supervise_script(tmp_path, **environment):
        systemd.wait_for("STATUS=1 of 1 worker processes are ready")
        assert systemd.hears_nothing_for(0.5)


def test_a_manager_that_does_not_listen_holds_up_nobody(tmp_path: Path) -> None:
    """Its queue is full, or it is gone."""
    address = str(tmp_path / "notify")
    full = Systemd(address)
    environment = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "100000"}
    with supervise_script(tmp_path, **environment) as supervisor:
        first = supervisor.started()
        wait_until((tmp_path / str(first)).exists, "the child")
        supervisor.next("watchdog is not fed")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
            line.setblocking(False)
            line.connect(address)
            with suppress(BlockingIOError):
                while True:
                    line.send(b"x")
        tell(tmp_path, first, "exit 1")
        tell(tmp_path, supervisor.started(), "exit 1")
        full.close()
        tell(tmp_path, supervisor.started(), "exit 1")
        supervisor.started()
        supervisor.signal(signal.SIGTERM)
        assert supervisor.ended() == 0


def test_a_real_worker_that_hangs_is_not_alive_for_systemd(systemd: Systemd, tmp_path: Path) -> None:
    (tmp_path / "tasks.py").write_text(TASKS)
    app = App(f"sqlite:///{tmp_path}/jobs.db")

    @app.task(name="tasks.block")
    async def block(seconds: float) -> None:
        raise NotImplementedError

    environment = {"NOTIFY_SOCKET": systemd.address, "WATCHDOG_USEC": "1000000"}
    with Supervised(worker_command("--app", "tasks:app", "--grace", "1"), tmp_path, environment) as worker:
        systemd.wait_for("READY=1")
        for _ in range(8):
            assert systemd.hear() in ("WATCHDOG=1", "STATUS=1 of 1 worker processes are ready")
        block.enqueue_sync(3.0)
        worker.next("systemd's watchdog is not fed: .* its event loop has stood still")
        systemd.hear_all()
        assert systemd.hears_nothing_for(1)
        systemd.wait_for("WATCHDOG=1")  # it goes on
        worker.signal(signal.SIGTERM)
        assert worker.ended() == 0
    app.close_sync()


# ------------------------------------------------------------------------------------------ the documentation


def units() -> dict[str, str]:
    """What the page shows, by file name: first the workers'."""
    found = [text.split("```")[0] for text in PAGE.read_text().split("```ini\n")[1:]]
    return {text.splitlines()[0].rpartition("/")[2]: text for text in found}


def unit() -> str:
    return units()["shop-worker.service"]


def test_the_unit_leaves_time_to_stop() -> None:
    from windlass.engine.config import DEFAULT_GRACE
    from windlass.engine.supervisor import MARGIN

    (timeout,) = [line for line in unit().splitlines() if line.startswith("TimeoutStopSec=")]
    assert int(timeout.partition("=")[2]) > DEFAULT_GRACE + MARGIN


@pytest.mark.parametrize("name", ["shop-worker.service", "shop-ui.service", "shop-metrics.service"])
def test_systemd_finds_nothing_wrong_with_the_units(tmp_path: Path, name: str) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    windlass = Path(sys.executable).with_name("windlass")
    path = tmp_path / name
    assert set(units()) == {"shop-worker.service", "shop-ui.service", "shop-metrics.service"}
    assert "/srv/shop/.venv/bin/windlass" in units()[name]
    path.write_text(units()[name].replace("/srv/shop/.venv/bin/windlass", str(windlass)))
    done = subprocess.run(
        ["systemd-analyze", "verify", str(path)], capture_output=True, text=True, timeout=30, check=False
    )
    if "Failed to" in done.stderr and "manager" in done.stderr:
        pytest.skip(f"systemd-analyze cannot work here: {done.stderr.strip()}")
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
