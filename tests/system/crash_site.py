"""Where the crash tests happen: one store, its workers as real processes, and the books for the audit."""

import asyncio
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Mapping
from pathlib import Path
from typing import Any, Self, TypeVar
from uuid import UUID

import msgspec
import psutil
import pytest

from tests.system.audit import Books, Mark, findings, read_log
from tests.system.supervised import Supervised
from windlass.connect import connect
from windlass.core.clock import SECOND
from windlass.core.ids import new_id
from windlass.core.lifecycle import State
from windlass.core.model import MAX_BATCH, NewJob, Settings
from windlass.core.records import JobRecord, SessionRecord
from windlass.store.port import Store
from windlass.testing import snapshot

T = TypeVar("T")

ROOT = Path(__file__).parents[2]
APP = "tests.system.crash_app"
PATIENCE = 30.0
"""Seconds that a test waits for what should take a few."""
SCALE = float(os.environ.get("WINDLASS_SOAK_SCALE", "1"))
"""Multiplies the sizes of the soaks."""
TIMELY = 0.5
"""Seconds after a kill within which nobody can have reaped, with a lease of 1 s: it was renewed at most a third before,
and a reaper has to see it stand still for two thirds."""


def sizes(normal: int, soak: int) -> pytest.MarkDecorator:
    """Run a test with ``jobs`` of a normal size, and with that of a soak in `make soak`."""
    marks = [pytest.mark.soak, pytest.mark.timeout(1800)]
    few = pytest.param(normal, marks=pytest.mark.timeout(90), id=f"{normal}")
    many = pytest.param(round(soak * SCALE), marks=marks, id="soak")
    return pytest.mark.parametrize("jobs", [few, many])


def until(condition: Callable[[], T], what: str, timeout: float = PATIENCE) -> T:
    """Wait for a condition that nobody announces; answers what it answered."""
    deadline = time.monotonic() + timeout
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"waited {timeout:g} s for {what}"
        time.sleep(0.005)
    return answer


class CrashSite:
    """A store, and what a test knows of the jobs in it. Use as a context manager.

    Args:
        folder: for what is written besides.
        rng: decides what is left to chance.
        database: where the SQLite file is, if not in ``folder``.
        url: of another store than SQLite.
        max_lost: as in `App`.
    """

    def __init__(
        self,
        folder: Path,
        rng: random.Random,
        *,
        database: Path | None = None,
        url: str | None = None,
        max_lost: int = 2,
    ) -> None:
        self.folder = folder
        self.rng = rng
        self.path = database or folder / "jobs.db"
        self.url = url or f"sqlite:///{self.path}"
        self.log = folder / "log"
        self.max_lost = max_lost
        self.books = Books()
        self._runner = asyncio.Runner()
        self.fleets: list[Fleet] = []
        self._producers: list[subprocess.Popen[str]] = []
        self.store = self.new_store()

    def new_store(self) -> Store:
        """The store as the app opens it."""
        return connect(self.url, Settings(lease=SECOND, max_lost=self.max_lost))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            for producer in self._producers:
                if producer.poll() is None:
                    producer.kill()
                    producer.communicate()
            for fleet in self.fleets:
                fleet.end()
        finally:
            self.ask(self.store.aclose())
            self._runner.close()
        if kind is None:
            for fleet in self.fleets:
                fleet.check_output()

    # ------------------------------------------------------------------------------------------- the store

    def ask(self, question: Coroutine[Any, Any, T]) -> T:
        """Await something of the store."""
        return self._runner.run(question)

    def enqueue(
        self,
        task: str,
        arguments: Iterable[Mapping[str, object]] = ({},),
        expect: State = State.SUCCEEDED,
        **fields: Any,
    ) -> list[bytes]:
        """Store a job for each mapping of arguments, and enter it in the books."""
        jobs = [NewJob(id=new_id(), task=task, payload=msgspec.json.encode(each), **fields) for each in arguments]
        return self.enqueue_jobs(jobs, expect)

    def enqueue_jobs(self, jobs: list[NewJob], expect: State = State.SUCCEEDED) -> list[bytes]:
        """Store jobs, and enter them in the books."""
        for start in range(0, len(jobs), MAX_BATCH):
            self.ask(self._enqueue(jobs[start : start + MAX_BATCH]))
        self.books.expected.update((job.id, expect) for job in jobs)
        return [job.id for job in jobs]

    async def _enqueue(self, jobs: list[NewJob]) -> None:
        await self.store.enqueue(jobs, first_sent=await self.store.now())

    def sessions(self, pid: int | None = None) -> list[SessionRecord]:
        """The sessions of one process, or all."""
        found = self.ask(self.store.sessions())
        return [record for record in found if pid is None or record.session.pid == pid]

    def states(self) -> Counter[State]:
        """How many jobs are in each state."""
        counted: Counter[State] = Counter()
        for (_, state), count in self.ask(self.store.counts()).items():
            counted[State(state)] += count
        return counted

    def unfinished(self) -> int:
        return sum(count for state, count in self.states().items() if not state.is_finished)

    def record(self, job_id: bytes) -> JobRecord:
        (found,) = self.ask(self.store.get_jobs([job_id]))
        assert found is not None
        return found

    def by_hand(self, column: str, value: object, job_id: bytes) -> None:
        """Write to a job's row as somebody with the sqlite3 shell would."""
        db = sqlite3.connect(self.path, timeout=10)
        try:
            with db:
                assert db.execute(f"UPDATE jobs SET {column} = ? WHERE id = ?", (value, job_id)).rowcount == 1
        finally:
            db.close()

    # -------------------------------------------------------------------------------------------- processes

    def environment(self, url: str | None = None) -> dict[str, str]:
        """What `tests.system.crash_app` wants to know."""
        return {
            "CRASH_URL": url or self.url,
            "CRASH_LOG": str(self.log),
            "CRASH_LEASE": "1",
            "CRASH_MAX_LOST": str(self.max_lost),
        }

    def workers(self, processes: int, *options: str, concurrency: int = 20, grace: float = 20) -> "Fleet":
        """Start ``windlass worker``, and wait until its processes have sessions."""
        fleet = self.start(processes, *options, concurrency=concurrency, grace=grace)
        until(lambda: len(self.sessions_of(fleet)) >= processes, "workers to open their sessions")
        return fleet

    def start(
        self, processes: int, *options: str, concurrency: int = 20, grace: float = 20, url: str | None = None
    ) -> "Fleet":
        """Start ``windlass worker``, with another way to the store if there is one."""
        given = ["--concurrency", str(concurrency), "--grace", f"{grace:g}", *options]
        fleet = Fleet(self.folder, self.environment(url), processes, given)
        self.fleets.append(fleet)
        return fleet

    def sessions_of(self, fleet: "Fleet") -> list[SessionRecord]:
        pids = fleet.pids()
        return [record for record in self.sessions() if record.session.pid in pids]

    def producer(self, count: int, acknowledged: Path, url: str | None = None) -> subprocess.Popen[str]:
        """Start a process that enqueues so many jobs, and says which were acknowledged."""
        started = subprocess.Popen(
            [sys.executable, "-m", APP, str(count), str(acknowledged)],
            cwd=ROOT, env=os.environ | self.environment(url), text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        self._producers.append(started)
        return started

    def enter(self, acknowledged: Path) -> set[bytes]:
        """Enter in the books what a producer said was acknowledged."""
        # The last line may be torn: it was being written when its writer was killed.
        whole = [line for line in acknowledged.read_text().splitlines(keepends=True) if line.endswith("\n")]
        ids = {UUID(line.strip()).bytes for line in whole}
        self.books.expected.update(dict.fromkeys(ids, State.SUCCEEDED))
        return ids

    def kill(self, pid: int) -> int:
        """Kill a process, and enter in the books how many jobs the store counts as running under it; answers that."""
        began = time.monotonic()
        os.kill(pid, signal.SIGKILL)
        until(lambda: _status(pid) in (None, psutil.STATUS_ZOMBIE), f"the end of process {pid}")
        return self._interrupt(pid, began)

    def freeze(self, pid: int) -> int:
        """Stop a process for longer than its lease; the books as in `kill`."""
        began = time.monotonic()
        os.kill(pid, signal.SIGSTOP)
        until(lambda: _status(pid) == psutil.STATUS_STOPPED, f"process {pid} to stop")
        return self._interrupt(pid, began)

    def thaw(self, pid: int) -> None:
        os.kill(pid, signal.SIGCONT)

    def _interrupt(self, pid: int, began: float) -> int:
        held = sum(record.running for record in self.sessions(pid))
        self.books.interrupted += held
        self.books.exact &= time.monotonic() - began < TIMELY
        return held

    def holds_lock(self, pid: int) -> bool:
        """Whether a process is inside a write to the store."""
        return self._holds(pid, "lock")

    def holds_anything(self, pid: int) -> bool:
        """Whether a process keeps others from writing, be it that it is the next in the queue."""
        return self._holds(pid, "lock") or self._holds(pid, "turn")

    def _holds(self, pid: int, which: str) -> bool:
        inode = Path(f"{self.path}-{which}").stat().st_ino
        for line in Path("/proc/locks").read_text().splitlines():
            fields = line.split()
            if fields[1] == "FLOCK" and int(fields[4]) == pid and fields[5].rpartition(":")[2] == str(inode):
                return True
        return False

    # ---------------------------------------------------------------------------------------------- the end

    def marks(self) -> list[Mark]:
        return read_log(self.log)

    def drained(self, timeout: float = PATIENCE) -> None:
        """Wait until every job is finished."""
        until(lambda: self.unfinished() == 0, "every job to finish", timeout)

    def audit(self, *, doubtful: Iterable[bytes] = ()) -> None:
        """Hold the books against the store and the log; see `tests.system.audit`. Prints what it counted (``-rP``)."""
        marks = self.marks()
        found = list(findings(self.books, self.ask(snapshot.take(self.store)), marks, doubtful=frozenset(doubtful)))
        started = [mark.job for mark in marks if mark.what == "start"]
        sys.stdout.write(
            f"audit: {len(self.books.expected)} jobs, {len(started) - len(set(started))} extra executions "
            f"({self.books.interrupted} jobs may have been interrupted), {len(found)} findings\n"
        )
        assert not found, f"{len(found)} findings:\n" + "\n".join(found[:20])


class Fleet(Supervised):
    """One ``windlass worker`` with its processes."""

    def __init__(self, folder: Path, environment: dict[str, str], processes: int, options: list[str]) -> None:
        self._printed = folder / f"printed-{random.getrandbits(64):x}"
        worker = [sys.executable, "-m", "windlass", "worker", "--app", f"{APP}:app", "--processes", str(processes)]
        # What tasks print goes to a file: what the workers log is read line by line.
        command = ["sh", "-c", 'out=$1; shift; exec "$@" >"$out"', "sh", str(self._printed), *worker, *options]
        super().__init__(command, ROOT, environment)
        self._children: dict[int, psutil.Process] = {}
        self._excused: list[str] = []

    def pids(self) -> list[int]:
        """The worker processes that live."""
        try:
            children = psutil.Process(self.process.pid).children()
        except psutil.NoSuchProcess:
            return []
        self._children.update((child.pid, child) for child in children)
        return [child.pid for child in children if _status(child.pid) not in (None, psutil.STATUS_ZOMBIE)]

    def stop(self, timeout: float = PATIENCE) -> int:
        """SIGTERM; answers the exit code."""
        self.signal(signal.SIGTERM)
        return self.process.wait(timeout)

    def end(self) -> None:
        """End whatever still lives, by process id."""
        self.pids()
        if self.process.poll() is None:
            self.process.kill()
        for child in self._children.values():
            try:
                for process in [*child.children(recursive=True), child]:
                    process.kill()
            except psutil.NoSuchProcess:
                continue
        self.__exit__()
        # pytest shows it where a test failed.
        sys.stdout.write("\n".join([f"--- worker {self.process.pid}", *self.lines[-300:], ""]))

    def excuse(self, *patterns: str) -> None:
        """Expect lines that `check_output` would complain about."""
        self._excused += patterns

    def check_output(self) -> None:
        """Complain about what no user should ever see."""
        complaints = ("locked", "Traceback", "never retrieved", "was destroyed", "Fatal Python error")
        bad = [line for line in self.lines if any(word in line for word in complaints)]
        bad = [line for line in bad if not any(word in line for word in self._excused)]
        assert not bad, "\n".join([*bad, "in:", *self.lines[-300:]])


def _status(pid: int) -> str | None:
    try:
        return psutil.Process(pid).status()
    except psutil.NoSuchProcess:
        return None
