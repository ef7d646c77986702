"""The store of a harness: in memory; it remembers what was enqueued, and says so when somebody waits in vain."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from windlass.core.clock import HOUR, MINUTE, Instant
from windlass.core.errors import ResultTimeout
from windlass.core.ids import to_text
from windlass.core.lifecycle import State
from windlass.core.model import Edge, EnqueueAnswer, Enqueued, EnqueueResult, NewJob, Session
from windlass.core.records import JobRecord, JobResult
from windlass.core.remote import decode_error
from windlass.core.schedules import FireAnswer, FireStatus, Firing
from windlass.store.port import Store, Subscription
from windlass.testing.clock import VirtualClock, seconds_of
from windlass.testing.crashes import in_attempt
from windlass.testing.faulty import Fault, FaultyStore


class NothingRuns(ResultTimeout):
    """Somebody waits for a job that nobody is going to run: the test has to run it first.

    It is a `ResultTimeout`, so that code which waits for some time only does as it would do if the time were over.
    """


@dataclass(slots=True)
class Watched:
    """What all store objects of one harness know together. Changed under its lock."""

    clock: VirtualClock
    lock: threading.Lock = field(default_factory=threading.Lock)
    enqueued: dict[bytes, NewJob] = field(default_factory=dict)
    """What was stored, in this order."""
    lanes: dict[tuple[str, str], None] = field(default_factory=dict)
    """Where, in the order of first use."""
    driving: int = 0
    """Calls of the harness that run jobs just now."""
    workers: set[bytes] = field(default_factory=set)
    """Sessions of real workers that the test has started."""
    awaited_by_jobs: set[bytes] = field(default_factory=set)
    """Jobs that a running job has begun to wait for."""

    def remember(self, jobs: Sequence[NewJob], answers: Sequence[EnqueueAnswer]) -> None:
        """Note what was stored, each job once."""
        with self.lock:
            for job, said in zip(jobs, answers, strict=True):
                if said.status is Enqueued.STORED:
                    self.enqueued.setdefault(job.id, job)
                    self.lanes.setdefault((job.queue, job.requires))


class WatchedStore(FaultyStore):
    """One store object of a harness."""

    def __init__(self, inner: Store, watched: Watched) -> None:
        super().__init__(inner, lambda _verb: Fault.NONE)
        self._watched = watched

    def twin(self) -> Store:
        return WatchedStore(self.inner.twin(), self._watched)

    async def enqueue(
        self, jobs: Sequence[NewJob], edges: Sequence[Edge] = (), *, first_sent: Instant
    ) -> EnqueueResult:
        answer = await super().enqueue(jobs, edges, first_sent=first_sent)
        self._watched.remember(jobs, answer.jobs)
        return answer

    async def fire(self, firings: Sequence[Firing]) -> list[FireAnswer]:
        answers = await super().fire(firings)
        for firing, answer in zip(firings, answers, strict=True):
            if answer.status is FireStatus.FIRED:
                self._watched.remember(firing.jobs, answer.jobs)
        return answers

    async def open(self, session: Session) -> None:
        await super().open(session)
        self._watched.workers.add(session.id)

    async def close(self, session: bytes) -> None:
        await super().close(session)
        self._watched.workers.discard(session)

    def subscribe(self, channels: Collection[str], wake: Callable[[], None]) -> Subscription:
        watched = self._watched
        for channel in channels:
            kind, _, name = channel.partition("/")
            if kind == "finished" and in_attempt():
                watched.awaited_by_jobs.add(bytes.fromhex(name))
            elif kind in ("ready", "scheduled", "schedules"):
                watched.clock.on_move(_calling(asyncio.get_running_loop(), wake))
        return super().subscribe(channels, wake)

    async def results(self, ids: Sequence[bytes]) -> list[JobResult | None]:
        found = await super().results(ids)
        if not self._watched.workers:
            for job_id, result in zip(ids, found, strict=True):
                if result is None and (not self._watched.driving or job_id in self._watched.awaited_by_jobs):
                    await self._refuse_to_wait(job_id)
        return found

    async def _refuse_to_wait(self, job_id: bytes) -> None:
        record = (await self.get_jobs([job_id]))[0]
        if record is None:
            return  # whoever waits finds out
        name = f"job {to_text(job_id)} of task {record.task!r}"
        if job_id in self._watched.awaited_by_jobs:
            raise NothingRuns(
                f"a job waits for {name}, and a harness runs one job after the other; "
                "for jobs that wait for each other start a real worker in the test: async with app.worker()"
            )
        raise NothingRuns(f"{name} {_standing(record, self._watched.clock())}")


def _calling(loop: asyncio.AbstractEventLoop, wake: Callable[[], None]) -> Callable[[], None]:
    def call() -> None:
        try:
            loop.call_soon_threadsafe(wake)
        except RuntimeError:
            pass  # the loop has ended, and whoever slept on it

    return call


def _standing(record: JobRecord, now: Instant) -> str:
    """Say where an unfinished job stands, and what would run it."""
    if record.state is State.READY:
        return "is ready, and nothing runs it: await harness.run() before you ask for its result, or use inline mode"
    if record.state is State.SCHEDULED and record.due_at is not None:
        left = record.due_at - now
        span = f"seconds={-(-left // 1_000_000)}" if left < 10 * MINUTE else f"hours={-(-left // HOUR)}"
        return f"is due in {seconds_of(left)}{_why(record)}: await harness.run_for({span}), or run_until_idle()"
    return f"is {record.state.word}, and nothing that the harness does will change that"


def _why(record: JobRecord) -> str:
    if not record.errors or not record.failures:
        return ""
    error = decode_error(record.errors[-1])
    return f", after attempt {record.attempt} failed ({error.type}: {error.message})"
