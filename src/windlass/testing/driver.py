"""What a worker and a janitor do, one step at a time and one job after the other, for one call of a harness."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, cast

from windlass.client import Client
from windlass.core.clock import Instant, Span
from windlass.core.definition import Definition
from windlass.core.errors import JobLost, UnknownTask, UsageError, WindlassError
from windlass.core.ids import new_id, to_text
from windlass.core.lifecycle import Outcome, State
from windlass.core.model import KEEP_DEAD, MAX_LANES, ClaimedJob, ClaimRequest, Lane, Session, Settled, Settlement
from windlass.core.remote import decode_error, rebuild_error
from windlass.core.steps import is_step
from windlass.engine.attempt import rejected, undeliverable
from windlass.engine.inputs import filled
from windlass.engine.scheduler import Scheduler
from windlass.engine.signals import SILENT
from windlass.job import Job
from windlass.store.port import Store
from windlass.testing.crashes import CrashPoints
from windlass.testing.performing import Performance
from windlass.testing.watched import Watched, WatchedStore

AttemptOutcome: TypeAlias = Literal[
    "succeeded", "retry", "dead", "snoozed", "cancelled", "released", "undeliverable", "crashed", "lost"
]


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """One attempt that a harness ran."""

    job: Job[Any]
    task: str
    """The task's name."""
    attempt: int
    """Its number, from 1."""
    outcome: AttemptOutcome
    """``crashed``: the worker died in it, because the test wanted so. ``undeliverable``: the arguments do not fit the
    task, or there is no such task."""
    error: BaseException | None = None
    """What the task raised, itself."""

    def __str__(self) -> str:
        said = "" if self.error is None else f" ({type(self.error).__name__}: {self.error})"
        return f"#{self.attempt} {self.outcome}{said}"


class Driver:
    """The steps. Between `next` and `end` somebody runs what `next` gave.

    Args:
        client: of the app.
        watched: what the harness's stores know.
        points: where workers die.
        queues: leave all others alone; ``None``: none.
        most: attempts after which this call is taken for endless.
        schedules: what the app declares. They are made, and fire, where time passes up to an instant.
    """

    def __init__(
        self,
        client: Client,
        watched: Watched,
        points: CrashPoints,
        *,
        queues: Collection[str] | None,
        most: int,
        schedules: Mapping[str, Definition],
    ) -> None:
        self._client = client
        self._schedules = schedules
        self._scheduler: Scheduler | None = None
        self._watched = watched
        self._points = points
        self._queues = queues
        self._most = most
        self._steps = 0
        self.until: Instant | None = 0
        """Let time pass up to this instant, whenever nothing is ready; ``None``: until nothing is left."""
        self.records: list[AttemptRecord] = []
        self.deaths: list[BaseException] = []
        """What killed the jobs that died."""

    async def next(self) -> Performance | None:
        """Claim the next job that can run; let time pass for it if need be. ``None``: there is no more to do."""
        store = await self._store()
        while True:
            self._count()
            fires_at = await self._fire()
            due = await self._promote(store)
            job, session, retry_at = await self._claim(store)
            if job is not None:
                performance = await self._prepare(store, session, job)
                if performance is not None:
                    return performance
            elif not self._let_time_pass(min((at for at in (fires_at, due, retry_at) if at is not None), default=None)):
                return None

    def _count(self) -> None:
        self._steps += 1
        if self._steps > self._most:
            last = f"{self.records[-1].task} {self.records[-1]}" if self.records else "nothing"
            raise UsageError(
                f"a call of the harness has made {self._most} steps, and there is still more to do (last: {last}): "
                "does a job enqueue itself, or snooze, for ever? Then use run_for(...); "
                "if there really are so many jobs, Harness(app, max_steps=...)"
            )

    async def _store(self) -> Store:
        """The harness's store on this loop, unwatched: who claims here is no worker of the test's own."""
        return cast("WatchedStore", (await self._client.opened()).store).inner

    # ---------------------------------------------------------------------------------------------- time

    async def _fire(self) -> Instant | None:
        """Fire what is due now, if time is to pass; answer when the next schedule is due."""
        if self.until is None or (self.until <= self._watched.clock() and self._scheduler is None):
            return None
        if self._scheduler is None:
            self._scheduler = Scheduler((await self._client.opened()).store, SILENT, self._schedules)
        return (await self._scheduler.fire_due()).next_at

    async def _promote(self, store: Store) -> Instant | None:
        """Do what is due now; answer when the next job is."""
        while True:
            while (await store.release_edges()).more:
                pass
            progress = await store.promote()
            if not progress.done and not progress.more:
                return progress.next_at

    def _let_time_pass(self, due: Instant | None) -> bool:
        """Go on to the next instant at which something happens, or to the end; say whether there was time to pass."""
        clock, until = self._watched.clock, self.until
        if due is not None and (until is None or due <= until or due <= clock.ticking()):
            clock.move_to(due)
        elif until is not None and clock() < until:
            clock.move_to(until)
        else:
            return False
        return True

    # --------------------------------------------------------------------------------------------- claims

    async def _claim(self, store: Store) -> tuple[ClaimedJob | None, bytes, Instant | None]:
        """Claim one job with a session of its own. With none: when a rate limit may let one go."""
        session = new_id()
        await store.open(Session(id=session, node=socket.gethostname(), pid=os.getpid(), slots=1))
        waits: list[Span] = []
        for number, (lanes, alone) in enumerate(self._requests(), 1):
            answer = await store.claim(session, ClaimRequest(number, lanes, alone))
            if answer.jobs:
                return answer.jobs[0], session, None
            if answer.retry_in is not None:
                waits.append(answer.retry_in)
        await store.close(session)
        return None, session, self._watched.clock() + min(waits) if waits else None

    def _requests(self) -> Sequence[tuple[tuple[Lane, ...], bool]]:
        with self._watched.lock:
            known = list(self._watched.lanes)
        lanes = [Lane(queue, need, 1) for queue, need in known if self._queues is None or queue in self._queues]
        parts = [tuple(lanes[start : start + MAX_LANES]) for start in range(0, len(lanes), MAX_LANES)]
        return [(part, alone) for alone in (False, True) for part in parts]

    async def _prepare(self, store: Store, session: bytes, job: ClaimedJob) -> Performance | None:
        """Make arguments of the payload again, as a worker does, or put the job back."""
        spec = self._client.tasks.get(job.task)
        try:
            if spec is None:
                raise UnknownTask(f"task {job.task!r} is not registered with this app")
            filled_in = await filled(store, job, spec)
            if isinstance(filled_in, Settlement):
                await self._settle(store, session, job, filled_in, None)
                return None
            job = filled_in
            arguments = spec.signature.decode(job.payload, filled=is_step(job.options))
        except WindlassError as error:
            settlement = (
                undeliverable(job, error, hopeless=False, keep_dead=KEEP_DEAD)
                if spec is None
                else rejected(job, spec, error)
            )
            await self._settle(store, session, job, settlement, error)
            return None
        return Performance(session, job, spec, arguments, points=self._points, middleware=self._client.middleware)

    # ------------------------------------------------------------------------------------------------ ends

    async def end(self, performance: Performance) -> None:
        """Tell the store what came of it; or, if the worker died, have the job taken back at once."""
        store = await self._store()
        job = performance.attempt.job
        if performance.crashed:
            await self._reap(store, performance.session)
            await self._record(store, job, "crashed")
        elif performance.settlement is None:
            await store.close(performance.session)  # the test was cancelled: the job is given back
        else:
            if performance.notes.said is not None:
                await store.annotate(performance.session, [performance.notes.said])
            await self._settle(store, performance.session, job, performance.settlement, performance.error)

    async def _settle(
        self, store: Store, session: bytes, job: ClaimedJob, settlement: Settlement, error: BaseException | None
    ) -> None:
        answer = (await store.settle(session, [settlement])).answers[0]
        await store.close(session)
        outcome = "lost" if answer is Settled.LOST else settlement.outcome.name.lower()
        await self._record(store, job, cast("AttemptOutcome", outcome), error, settlement)

    async def _reap(self, store: Store, session: bytes) -> None:
        """Let the lease of a dead worker run out, and take back what it held."""
        self._watched.clock.move_to(self._watched.clock() + store.settings.lease)
        signs = [sign for sign in await store.observe() if sign.id == session]
        while (await store.reap(signs)).more:
            pass

    async def _record(
        self,
        store: Store,
        job: ClaimedJob,
        outcome: AttemptOutcome,
        error: BaseException | None = None,
        settlement: Settlement | None = None,
    ) -> None:
        spec = self._client.tasks.get(job.task)
        handle: Job[Any] = Job(self._client, job.id, spec)
        self.records.append(AttemptRecord(handle, job.task, job.attempt, outcome, error))
        if outcome == "crashed" or (settlement is not None and settlement.outcome is Outcome.DEAD):
            found = (await store.get_jobs([job.id]))[0]
            if found is not None and found.state is State.DEAD:
                self.deaths.append(_cause(job, error, None if settlement is None else settlement.error, spec))


def _cause(job: ClaimedJob, error: BaseException | None, record: bytes | None, spec: Any) -> BaseException:
    """What to raise for a dead job: what the task raised, unless raising that would end more than the test."""
    name = f"job {to_text(job.id)} of task {job.task!r}"
    if record is None:
        return JobLost(f"{name} is dead: its workers died while they ran it")
    if error is None or isinstance(error, (SystemExit, KeyboardInterrupt, GeneratorExit, asyncio.CancelledError)):
        rebuilt = rebuild_error(decode_error(record), () if spec is None else spec.errors)
        rebuilt.__cause__ = error
        error = rebuilt
    error.add_note(f"{name} died of this in attempt {job.attempt}, run by windlass.testing")
    return error
