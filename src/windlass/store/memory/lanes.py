"""Ready jobs in order, and a walk among them that passes over those that may not start."""

from __future__ import annotations

from typing import TypeAlias

from windlass.store.memory.line import Line
from windlass.store.memory.records import Job

_Track: TypeAlias = tuple[str, str | None]


class ReadyLane:
    """The ready jobs of one lane: a line for each track, and a line of the tracks by their first jobs.

    Jobs of a track are under the same limits. So a claim that meets a limit passes over all of them at once, however
    many wait.
    """

    __slots__ = ("_lines", "_tracks")

    def __init__(self) -> None:
        self._tracks: Line[_Track] = Line()
        self._lines: dict[_Track, Line[Job]] = {}

    def __len__(self) -> int:
        return len(self._lines)

    def put(self, job: Job) -> None:
        """Put a job at its position."""
        self._lines.setdefault(job.track, Line()).put(job, job.position)
        self._sort_in(job.track)

    def discard(self, job: Job) -> None:
        """Take a job out, if it is there."""
        line = self._lines.get(job.track)
        if line is not None:
            line.discard(job)
            self._sort_in(job.track)

    def _sort_in(self, track: _Track) -> None:
        first = self._lines[track].first()
        if first is None:
            del self._lines[track]
            self._tracks.discard(track)
        else:
            self._tracks.put(track, first[0])

    def first(self) -> Job | None:
        """Look at the first job, among the tracks that are not barred."""
        found = self._tracks.first()
        if found is None:
            return None
        first = self._lines[found[1]].first()
        return None if first is None else first[1]

    def bar(self, job: Job) -> None:
        """Leave out the job's whole track, until `unbar`."""
        self._tracks.discard(job.track)

    def unbar(self, job: Job) -> None:
        """Take the job's track in again."""
        if job.track in self._lines:
            self._sort_in(job.track)


class Walk:
    """One claim's way through a lane. `close` puts back what it passed over."""

    def __init__(self, lane: ReadyLane) -> None:
        self._lane = lane
        self._barred: list[Job] = []
        self._passed: list[Job] = []

    def first(self) -> Job | None:
        """Look at the next job."""
        return self._lane.first()

    def pass_over(self, job: Job) -> None:
        """Go on to the job behind this one."""
        self._lane.discard(job)
        self._passed.append(job)

    def pass_over_track(self, job: Job) -> None:
        """Go on to the next job that is not under the same limits."""
        self._lane.bar(job)
        self._barred.append(job)

    def close(self) -> None:
        for job in self._barred:
            self._lane.unbar(job)
        for job in self._passed:
            self._lane.put(job)
