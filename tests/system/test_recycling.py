"""Worn-out worker processes are replaced: the successor first, and no job notices."""

import random
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.system.crash_site import CrashSite, sizes, until
from tests.system.supervised import Supervised, heard, supervise_script, tell, wait_until, worker_command


@pytest.fixture
def site(tmp_path: Path, rng: random.Random) -> Iterator[CrashSite]:
    with CrashSite(tmp_path, rng) as made:
        yield made


def started(site: CrashSite, what: str = "start") -> Counter[bytes]:
    return Counter(mark.job for mark in site.marks() if mark.what == what)


# ------------------------------------------------------------------------------------------- real workers


@sizes(8000, 200_000)
def test_no_job_is_lost_or_run_twice(site: CrashSite, jobs: int) -> None:
    site.enqueue("work", ({"n": n, "seconds": site.rng.uniform(0, 0.04)} for n in range(jobs * 9 // 10)))
    site.enqueue("work_in_thread", ({"n": n, "seconds": 0.01} for n in range(jobs // 10)))
    fleet = site.workers(2, "--recycle-jobs", "500")
    site.drained(600)
    site.audit()
    assert max(started(site).values()) == 1
    assert all(job.attempt == 1 and job.losses == 0 for job in map(site.record, started(site)))
    assert fleet.stop() == 0
    replaced = sum("takes the place of" in line for line in fleet.lines)
    assert replaced >= 4, f"{replaced} processes were replaced"


def test_a_job_that_takes_long_is_neither_interrupted_nor_waited_for(site: CrashSite) -> None:
    """Its grace time is no limit, and the slot works on meanwhile: the job ends because somebody else lets it."""
    (long,) = site.enqueue("wait_for_file", [{"path": str(site.folder / "go on")}], priority=9)
    fleet = site.workers(1, "--recycle-jobs", "20", grace=0.1)
    until(lambda: long in started(site), "the long one to start")
    site.enqueue("work", ({"n": n} for n in range(20)))
    fleet.next("asks to be replaced: it is worn out")
    second = int(fleet.next(r"worker (\d+) takes the place of worker")[1])
    fleet.next("stopping: 1 jobs held")  # until then the first one may claim as well
    more = site.enqueue("work", ({"n": n} for n in range(15)))
    until(lambda: started(site, "end").keys() >= set(more), "the successor to work")
    assert {mark.pid for mark in site.marks() if mark.job in more} == {second}
    assert long not in started(site, "end")
    (site.folder / "go on").touch()
    site.drained()
    site.audit()
    assert site.record(long).attempt == 1
    assert fleet.stop() == 0


def test_a_stop_while_a_worn_process_finishes_gives_it_the_grace_time(site: CrashSite) -> None:
    (long,) = site.enqueue("work", [{"n": 0, "seconds": 3600}], priority=9)
    fleet = site.workers(1, "--recycle-jobs", "1", grace=0.5)
    until(lambda: long in started(site), "the long one to start")
    site.enqueue("work", [{"n": 1}])
    fleet.next("takes the place of worker")
    fleet.next("which may take as long as they like")
    assert fleet.stop() == 0
    assert (site.record(long).state.word, site.record(long).losses) == ("ready", 0)


def test_an_operator_stops_a_worn_process_that_finishes(site: CrashSite) -> None:
    (long,) = site.enqueue("work", [{"n": 0, "seconds": 3600}], priority=9)
    fleet = site.workers(1, "--recycle-jobs", "1", grace=0.5)
    until(lambda: long in started(site), "the long one to start")
    (old,) = site.sessions_of(fleet)
    site.enqueue("work", [{"n": 1}])
    first = int(fleet.next(r"takes the place of worker (\d+)")[1])
    assert site.ask(site.store.command(old.session.id, "stop"))
    fleet.next("told to stop")
    fleet.next(f"worker {first} stopped")
    assert site.record(long).losses == 0
    until(lambda: started(site)[long] == 2, "the successor to run it")
    fleet.signal(signal.SIGTERM)
    fleet.signal(signal.SIGTERM)
    assert fleet.ended() == 0


def test_age(site: CrashSite) -> None:
    fleet = site.workers(1, "--recycle-age", "1")
    fleet.next(r"asks to be replaced: it has worked for \d+ s")
    fleet.next("takes the place of worker")
    assert fleet.stop() == 0


def test_memory(site: CrashSite) -> None:
    fleet = site.workers(1, "--recycle-memory", "150MiB")
    site.enqueue("keep", [{"megabytes": 200}])
    fleet.next(r"asks to be replaced: it uses \d\d\d MiB of memory")
    fleet.next("takes the place of worker")
    site.drained()
    site.audit()
    assert fleet.stop() == 0


def test_a_limit_that_leaves_no_room_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tasks.py").write_text("from windlass import App\napp = App('sqlite:///jobs.db')\n")
    with Supervised(worker_command("--app", "tasks:app", "--recycle-memory", "10MiB"), tmp_path) as worker:
        worker.next(r"--recycle-memory 10MiB: a worker process of this app uses \d\d MiB before its first job")
        assert worker.ended() == 2


# ------------------------------------------------------------------------------- the supervisor's side of it


def test_the_old_one_drains_when_its_successor_is_ready(tmp_path: Path) -> None:
    with supervise_script(tmp_path) as supervisor:
        first = supervisor.started()
        tell(tmp_path, first, "say W")
        second = supervisor.started()
        supervisor.next(f"worker {second} takes the place of worker {first}")
        assert heard(tmp_path, first) == "drain"
        supervisor.next(f"worker {first} stopped")


def test_the_old_one_works_until_then(tmp_path: Path) -> None:
    with supervise_script(tmp_path, processes=2) as supervisor:
        old = [supervisor.started(), supervisor.started()]
        wait_until((tmp_path / str(old[1])).exists, "the second")
        (tmp_path / "mode").write_text("silent")
        for pid in old:
            tell(tmp_path, pid, "say W")
        third = supervisor.started()
        tell(tmp_path, third, "deaf")  # it listens: nothing else has been started since
        assert len(psutil.Process(supervisor.process.pid).children()) == 3, "one is replaced at a time"
        assert not any((tmp_path / f"{pid}.heard").exists() for pid in old)
        tell(tmp_path, third, "say R")
        fourth = supervisor.started()
        tell(tmp_path, fourth, "say R")
        assert [heard(tmp_path, pid) for pid in old] == ["drain", "drain"]


def test_a_successor_that_fails_leaves_the_old_one_and_is_tried_again_when_that_asks_again(tmp_path: Path) -> None:
    with supervise_script(tmp_path) as supervisor:
        first = supervisor.started()
        wait_until((tmp_path / str(first)).exists, "the first")
        (tmp_path / "mode").write_text("1")
        tell(tmp_path, first, "say W")
        supervisor.next("ended before it was ready")
        assert not (tmp_path / f"{first}.heard").exists()
        (tmp_path / "mode").write_text("ready")
        tell(tmp_path, first, "say W")
        supervisor.next(f"takes the place of worker {first}")
        assert heard(tmp_path, first) == "drain"


def test_a_slot_has_one_process_that_drains_at_most(tmp_path: Path) -> None:
    with supervise_script(tmp_path) as supervisor:
        first = supervisor.started()
        tell(tmp_path, first, "deaf")
        tell(tmp_path, first, "say W")
        second = supervisor.started()
        supervisor.next(f"takes the place of worker {first}")
        tell(tmp_path, second, "say W")
        supervisor.next(f"worker {second} asks to be replaced")
        assert {child.pid for child in psutil.Process(supervisor.process.pid).children()} == {first, second}
        tell(tmp_path, first, "exit 0")
        supervisor.next(f"takes the place of worker {second}")


def test_a_process_that_drains_and_is_stuck_gets_the_grace_time(tmp_path: Path) -> None:
    (tmp_path / "mode").write_text("ready")
    program = (
        "import sys, windlass.engine.supervisor as s; s.MARGIN = 0.2; "
        f"sys.exit(s.main(['1', '0.1', 'tests.system.scripted_child', {str(tmp_path)!r}]))"
    )
    with Supervised([sys.executable, "-c", program], Path(__file__).parents[2]) as supervisor:
        first = supervisor.started()
        tell(tmp_path, first, "deaf")
        tell(tmp_path, first, "say W")
        supervisor.next(f"takes the place of worker {first}")
        tell(tmp_path, first, "say C")
        supervisor.next(f"worker {first} cannot finish: its threads are stuck")
        supervisor.next(f"worker {first} did not stop in time: killed")


def test_a_hangup_reaches_those_that_drain_and_those_that_start(tmp_path: Path) -> None:
    """All of them run the old code."""
    with supervise_script(tmp_path) as supervisor:
        first = supervisor.started()
        tell(tmp_path, first, "deaf")
        tell(tmp_path, first, "say W")
        second = supervisor.started()
        supervisor.next(f"takes the place of worker {first}")
        wait_until((tmp_path / str(second)).exists, "the second")
        (tmp_path / "mode").write_text("silent")
        tell(tmp_path, second, "say C")
        third = supervisor.started()
        wait_until((tmp_path / str(third)).exists, "the third")
        (tmp_path / "mode").write_text("ready")
        supervisor.signal(signal.SIGHUP)
        supervisor.next("replacing the workers")
        fourth = supervisor.started()
        supervisor.next(f"worker {fourth} takes the place of worker {second}")
        for pid in (first, second, third):
            wait_until(lambda: heard(tmp_path, pid) == "stop", f"worker {pid} to be told")  # noqa: B023 - at once
        assert not (tmp_path / f"{fourth}.heard").exists()
        tell(tmp_path, first, "exit 0")
