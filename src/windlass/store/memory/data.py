"""What a memory store remembers, and one verb's step in it."""

from __future__ import annotations

import os
import threading
from collections import defaultdict
from dataclasses import dataclass, field

from windlass.core.clock import Instant
from windlass.core.documents import Document
from windlass.core.lifecycle import State
from windlass.core.model import Settings
from windlass.core.records import Limit, LimitScope
from windlass.store.memory.lanes import KeyLine, ReadyLane
from windlass.store.memory.line import Line
from windlass.store.memory.records import Job, LaneName, Life, Schedule
from windlass.store.memory.wake import Listeners


class Data:
    """All of one store. Its lock guards everything; the indexes say what the jobs say, and `move` keeps them so."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.pid = os.getpid()
        self.jobs: dict[bytes, Job] = {}
        self.numbers = 0
        self.sequence = 0
        self.ready: defaultdict[LaneName, ReadyLane] = defaultdict(ReadyLane)
        self.plain_next: set[LaneName] = set()
        """Lanes in which a line had the last turn, where there was a choice: a job without a limit key is next."""
        self.suspects: defaultdict[LaneName, Line[Job]] = defaultdict(Line)
        self.at_limit: defaultdict[str, set[KeyLine]] = defaultdict(set)
        """Lines barred until a running job of their key ends, by key."""
        self.scheduled: Line[Job] = Line()
        self.expiring: Line[Job] = Line()
        """Unstarted jobs with an expiry."""
        self.purgeable: Line[Job] = Line()
        self.held: defaultdict[bytes, dict[bytes, Job]] = defaultdict(dict)
        """What runs, by session."""
        self.running: defaultdict[tuple[LimitScope, str], set[bytes]] = defaultdict(set)
        """What runs, by what limits count. Sets, so that nothing is counted twice or forgotten."""
        self.keys: dict[tuple[str, str], Job] = {}
        """(task, unique key) -> the unfinished job that holds it."""
        self.behind: dict[bytes, Job] = {}
        """The cursors: finished jobs with edges that are still to be marked or closed."""
        self.sessions: dict[bytes, Life] = {}
        self.duty: tuple[bytes, Instant] = (b"", 0)
        self.limits: dict[tuple[LimitScope, str], Limit] = {}
        self.buckets: dict[tuple[LimitScope, str], tuple[int, Instant]] = {}
        """Token buckets that are not full: (debt, when it was that)."""
        self.schedules: dict[str, Schedule] = {}
        self.due: Line[Schedule] = Line()
        """Schedules that will fire."""
        self.deleted: Line[Schedule] = Line()
        """What is left of schedules that were deleted, by when."""
        self.documents: dict[tuple[str, str], Document] = {}
        """By kind and key."""
        self.expiring_documents: Line[tuple[str, str]] = Line()
        self.listeners = Listeners()

    def move(self, job: Job, state: State) -> None:
        """Put a job into a state, and into the indexes of that state. What the indexes order it by must be set."""
        self._leave(job)
        job.state = state
        self.enter(job)

    def _leave(self, job: Job) -> None:
        self.expiring.discard(job)
        match job.state:
            case State.READY:
                lanes = self.suspects if job.suspect else self.ready
                lanes[job.lane].discard(job)
                if not lanes[job.lane]:
                    del lanes[job.lane]
            case State.SCHEDULED:
                self.scheduled.discard(job)
            case State.RUNNING:
                self._stop(job)
            case _ if job.state.is_finished:
                self.purgeable.discard(job)

    def enter(self, job: Job) -> None:
        """Put a job into the indexes of its state."""
        match job.state:
            case State.READY:
                if job.suspect:
                    self.suspects[job.lane].put(job, job.position)
                else:
                    self.ready[job.lane].put(job)
            case State.SCHEDULED:
                assert job.due_at is not None
                self.scheduled.put(job, (job.due_at, job.number))
            case State.RUNNING:
                self._start(job)
        if job.state < State.RUNNING and job.attempt == 0 and job.expires_at is not None:
            self.expiring.put(job, (job.expires_at, job.number))

    def _start(self, job: Job) -> None:
        assert job.session is not None
        self.held[job.session][job.id] = job
        for counted in counted_under(job):
            self.running[counted].add(job.id)

    def _stop(self, job: Job) -> None:
        assert job.session is not None
        held = self.held[job.session]
        del held[job.id]
        if not held:
            del self.held[job.session]
        for counted in counted_under(job):
            self.running[counted].remove(job.id)
            if not self.running[counted]:
                del self.running[counted]
        if job.limit_key is not None:
            for line in self.at_limit.pop(job.limit_key, ()):
                line.lane.reopen(line)


def counted_under(job: Job) -> list[tuple[LimitScope, str]]:
    """Say under which names limits count a job."""
    names = [(LimitScope.QUEUE, job.queue), (LimitScope.TASK, job.task)]
    return names if job.limit_key is None else [*names, (LimitScope.KEY, job.limit_key)]


@dataclass(slots=True)
class Step:
    """One verb's step: the data, locked, at one instant; and what others should be told of it."""

    data: Data
    now: Instant
    settings: Settings
    hints: set[str] = field(default_factory=set)
    makes_room: bool = False
    """Limits may allow now what they did not allow before, in any queue."""

    def move(self, job: Job, state: State) -> None:
        """Put a job into a state; see `Data.move`."""
        if job.state is State.RUNNING and self.data.limits:
            self.makes_room = True
        self.data.move(job, state)

    def make_ready(self, job: Job, *, old_position: bool = False) -> None:
        """Put a job into its lane: at a new position, unless it only goes back to its old one."""
        if not old_position:
            self.data.sequence += 1
            job.sequence = self.data.sequence
        self.move(job, State.READY)
        self.hints.add(f"ready/{job.queue}")

    def make_scheduled(self, job: Job) -> None:
        """Let a job wait for its due time."""
        first = self.data.scheduled.first()
        assert job.due_at is not None
        if first is None or job.due_at < first[0][0]:
            self.hints.add("scheduled")
        job.sequence = None
        self.move(job, State.SCHEDULED)

    def make_later_or_ready(self, job: Job, state: State) -> None:
        """Put a job where the lifecycle says: ``SCHEDULED`` or ``READY``."""
        if state is State.SCHEDULED:
            self.make_scheduled(job)
        else:
            self.make_ready(job)
