"""One claim's way through a lane."""

from __future__ import annotations

from windlass.core.clock import Instant
from windlass.store.memory.lanes import Bar, KeyLine, ReadyLane
from windlass.store.memory.records import Job

_MOST_PASSED = 2000
"""Expired jobs that one claim passes over in a lane."""


class Walk:
    """Gives the jobs of a lane in their order: by priority and, within one, jobs without a limit key and lines of limit
    keys by turns. `close` puts back what it passed over.

    Args:
        lane: where to walk.
        now: the store's clock.
        keys_next: whether the first of the turns is a line's.
    """

    def __init__(self, lane: ReadyLane, now: Instant, *, keys_next: bool) -> None:
        self._lane = lane
        self._now = now
        self.keys_next = keys_next
        """Whether a line is next when there is a choice."""
        self.passed = 0
        """Expired jobs passed over so far."""
        self._tie = False
        self._left_out: set[str] = set()
        self._expired: list[Job] = []
        self._idle: list[KeyLine] = []
        """Lines in which all jobs are expired, or some were."""

    def first(self) -> Job | None:
        """Look at the next job."""
        plain, keyed = self._first_plain(), self._first_keyed()
        if self.more:
            return None  # what stands behind might come first
        self._tie = plain is not None and keyed is not None and plain.priority == keyed.priority
        if plain is None or keyed is None:
            return plain or keyed
        if self._tie:
            return keyed if self.keys_next else plain
        return plain if plain.priority > keyed.priority else keyed

    @property
    def more(self) -> bool:
        """There was more to pass over than one claim may."""
        return self.passed > _MOST_PASSED

    def _is_passed_over(self, job: Job) -> bool:
        if not job.is_expired(self._now):
            return False
        self.passed += 1
        return not self.more

    def _first_plain(self) -> Job | None:
        plain = self._lane.plain
        while (job := plain.first()) is not None and self._is_passed_over(job):
            plain.discard(job.task, job)
            self._expired.append(job)
        return job

    def _first_keyed(self) -> Job | None:
        rotation = self._lane.rotation
        while (line := rotation.first()) is not None:
            while (found := line.jobs.first()) is not None and self._is_passed_over(found[1]):
                line.jobs.discard(found[1])
                line.passed_over.append(found[1])
            if line.passed_over:
                self._idle.append(line)
            if found is not None:
                return found[1]
            rotation.discard(line.task, line)
        return None

    def took(self, job: Job) -> KeyLine | None:
        """Say that the job is taken; answer its line, if it has one."""
        if self._tie:
            self.keys_next = not self.keys_next
        return self._lane.line_of(job)

    def leave_out(self, task: str) -> None:
        """Pass over all jobs of a task."""
        self._left_out.add(task)
        self._lane.plain.leave_out(task)
        self._lane.rotation.leave_out(task)

    def shut(self, job: Job, bar: Bar) -> KeyLine:
        """Pass over the job's line, and bar it."""
        line = self._lane.line_of(job)
        assert line is not None
        self._lane.shut(line, bar)
        return line

    def close(self) -> None:
        """Put everything back in its place."""
        for task in self._left_out:
            self._lane.plain.take_in(task)
            self._lane.rotation.take_in(task)
        passed_over = self._expired
        for line in self._idle:
            passed_over += line.passed_over
            line.passed_over = []
        for job in passed_over:
            self._lane.put(job)
