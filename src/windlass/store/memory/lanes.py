"""Ready jobs in order: jobs without a limit key by their positions, limit keys in turn.

Jobs with a limit key stand in lines of their own, one for each (priority, task, key). At one priority the lines take
turns, a job each, so that a key with few jobs is served soon beside one with many. A line whose key is at its limit is
barred: out of the rotation until something may have changed, so that a claim costs the same however many keys wait.
"""

from __future__ import annotations

from typing import Generic, NamedTuple, TypeAlias, TypeVar

from windlass.core.clock import Instant, Span
from windlass.store.memory.line import Key, Line
from windlass.store.memory.records import Job

T = TypeVar("T")
_Name: TypeAlias = tuple[int, str, str]


class Bar(NamedTuple):
    """Why a line is out of the rotation."""

    at: Instant
    """When it was barred."""
    until: Instant | None
    """When a rate lets its key start another; ``None``: when a running job of the key ends."""


class KeyLine:
    """The ready jobs of one priority, task and limit key, by sequence. It exists as long as it has jobs."""

    __slots__ = ("bar", "jobs", "key", "lane", "passed_over", "priority", "task", "turn")

    def __init__(self, lane: ReadyLane, first: Job) -> None:
        assert first.limit_key is not None
        self.lane = lane
        self.priority = first.priority
        self.task = first.task
        self.key = first.limit_key
        self.jobs: Line[Job] = Line()
        self.passed_over: list[Job] = []
        """Jobs that the claim under way has looked at in vain."""
        self.turn: int | None = None
        """Drawn at its last turn, if it has had one."""
        self.bar: Bar | None = None

    @property
    def place(self) -> Key:
        """Where it stands in the rotation: by its last turn or, before the first, by the sequence of its first job."""
        if self.turn is not None:
            return -self.priority, self.turn
        first = self.jobs.first()
        assert first is not None
        return first[0]


class ByTask(Generic[T]):
    """Things in order, from which all of a task can be left out at once."""

    __slots__ = ("_lines", "_tasks")

    def __init__(self) -> None:
        self._tasks: Line[str] = Line()
        self._lines: dict[str, Line[T]] = {}

    def __len__(self) -> int:
        return len(self._lines)

    def put(self, task: str, thing: T, key: Key) -> None:
        """Put a thing in its place, or move it to another."""
        self._lines.setdefault(task, Line()).put(thing, key)
        self._sort_in(task)

    def discard(self, task: str, thing: T) -> None:
        """Take a thing out, if it is there."""
        if task in self._lines:
            self._lines[task].discard(thing)
            self._sort_in(task)

    def _sort_in(self, task: str) -> None:
        first = self._lines[task].first()
        if first is None:
            del self._lines[task]
            self._tasks.discard(task)
        else:
            self._tasks.put(task, first[0])

    def first(self) -> T | None:
        """Look at the first thing, among the tasks that are not left out."""
        found = self._tasks.first()
        first = None if found is None else self._lines[found[1]].first()
        return None if first is None else first[1]

    def leave_out(self, task: str) -> None:
        """Leave out a task, until `take_in`; nothing of it may be put or discarded meanwhile."""
        self._tasks.discard(task)

    def take_in(self, task: str) -> None:
        """Take a task in again."""
        if task in self._lines:
            self._sort_in(task)


class ReadyLane:
    """The ready jobs of one lane that are not suspect."""

    __slots__ = ("_barred", "_last_bar", "_lines", "plain", "rotation")

    def __init__(self) -> None:
        self.plain: ByTask[Job] = ByTask()
        """Jobs without a limit key."""
        self.rotation: ByTask[KeyLine] = ByTask()
        """Lines that are not barred."""
        self._lines: dict[_Name, KeyLine] = {}
        self._barred: Line[KeyLine] = Line()
        """By the end of their bars, as far as that is known."""
        self._last_bar: Instant = 0

    def __len__(self) -> int:
        return len(self.plain) + len(self._lines)

    def put(self, job: Job) -> None:
        """Put a job at its position."""
        if job.limit_key is None:
            self.plain.put(job.task, job, job.position)
            return
        name = job.priority, job.task, job.limit_key
        line = self._lines.get(name)
        if line is None:
            line = self._lines[name] = KeyLine(self, job)
        line.jobs.put(job, job.position)
        if line.bar is None:
            self.rotation.put(line.task, line, line.place)

    def discard(self, job: Job) -> None:
        """Take a job out, if it is there."""
        if job.limit_key is None:
            self.plain.discard(job.task, job)
            return
        line = self.line_of(job)
        if line is not None:
            line.jobs.discard(job)
            if line.jobs:
                if line.bar is None:
                    self.rotation.put(line.task, line, line.place)
            elif not line.passed_over:
                del self._lines[job.priority, job.task, job.limit_key]
                self.rotation.discard(line.task, line)
                self._barred.discard(line)

    def line_of(self, job: Job) -> KeyLine | None:
        """Return the line in which a job stands, if there is such a line."""
        return None if job.limit_key is None else self._lines.get((job.priority, job.task, job.limit_key))

    def to_the_end(self, line: KeyLine, turn: int) -> None:
        """It was the line's turn: the others come first now."""
        line.turn = turn
        if line.jobs:
            self.rotation.put(line.task, line, line.place)

    def shut(self, line: KeyLine, bar: Bar) -> None:
        """Take a line out of the rotation."""
        line.bar = bar
        self._last_bar = max(self._last_bar, bar.at)
        self.rotation.discard(line.task, line)
        if bar.until is not None:
            self._barred.put(line, (bar.until, line.place[1]))

    def reopen(self, line: KeyLine) -> None:
        """Let a barred line have its old turn again."""
        line.bar = None
        self._barred.discard(line)
        if line.jobs:
            self.rotation.put(line.task, line, line.place)

    def reopen_due(self, now: Instant) -> None:
        """Reopen the lines whose time has come; all of them if the clock was set back, so that nothing is known."""
        while (first := self._barred.first()) is not None and first[0][0] <= now:
            self.reopen(first[1])
        if self._last_bar > now:
            self.reopen_all()
            self._last_bar = now

    def reopen_all(self) -> None:
        """Reopen every line."""
        for line in self._lines.values():
            if line.bar is not None:
                self.reopen(line)

    def first_wait(self, now: Instant) -> Span | None:
        """Time until the first of the barred lines may go on, as far as that is known."""
        first = self._barred.first()
        return None if first is None else first[0][0] - now
