"""The jobs of one worker that need a child process: those that wait for one, and those that run in one."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from windlass.context import NoteSink
from windlass.core.errors import WindlassError
from windlass.core.model import MAX_BATCH, ClaimedJob, Settlement
from windlass.core.task import TaskSpec
from windlass.engine.attempt import Attempt, released, undeliverable
from windlass.engine.lanes import BUFFER_PATIENCE, WorkerLanes
from windlass.engine.process_pool.config import ChildProcesses
from windlass.engine.process_pool.place import Place
from windlass.engine.process_pool.pool import ProcessPool


class NoProcess(WindlassError):
    """No child process could be started."""


class ProcessSlots:
    """Keeps jobs until a child is free, and gives back what waited too long.

    A child that is starting counts as a place to wait for, however long it takes; behind as many jobs as there are
    children on their way nobody waits for longer than `BUFFER_PATIENCE`.

    Args:
        config: of the children.
        place: where they find the app.
        longest: bytes of the largest result that a task may have.
        lanes: hear what was given back.
        settle: takes what is given back.
        begin: makes the attempt of a job that starts now.
        ended: called with each attempt's end.
        sink: where progress and log lines go.
    """

    def __init__(
        self,
        config: ChildProcesses,
        place: Place,
        *,
        longest: int,
        lanes: WorkerLanes,
        settle: Callable[[ClaimedJob, Settlement], None],
        begin: Callable[[ClaimedJob, TaskSpec, float], Attempt],
        ended: Callable[[Attempt, Settlement], None],
        sink: NoteSink,
    ) -> None:
        self._slots = config.slots
        self._lanes = lanes
        self._settle = settle
        self._begin = begin
        self._waiting: deque[tuple[ClaimedJob, TaskSpec, float]] = deque()
        self.pool = ProcessPool(
            config, place, longest=longest, sink=sink, ended=ended, free=self.fill, failed=self._cannot_start
        )
        self.paused = False
        """Start nothing."""

    def __len__(self) -> int:
        """How many jobs wait."""
        return len(self._waiting)

    @property
    def running(self) -> int:
        """Attempts in children, those included that nobody waits for any more."""
        return self.pool.busy

    @property
    def occupied(self) -> int:
        """Slots taken, and jobs that wait for one; more than there can be while no child can be started."""
        return 2 * MAX_BATCH if self.pool.failing else self.pool.busy + len(self._waiting)

    def requirements(self) -> list[str]:
        """What each job requires that waits."""
        return [job.requires for job, _, _ in self._waiting]

    def take(self, job: ClaimedJob, spec: TaskSpec, now: float) -> None:
        """Run a job as soon as a child is free; `fill` follows."""
        self._waiting.append((job, spec, now))
        self._lanes.waits(job)

    def fill(self) -> None:
        """Start what waits, while children are free; have children started for what is left."""
        waiting, pool = self._waiting, self.pool
        if not waiting or self.paused:
            return
        now = time.monotonic()
        while waiting and (child := pool.take()) is not None:
            job, spec, _ = waiting.popleft()
            self._lanes.waits_no_more(job)
            pool.run(child, self._begin(job, spec, now))
        if waiting:
            pool.need(len(waiting))

    def sweep(self, now: float) -> None:
        """Give back what has waited for too long; what came last goes first, since it is the last to start."""
        waiting = self._waiting
        while len(waiting) > self.pool.starting and now - waiting[-1][2] > BUFFER_PATIENCE:
            job, _, _ = waiting.pop()
            self._lanes.waits_no_more(job)
            self._lanes.gave_back(job, now)
            self._settle(job, released(job, started=False))

    def take_out(self, which: Callable[[ClaimedJob], bool]) -> list[ClaimedJob]:
        """Take those out that shall wait no longer, and give them."""
        out = [job for job, _, _ in self._waiting if which(job)]
        if out:
            self._waiting = deque(entry for entry in self._waiting if not which(entry[0]))
        for job in out:
            self._lanes.waits_no_more(job)
        return out

    def _cannot_start(self, why: str) -> None:
        error = NoProcess(why)
        for job, spec, _ in self._waiting:
            self._lanes.waits_no_more(job)
            self._settle(job, undeliverable(job, error, hopeless=False, keep_dead=spec.keep_dead))
        self._waiting.clear()
