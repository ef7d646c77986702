"""The supervisor, with children that do what a test tells them."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.system.supervised import Supervised, heard, supervise_script, tell, wait_until
from windlass.engine.processes import MISCONFIGURED


def standard_descriptors(pid: int) -> set[Path]:
    return {Path(f"/proc/{pid}/fd/{number}").readlink() for number in (0, 1, 2)}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_all_children_once(tmp_path: Path, number: signal.Signals) -> None:
    with supervise_script(tmp_path, processes=2) as supervisor:
        pids = [supervisor.started(), supervisor.started()]
        for pid in pids:
            wait_until((tmp_path / str(pid)).exists, "children")
        supervisor.signal(number)
        assert supervisor.ended() == 0
        assert [heard(tmp_path, pid) for pid in pids] == ["stop", "stop"]


def test_the_second_signal_gives_back_now_and_the_third_kills(tmp_path: Path) -> None:
    with supervise_script(tmp_path, processes=1, grace=100) as supervisor:
        tell(tmp_path, supervisor.started(), "deaf")
        supervisor.signal(signal.SIGTERM)
        supervisor.next("stopping, with 100 s of grace")
        supervisor.signal(signal.SIGTERM)
        supervisor.next("stopping now")
        supervisor.signal(signal.SIGTERM)
        supervisor.next("killed by SIGKILL")
        assert supervisor.ended() == 1


def test_the_others_start_when_the_first_is_ready(tmp_path: Path) -> None:
    with supervise_script(tmp_path, processes=3, mode="silent") as supervisor:
        first = supervisor.started()
        wait_until((tmp_path / str(first)).exists, "the first")
        assert len(psutil.Process(supervisor.process.pid).children()) == 1
        tell(tmp_path, first, "say R")
        assert len({first, supervisor.started(), supervisor.started()}) == 3


def test_a_stop_while_the_first_is_not_ready_starts_no_others(tmp_path: Path) -> None:
    with supervise_script(tmp_path, processes=3, mode="silent") as supervisor:
        first = supervisor.started()
        tell(tmp_path, first, "deaf")
        supervisor.signal(signal.SIGTERM)
        supervisor.next("stopping, with")
        tell(tmp_path, first, "say R")
        tell(tmp_path, first, "exit 0")
        assert supervisor.ended() == 0
        assert sum("started" in line for line in supervisor.lines) == 1


@pytest.mark.parametrize(
    ("order", "words"),
    [
        ("exit 0", "died: exit code 0; a new one"),
        ("exit 3", "died: exit code 3; a new one"),
        (f"exit {MISCONFIGURED}", f"died: exit code {MISCONFIGURED}; a new one"),
        (f"kill {signal.SIGSEGV:d}", "died: killed by SIGSEGV; a new one"),
        (f"kill {signal.SIGKILL:d}", r"died: killed by SIGKILL \(out of memory\?\); a new one"),
        (f"kill {signal.SIGRTMIN + 2}", f"died: killed by signal {signal.SIGRTMIN + 2}; a new one"),
    ],
)
def test_whatever_a_child_dies_of_a_new_one_starts(tmp_path: Path, order: str, words: str) -> None:
    with supervise_script(tmp_path) as supervisor:
        first = supervisor.started()
        tell(tmp_path, first, order)
        supervisor.next(f"worker {first} {words}")
        second = supervisor.started()
        wait_until((tmp_path / str(second)).exists, "the second")
        supervisor.signal(signal.SIGTERM)
        assert supervisor.ended() == 0


def test_a_crash_loop_slows_down(tmp_path: Path) -> None:
    with supervise_script(tmp_path, mode="1") as supervisor:
        waits = [float(supervisor.next(r"a new one starts in ([\d.]+) s")[1]) for _ in range(5)]
        assert waits == [0.1, 0.2, 0.4, 0.8, 1.6]
        supervisor.signal(signal.SIGTERM)
        assert supervisor.ended() == 0


def test_a_wrong_configuration_is_said_once_and_ends_it(tmp_path: Path) -> None:
    with supervise_script(tmp_path, processes=3, mode=str(MISCONFIGURED)) as supervisor:
        assert supervisor.ended() == 2
        assert sum("started" in line for line in supervisor.lines) == 1


def test_a_configuration_that_broke_later_does_not_end_the_others(tmp_path: Path) -> None:
    with supervise_script(tmp_path, processes=2) as supervisor:
        first, second = supervisor.started(), supervisor.started()
        wait_until((tmp_path / str(second)).exists, "the second")
        (tmp_path / "mode").write_text(str(MISCONFIGURED))
        tell(tmp_path, first, "exit 1")
        supervisor.next(f"exit code {MISCONFIGURED}; a new one starts in 0.2 s")
        assert psutil.pid_exists(second)


def test_a_hung_child_is_killed_and_replaced(tmp_path: Path) -> None:
    with supervise_script(tmp_path) as supervisor:
        first = supervisor.started()
        tell(tmp_path, first, "deaf")
        tell(tmp_path, first, "say H")
        supervisor.next(f"worker {first} its event loop is hung: killed")
        supervisor.next(f"worker {first} died: killed by SIGKILL")
        supervisor.started()


def test_a_child_with_stuck_threads_is_replaced(tmp_path: Path) -> None:
    with supervise_script(tmp_path, grace=100) as supervisor:
        first = supervisor.started()
        tell(tmp_path, first, "deaf")
        tell(tmp_path, first, "say C")
        supervisor.next(f"worker {first} asks to be replaced")
        second = supervisor.started()
        supervisor.next(f"worker {second} takes the place of worker {first}")
        assert psutil.pid_exists(first)
        tell(tmp_path, first, "exit 1")
        supervisor.next(f"worker {first} ended while stopping: exit code 1")
        wait_until((tmp_path / str(second)).exists, "the second")
        supervisor.signal(signal.SIGTERM)
        assert supervisor.ended() == 0, "a process that was replaced long ago is no reason to fail"


def test_a_child_that_an_operator_stopped_is_not_replaced(tmp_path: Path) -> None:
    with supervise_script(tmp_path, processes=2) as supervisor:
        first, second = supervisor.started(), supervisor.started()
        for pid in (first, second):
            tell(tmp_path, pid, "say Q")
            tell(tmp_path, pid, "exit 0")
        assert supervisor.ended() == 0
        assert sum("started" in line for line in supervisor.lines) == 2


def test_suspects_get_one_process_of_their_own(tmp_path: Path) -> None:
    with supervise_script(tmp_path, processes=2) as supervisor:
        pids = [supervisor.started(), supervisor.started()]
        for _ in range(3):
            for pid in pids:
                tell(tmp_path, pid, "say S")
        alone = int(supervisor.next(r"worker (\d+) started, for suspects alone")[1])
        assert "--alone" in psutil.Process(alone).cmdline()
        tell(tmp_path, alone, "exit 0")
        supervisor.next(f"worker {alone} ended: no more suspects")
        tell(tmp_path, pids[0], "say S")
        again = int(supervisor.next(r"worker (\d+) started, for suspects alone")[1])
        tell(tmp_path, again, f"kill {signal.SIGSEGV:d}")
        supervisor.next(f"worker {again} died: killed by SIGSEGV; a new one starts in 0.1 s")
        third = int(supervisor.next(r"worker (\d+) started, for suspects alone")[1])  # unasked: others may wait
        tell(tmp_path, third, "exit 0")
        supervisor.next(f"worker {third} ended: no more suspects")
        assert sum("for suspects alone" in line for line in supervisor.lines) == 3


def test_a_deaf_child_is_killed_after_grace_and_margin(tmp_path: Path) -> None:
    # The margin is too long for a test: a supervisor of our own making has a shorter one.
    (tmp_path / "mode").write_text("ready")
    program = (
        "import sys, windlass.engine.supervisor as s; s.MARGIN = 0.2; "
        f"sys.exit(s.main(['1', '0.1', 'tests.system.scripted_child', {str(tmp_path)!r}]))"
    )
    with Supervised([sys.executable, "-c", program], Path(__file__).parents[2]) as supervisor:
        pid = supervisor.started()
        tell(tmp_path, pid, "deaf")
        supervisor.signal(signal.SIGTERM)
        supervisor.next(f"worker {pid} did not stop in time: killed")
        assert supervisor.ended() == 1


def test_children_stop_when_the_supervisor_is_killed(tmp_path: Path) -> None:
    with supervise_script(tmp_path, processes=2) as supervisor:
        pids = [supervisor.started(), supervisor.started()]
        for pid in pids:
            tell(tmp_path, pid, "deaf")
        supervisor.signal(signal.SIGKILL)
        assert [heard(tmp_path, pid) for pid in pids] == ["orphan", "orphan"]


def test_hangup_replaces_one_after_the_other(tmp_path: Path) -> None:
    with supervise_script(tmp_path, processes=2) as supervisor:
        old = [supervisor.started(), supervisor.started()]
        for pid in old:
            wait_until((tmp_path / str(pid)).exists, "the old ones")
        (tmp_path / "mode").write_text("silent")
        supervisor.signal(signal.SIGHUP)
        supervisor.next("replacing the workers")
        third = supervisor.started()
        wait_until((tmp_path / str(third)).exists, "the third")
        assert all(psutil.pid_exists(pid) for pid in old), "an old one goes only when its successor is ready"
        tell(tmp_path, third, "say R")
        fourth = supervisor.started()
        assert heard(tmp_path, old[0]) == "stop"
        tell(tmp_path, fourth, "say R")
        assert heard(tmp_path, old[1]) == "stop"
        supervisor.signal(signal.SIGTERM)
        assert supervisor.ended() == 0


def test_a_successor_that_fails_ends_the_replacing(tmp_path: Path) -> None:
    with supervise_script(tmp_path, processes=2) as supervisor:
        old = [supervisor.started(), supervisor.started()]
        for pid in old:
            wait_until((tmp_path / str(pid)).exists, "the old ones")
        (tmp_path / "mode").write_text(str(MISCONFIGURED))
        supervisor.signal(signal.SIGHUP)
        supervisor.next("ended before it was ready .*the others are not replaced")
        assert all(psutil.pid_exists(pid) for pid in old)
        (tmp_path / "mode").write_text("ready")
        supervisor.signal(signal.SIGHUP)
        assert [heard(tmp_path, pid) for pid in old] == ["stop", "stop"]


def test_an_idle_supervisor_sleeps_and_a_closed_line_does_not_wake_it(tmp_path: Path) -> None:
    with supervise_script(tmp_path) as supervisor:
        child = supervisor.started()
        tell(tmp_path, child, "close")
        us = psutil.Process(supervisor.process.pid)
        time.sleep(0.5)
        before = us.num_ctx_switches().voluntary
        time.sleep(1)
        assert us.num_ctx_switches().voluntary - before <= 1
        tell(tmp_path, child, "exit 5")
        supervisor.next("exit code 5")


def test_closed_standard_descriptors_are_no_trap(tmp_path: Path) -> None:
    """With 0, 1 and 2 closed, the pipes would get these numbers, and a log line would be a word to the supervisor."""
    (tmp_path / "mode").write_text("ready")
    command = f"exec {sys.executable} -m windlass.engine.supervisor 1 5 tests.system.scripted_child {tmp_path}"
    process = subprocess.Popen(["sh", "-c", command + " <&- >&- 2>&-"], cwd=Path(__file__).parents[2])
    try:
        wait_until(lambda: any(path.name.isdigit() for path in tmp_path.iterdir()), "a child")
        (child,) = psutil.Process(process.pid).children()
        assert standard_descriptors(process.pid) == {Path(os.devnull)}
        assert standard_descriptors(child.pid) == {Path(os.devnull)}
    finally:
        process.terminate()
        assert process.wait(20) == 0


def test_it_collects_orphans_that_are_not_its_own(tmp_path: Path) -> None:
    """As process 1 of a container it inherits them."""
    (tmp_path / "mode").write_text("ready")
    program = (
        "import os, sys, time, windlass.engine.supervisor as s\n"
        "if os.fork() == 0: os._exit(9)\n"
        f"sys.exit(s.main(['1', '5', 'tests.system.scripted_child', {str(tmp_path)!r}]))"
    )
    with Supervised([sys.executable, "-c", program], Path(__file__).parents[2]) as supervisor:
        first = supervisor.started()
        tell(tmp_path, first, "exit 1")
        second = supervisor.started()
        us = psutil.Process(supervisor.process.pid)
        assert [child.pid for child in us.children()] == [second]
