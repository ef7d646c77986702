"""Counts what a worker does, for Prometheus: see `windlass.metrics.workers`, which names what is counted here."""

from __future__ import annotations

import threading
import time
from array import array
from bisect import bisect_left
from collections.abc import Callable, Container, Iterable, Sequence
from math import inf
from typing import Any, cast

from windlass.core.clock import SECOND, Instant
from windlass.core.errors import StoreError
from windlass.core.lifecycle import Outcome
from windlass.core.model import ClaimedJob, Settled, Settlement
from windlass.engine.counted import (
    CLAIMED,
    MOST_TASKS,
    NOW,
    OTHERS,
    RUNS,
    SHORT_TIMES,
    SIZES,
    TASK_WIDTH,
    TIMES,
    UNKNOWN,
    WAITS,
    width,
)
from windlass.engine.tally import Name, Tally
from windlass.engine.wrapped_store import Verb, WrappedStore
from windlass.store.port import Store

_SUM = width(TIMES) - 1
_LOWER = (-inf, *TIMES)
_UPPER = (*TIMES, inf)


class Histogram:
    """Numbers in a row, from a place on: one count for each bound, one for what is above all, and the sum."""

    __slots__ = ("_at", "_bounds", "_row", "_sum")

    def __init__(self, row: memoryview[float], at: int, bounds: tuple[float, ...]) -> None:
        self._row = row
        self._at = at
        self._bounds = bounds
        self._sum = at + len(bounds) + 1

    def add(self, value: float) -> None:
        """Count one."""
        row = self._row
        row[self._at + bisect_left(self._bounds, value)] += 1.0
        row[self._sum] += value


class Counts:
    """The counters of one worker. All but `asked` are for the worker's loop alone. Whatever becomes of the tally: what
    is counted is never in the way of what is done.

    Args:
        tally: where they stand; other workers may have rows there, too.
        tasks: those that the worker has; the names of others come from outside.
        clock: gives the time, in microseconds.
    """

    def __init__(self, tally: Tally, tasks: Container[str], clock: Callable[[], Instant]) -> None:
        self._tally = tally
        self._known = tasks
        self._clock = clock
        self._lock = threading.Lock()
        self._rows: list[tuple[Name, memoryview[float]]] = []
        """Those that stand in the tally."""
        self._closed = False
        self._tasks: dict[tuple[str, str], memoryview[float]] = {}
        self.ended: list[tuple[ClaimedJob, Outcome, float]] = []
        """Attempts that have ended, to be counted with the next batch that is settled: job, outcome, seconds. There are
        no more than the worker has slots, and to append to a list costs less than a call."""
        self._others = self._new_task(OTHERS, OTHERS)
        self._verbs: dict[str, tuple[memoryview[float], Histogram]] = {}
        self._losses = self._new_row(("losses",), 3)
        self._claims = Histogram(self._new_row(("claims",), width(SIZES)), 0, SIZES)
        self._settles = Histogram(self._new_row(("settles",), width(SIZES)), 0, SIZES)
        self._lag = Histogram(self._new_row(("lag",), width(SHORT_TIMES)), 0, SHORT_TIMES)
        self._now = self._new_row(NOW, 3)

    def _new_row(self, name: Name, size: int) -> memoryview[float]:
        """A row of the tally; or, if that has no room, one that nobody reads."""
        with self._lock:
            row = None if self._closed else self._tally.lend_row(name, size)
            if row is None:
                return memoryview(array("d", [0.0] * size))
            self._rows.append((name, row))
            return row

    def _new_task(self, task: str, queue: str) -> memoryview[float]:
        return self._new_row(("task", task, queue), TASK_WIDTH)

    def _of(self, task: str, queue: str) -> memoryview[float]:
        found = self._tasks.get((task, queue))
        if found is None:
            if task not in self._known and task != UNKNOWN:
                return self._of(UNKNOWN, queue)
            if len(self._tasks) >= MOST_TASKS:
                return self._others
            found = self._tasks[task, queue] = self._new_task(task, queue)
        return found

    def close(self) -> None:
        """Count no more; what was counted stays, and the next worker of the tally goes on from there."""
        self._count(self.ended, RUNS)
        self.ended.clear()
        self.show(0, 0, 0)
        with self._lock:
            self._closed = True
            self._tally.give_back(self._rows)
            self._rows.clear()

    def claimed(self, jobs: Sequence[ClaimedJob]) -> None:
        """Count jobs that came with one claim."""
        self._claims.add(len(jobs))
        now = self._clock()
        first = [job for job in jobs if job.token == 1]  # one that was given back waits no second time
        waits = [(job, CLAIMED, wait / SECOND if (wait := now - job.enqueued_at) > 0 else 0.0) for job in first]
        self._count(waits, WAITS)

    def _count(self, entries: Iterable[tuple[ClaimedJob, int, float]], histogram: int) -> None:
        """Count jobs, each in the row of its task: where the number says, and by its seconds in a histogram.

        This is done for each job. As a rule many in a row are alike, and those are counted together.
        """
        row, task, queue, what = self._others, "", "", 0
        lower = upper = seconds = total = 0.0
        bucket = histogram
        count = 0
        for job, its, seconds in entries:
            if its != what or job.task != task or job.queue != queue or not lower < seconds <= upper:
                row[what] += count
                row[bucket] += count
                row[histogram + _SUM] += total
                count, total = 0, 0.0
                task, queue, what = job.task, job.queue, its
                row = self._of(task, queue)
                place = bisect_left(TIMES, seconds)
                lower, upper, bucket = _LOWER[place], _UPPER[place], histogram + place
            count += 1
            total += seconds
        row[what] += count
        row[bucket] += count
        row[histogram + _SUM] += total

    def did_not_run(self, job: ClaimedJob, outcome: Outcome) -> None:
        """Count an attempt that ended before it began."""
        self._of(job.task, job.queue)[outcome] += 1.0

    def settled(self, batch: Sequence[Settlement], answers: Sequence[Settled]) -> None:
        """Count what the store has heard in one call."""
        self._count(self.ended, RUNS)
        self.ended.clear()
        self._settles.add(len(batch))
        self._losses[0] += answers.count(Settled.LOST)

    def lost(self) -> None:
        """Count a job that the store has taken away while it ran."""
        self._losses[0] += 1

    def revoked(self) -> None:
        """Count a session that was over before the worker had stopped."""
        self._losses[1] += 1

    def took_back(self, jobs: int) -> None:
        """Count jobs that this worker has taken back from sessions that were lost."""
        self._losses[2] += jobs

    def turned(self, seconds: float) -> None:
        """Count how late the event loop came to do what it was asked to."""
        self._lag.add(seconds)

    def show(self, slots: int, held: int, memory: int) -> None:
        """Say how it is now; ``memory`` in bytes."""
        self._now[0], self._now[1], self._now[2] = slots, held, memory

    def asked(self, verb: str, seconds: float, *, failed: bool) -> None:
        """Count a call of the store. Callable from any thread."""
        known = self._verbs.get(verb)
        if known is None:
            row = self._new_row(("verb", verb), 1 + width(SHORT_TIMES))
            known = self._verbs.setdefault(verb, (row, Histogram(row, 1, SHORT_TIMES)))
        with self._lock:
            if not self._closed:
                row, histogram = known
                histogram.add(seconds)
                row[0] += failed

    def timed(self, store: Store) -> Store:
        """The same store, whose verbs are counted; those of its twins too."""
        return cast("Store", _TimedStore(store, self))


class _TimedStore(WrappedStore):
    def __init__(self, store: Store, counts: Counts) -> None:
        super().__init__(store)
        self._counts = counts

    def twin(self) -> Store:
        """See `Store.twin`."""
        return self._counts.timed(self._store.twin())

    def around(self, name: str, verb: Verb) -> Verb:
        """Time it."""

        async def timed(*args: Any, **kwargs: Any) -> Any:
            began = time.monotonic()
            failed = False
            try:
                return await verb(*args, **kwargs)
            except (StoreError, TimeoutError):
                failed = True
                raise
            finally:
                self._counts.asked(name, time.monotonic() - began, failed=failed)

        return timed
