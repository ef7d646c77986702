"""A worker: one session after the other, its slots, and the services around them."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import random
import socket
import time
from collections.abc import Mapping, Sequence

from windlass.context import Middleware
from windlass.core.clock import SECOND
from windlass.core.errors import SchemaMismatch, StoreError, UsageError
from windlass.core.ids import to_text
from windlass.core.model import (
    DRAIN,
    STOP,
    ClaimAnswer,
    ClaimedJob,
    ClaimRequest,
    Refusal,
    Session,
    Settled,
    Settlement,
)
from windlass.core.task import TaskSpec
from windlass.engine.attempt import EndReason
from windlass.engine.claimer import Claimer
from windlass.engine.config import WorkerConfig
from windlass.engine.counted_lanes import CountedLanes
from windlass.engine.counts import Counts
from windlass.engine.heartbeat import Heartbeat, Pulse
from windlass.engine.holding import Holding
from windlass.engine.janitor import Janitor
from windlass.engine.lag import LoopWatch
from windlass.engine.lane_finder import LaneFinder
from windlass.engine.lanes import WorkerLanes
from windlass.engine.minutes import Minutes, by_this_machine
from windlass.engine.process_pool.place import check_no_worker_starts_here
from windlass.engine.pump import Pump, log_lost
from windlass.engine.recycling import Successor, Wear, resident_memory
from windlass.engine.runner import Runner
from windlass.engine.scheduler import Scheduler
from windlass.engine.service import Service
from windlass.engine.signals import SILENT, Signals
from windlass.engine.suspects import SuspectTurn
from windlass.engine.vitals import Vitals
from windlass.store.port import Store, Subscription

log = logging.getLogger("windlass.engine")

POLL = 1.0
"""Seconds between looks for work when no hint comes."""
LAST_WORDS = 5.0
"""Seconds that a stopping worker waits for a store that does not answer."""
COURTESY = 1.0
"""Seconds for which attempts that were cancelled at the end of the grace time may clean up."""


class WorkerDown(Exception):
    """A task has cancelled what is the worker's."""


class Worker:
    """Claims jobs from a store and runs them, until stopped. It works through a twin of the store, of its own, so that
    nobody closes the store under it.

    ``start`` returns when the first session is open; ``stop`` is described there; ``wait`` returns when the worker has
    stopped. A worker belongs to the event loop on which it is started, and cannot be started twice.
    """

    def __init__(
        self,
        store: Store,
        tasks: Mapping[str, TaskSpec],
        config: WorkerConfig,
        middleware: Sequence[Middleware] = (),
        signals: Signals = SILENT,
    ) -> None:
        self._counts = None if config.tally is None else Counts(config.tally, tasks, by_this_machine)
        self._store = store.twin() if self._counts is None else self._counts.timed(store.twin())
        self._tasks = tasks
        self._config = config
        self._middleware = middleware
        self._signals = signals
        self._slots = 1 if config.alone else config.concurrency
        self._lease = store.settings.lease / SECOND
        self._holding = Holding()
        self._revoked = False
        self._stopping = False
        self._hurry = asyncio.Event()
        self._stopped = asyncio.Event()
        self._finishing = False
        """Nothing runs any more; what is in the outbox goes, then the claim loop ends."""
        self._obeyed: set[str] = set()
        self._retry_at = math.inf
        """When a rate lets something start that the last claim did not get, on the monotonic clock."""
        self._session_hints: Subscription | None = None
        self._services: list[Service] = []
        self._lease_guard: asyncio.TimerHandle | None = None
        self._stop_task: asyncio.Task[None] | None = None
        self._mismatch: SchemaMismatch | None = None

    # ------------------------------------------------------------------------------------------ its life

    async def start(self) -> None:
        """Open a session and begin to claim. Raises `InvalidOption` if a task's hints cannot be resolved, and
        `StoreError` if the store cannot be opened; the worker is of no use then."""
        check_no_worker_starts_here()
        for spec in self._tasks.values():
            spec.signature.resolve()
            if spec.executor == "process" and self._config.place is None:
                raise UsageError(f"task {spec.name!r} wants a process, and nobody said where one finds it")
        try:
            await self._start()
        except BaseException:
            await self._store.aclose()
            self._close_counts()
            raise

    async def _start(self) -> None:
        await self._store.connect()
        self._assemble()
        await self._finder.look()
        await self._open_session()
        await self._runner.paused_runs.refresh()  # by now hints of what changes afterwards arrive
        wear = Wear(self._config.recycle, time.monotonic(), random.random())  # noqa: S311 - no secret
        self._successor = Successor(wear, self._config.on_worn, self._config.on_recycle)
        self._show_vitals()  # the heartbeat goes on with it: there is something to see before anybody looks
        self._services = [
            Service("claim", self._run),
            Service("janitor", self._janitor.run),
            Service("scheduler", self._scheduler.run),
            Service("lanes", self._finder.run),
            Service("paused", self._runner.paused_runs.run),
            Service("minutes", self._minutes.run),
        ]
        self._heartbeat.start()
        for service in self._services:
            service.start()

    def _assemble(self) -> None:
        """Make the parts, and let them know of each other. Nothing runs yet."""
        children = self._config.children
        has_processes = any(spec.executor == "process" for spec in self._tasks.values())
        self._lanes = WorkerLanes(
            self._config.queues,
            strict=self._config.strict,
            slots=self._slots,
            process_slots=(1 if self._config.alone else children.slots) if has_processes else 0,
            counted=CountedLanes(
                self._config.queues,
                self._config.offer,
                ((spec.queue, spec.requires) for spec in self._tasks.values()),
            ),
        )
        self._finder = LaneFinder(self._store, self._config.queues, self._lanes.counted, self._serve_more)
        self._pump = Pump(
            self._store,
            lambda: self._holding,
            self._next_claim,
            self._signals,
            note_deaths=self._config.note_deaths,
        )
        self._runner = Runner(
            self._tasks,
            slots=self._slots,
            lanes=self._lanes,
            settle=self._pump.outbox.add,
            sink=self._pump.notes,
            store=self._store,
            middleware=self._middleware,
            children=children,
            place=self._config.place,
            counts=self._counts,
            traced=self._config.traced,
        )
        self._janitor = Janitor(self._store, self._signals, self._counts)
        self._scheduler = Scheduler(self._store, self._signals, self._config.schedules)
        self._pump.take = self._take
        self._minutes = Minutes(self._store, by_this_machine)
        self._pump.heard = self._settled
        self._pump.more_edges = self._janitor.edges_waiting
        self._suspects = SuspectTurn(self._config)
        self._claimer = Claimer(self._lanes, self._suspects, self._runner, self._pump)
        self._claimer.was_misled = self._finder.hurry
        self._watch = LoopWatch(self._config.lag_warning, self._show_vitals, on_turn=self._turned)
        self._heartbeat = Heartbeat(
            self._store,
            lambda: self._holding,
            self._watch,
            on_renewal=self._renewed,
            is_lost=self._is_lost,
            on_hung=self._config.on_hung,
        )

    async def stop(self, grace: float | None = None) -> None:
        """Stop claiming, let running attempts go on for ``grace`` seconds (``None``: as configured), give the rest
        back, and end the session. With ``math.inf`` all that is held is run, however long that takes. A second call,
        with a shorter grace, hurries the first one up, and so does a cancellation: the worker is stopped in any case
        when this returns or raises."""
        grace = self._config.grace if grace is None else grace
        if not self._services:
            self._stopped.set()
            return
        self._begin_stop(grace)
        assert self._stop_task is not None
        try:
            await asyncio.shield(self._stop_task)
        except asyncio.CancelledError:
            self._hurry.set()
            await asyncio.wait({self._stop_task})
            raise

    def _begin_stop(self, grace: float) -> None:
        loop = asyncio.get_running_loop()
        if self._stop_task is None:
            self._stop_task = loop.create_task(self._stop(grace), name="windlass-stop")
        elif grace < math.inf:
            self._start_nothing()
            loop.call_later(grace, self._hurry.set)

    async def _stop(self, grace: float) -> None:
        self._stopping = True
        held = len(self._holding.held)
        if grace == math.inf:
            log.info("stopping: %d jobs held, which may take as long as they like", held)
        else:
            log.info("stopping: %d jobs held, %.0f s of grace", held, grace)
            self._start_nothing()
        self._pump.wake()
        await self._first(self._runner.became_idle, self._hurry, timeout=grace)
        await self._end_running()
        await self._say_goodbye()
        self._stopped.set()
        log.info("stopped")

    def _start_nothing(self) -> None:
        self._runner.paused = True
        self._runner.give_back_buffer()

    @property
    def store(self) -> Store:
        """The worker's own store object, open from `start` to the end of `stop`."""
        return self._store

    async def wait(self) -> None:
        """Wait until the worker has stopped. Raises `SchemaMismatch` if it stopped because the store was migrated, and
        `WorkerDown` if a task has cancelled what is the worker's."""
        waits: list[asyncio.Future[object]] = [asyncio.ensure_future(self._stopped.wait())]
        waits += [asyncio.ensure_future(service.wait()) for service in self._services]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            if self._is_down():
                raise WorkerDown
            await self._stopped.wait()
        finally:
            for wait in waits:
                wait.cancel()
        if self._mismatch is not None:
            raise self._mismatch

    def _is_down(self) -> bool:
        """Whether somebody has cancelled a service."""
        return not self._stopping and any(service.ended for service in self._services)

    async def _end_running(self) -> None:
        """Cancel what runs; what does not end at once is given back in its absence."""
        if self._runner.idle:
            return
        self._runner.end_all(EndReason.SHUTDOWN)
        await self._first(self._runner.became_idle, timeout=COURTESY)
        self._runner.give_back_running()

    async def _say_goodbye(self) -> None:
        """Bring the last outcomes home, end the services, close the session: releases are the last writes."""
        claiming, *others = self._services
        self._finishing = True
        self._pump.wake()
        patience = LAST_WORDS if self._mismatch is None else 0.0
        await asyncio.wait({asyncio.ensure_future(claiming.wait())}, timeout=patience)
        await claiming.stop()
        for service in others:
            await service.stop()
        await self._heartbeat.stop()
        if self._lease_guard is not None:
            self._lease_guard.cancel()
        self._unsubscribe()
        try:
            async with asyncio.timeout(LAST_WORDS):
                await self._minutes.write()
                await self._store.close(self._holding.session)
        except (StoreError, TimeoutError) as error:
            log.warning("the session could not be closed (%s); its jobs come back when its lease is over", error)
        await self._runner.aclose()
        await self._store.aclose()
        self._close_counts()

    async def abandon(self) -> None:
        """End everything here, as far as that is possible, and say nothing to the store: for a worker that something
        has brought down. Its session is reaped like that of a dead process. Idempotent."""
        if self._stop_task is not None:
            self._stop_task.cancel()
            await asyncio.wait({self._stop_task})
        for service in self._services:
            await service.stop()
        self._runner.end_all(EndReason.LOST)
        if self._lease_guard is not None:
            self._lease_guard.cancel()
        await self._heartbeat.stop()
        self._unsubscribe()
        await self._runner.aclose()
        await self._store.aclose()
        self._close_counts()
        self._stopped.set()

    def _close_counts(self) -> None:
        if self._counts is not None:
            self._counts.close()

    @staticmethod
    async def _first(*events: asyncio.Event, timeout: float) -> None:
        """Wait until one of the events is set, or for ``timeout`` seconds."""
        waits = [asyncio.ensure_future(event.wait()) for event in events]
        until = None if timeout == math.inf else timeout
        try:
            await asyncio.wait(waits, timeout=until, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    # ------------------------------------------------------------------------------------------- sessions

    async def _open_session(self) -> None:
        sent_at = time.monotonic()
        await self._store.open(self._session())
        self._extend_lease(sent_at)
        self._subscribe()
        self._signals.emit("opened")

    def _session(self) -> Session:
        return Session(
            id=self._holding.session,
            node=socket.gethostname(),
            pid=os.getpid(),
            lanes=self._lanes.all(),
            tasks=tuple(sorted(self._tasks)),
            version=self._config.version,
            slots=self._slots,
            alone=self._config.alone,
            supervisor=self._config.supervisor,
            offer=str(self._config.offer),
        )

    async def _serve_more(self) -> None:
        """There are lanes that nobody had told this worker of: say that it serves them, and look."""
        if not (self._revoked or self._stopping):
            await self._store.open(self._session())
            self._claimer.hint()

    def _subscribe(self) -> None:
        self._unsubscribe()
        self._claimer.subscribe(self._store, self._config.queues)
        session = [f"session/{self._holding.session.hex()}"]
        self._session_hints = self._store.subscribe(session, self._heartbeat.poke)

    def _unsubscribe(self) -> None:
        self._claimer.unsubscribe()
        if self._session_hints is not None:
            self._session_hints.close()

    async def _reopen(self) -> None:
        """The session is over: drop what it held, and begin a new one. What is finished may still be accepted."""
        self._runner.end_all(EndReason.LOST)
        waiting = self._pump.outbox.waiting
        while batch := self._pump.outbox.next_batch():
            answers = (await self._store.settle(self._holding.session, batch)).answers
            del waiting[: len(batch)]
            self._settled(batch, answers)
            log_lost(batch, answers)
        self._holding = Holding()
        await self._open_session()
        self._revoked = False
        self._heartbeat.poke()

    def _renewed(self, pulse: Pulse) -> None:
        """Hear from the heartbeat, on the loop."""
        renewal = pulse.renewal
        if pulse.holding is not self._holding:
            return
        if renewal is None:
            self._unanswered(pulse)
            return
        if renewal.revoked:
            self._revoke()
            return
        self._extend_lease(pulse.sent_at)
        if self._runner.paused and not self._stopping:
            self._runner.paused = False
            self._runner.fill()
            self._claimer.hint()
        for job_id in renewal.lost:
            self._drop(job_id, pulse.held.get(job_id, -1))
        for job_id in renewal.cancel:
            self._runner.end(job_id, EndReason.CANCEL)
        self._janitor.take_duty(renewal.duty)
        self._scheduler.take_duty(renewal.duty)
        if self._suspects.hear(renewal.suspects, time.monotonic(), duty=renewal.duty):
            self._pump.wake()
        for command in renewal.commands:
            self._obey(command)
        now = time.monotonic()
        self._successor.ask_if_stuck(self._runner.stuck(now), self._slots, now)
        if not self._stopping:
            self._successor.ask_if_worn(self._pump.settled, now)
        self._signals.emit("renewed")

    def _unanswered(self, pulse: Pulse) -> None:
        self._runner.paused = True
        if pulse.mismatch is not None:
            self._was_migrated(pulse.mismatch)

    def _was_migrated(self, mismatch: SchemaMismatch) -> None:
        """Stop: what runs here can be settled no more, and comes back to the workers of the other version when the
        lease is over."""
        if self._mismatch is None:
            log.error("the store was migrated: %d attempts are cancelled", len(self._runner.running))
            self._mismatch = mismatch
            self._begin_stop(0.0)

    def _show_vitals(self) -> None:
        """Called in the heartbeat's thread."""
        if self._config.on_vitals is not None:
            self._config.on_vitals(
                Vitals(
                    ticked_at=self._watch.ticked_at,
                    answered_at=self._heartbeat.answered_at,
                    turned_at=self._pump.last_trip_at,
                    claimed_at=self._pump.claimed_at,
                    lease=self._lease,
                    held=len(self._holding.held),
                    slots=self._slots,
                    stopping=self._stopping,
                )
            )

    def _turned(self, seconds: float) -> None:
        """The loop has done what it was asked to, so many seconds later."""
        if self._counts is not None:
            self._counts.turned(seconds)
            self._counts.show(self._slots, len(self._holding.held), resident_memory())

    def _drop(self, job_id: bytes, token: int) -> None:
        """Cancel what the store says is lost, unless it went home, or was claimed anew, while the renewal travelled."""
        if self._holding.held.get(job_id) != token or any(out.id == job_id for out in self._pump.outbox.waiting):
            return
        log.warning("job %s was lost: its attempt is cancelled", to_text(job_id))
        self._runner.end(job_id, EndReason.LOST)
        del self._holding.held[job_id]
        if self._counts is not None:
            self._counts.lost()

    def _obey(self, command: str) -> None:
        """Carry out a command, once: each comes with every renewal."""
        if command in self._obeyed:
            return
        self._obeyed.add(command)
        grace = {DRAIN: math.inf, STOP: self._config.grace}.get(command)
        if grace is None:
            log.warning("told to %s, which this version does not know", command)
            return
        log.info("told to %s", command)
        if self._config.on_told is not None:
            self._config.on_told()
        self._begin_stop(grace)

    def _revoke(self) -> None:
        if not self._revoked:
            log.warning("the session was revoked: %d attempts are cancelled", len(self._runner.running))
            if self._counts is not None:
                self._counts.revoked()
        self._revoked = True
        self._runner.paused = True
        self._runner.end_all(EndReason.LOST)
        self._pump.wake()

    def _extend_lease(self, sent_at: float) -> None:
        """Guard the new end of the lease: at that time, on this clock, every attempt must be over."""
        if self._lease_guard is not None:
            self._lease_guard.cancel()
        loop = asyncio.get_running_loop()
        left = sent_at + self._lease - time.monotonic()
        self._lease_guard = loop.call_later(max(0.0, left), self._lease_over)

    def _lease_over(self) -> None:
        if self._heartbeat.answered_at + self._lease > time.monotonic():
            # Only this loop was late: the heartbeat's thread has renewed it, and what it heard waits to be told.
            self._extend_lease(self._heartbeat.answered_at)
            return
        log.error("the lease could not be renewed in time: %d attempts are cancelled", len(self._runner.running))
        self._signals.emit("lease-over")
        self._runner.paused = True
        self._runner.give_back_buffer()
        self._runner.end_all(EndReason.LEASE)

    def _is_lost(self, now: float) -> str | None:
        """Say why the worker is of no more use, if it is not. Called in the heartbeat's thread."""
        if self._is_down():
            return "a task has cancelled what is the worker's"
        if now - self._watch.ticked_at >= self._lease and self._has_overdue(now):
            return "the event loop is hung while a job is past its timeout"
        return None

    def _has_overdue(self, now: float) -> bool:
        """Whether an attempt is past its timeout and grace."""
        try:
            running = list(self._runner.running.values())
        except RuntimeError:
            return False  # it changed just now: the loop lives
        overdue = now - self._config.grace
        return any(attempt.deadline is not None and attempt.deadline < overdue for attempt in running)

    # ------------------------------------------------------------------------------------------- claiming

    async def _run(self) -> None:
        pump = self._pump
        while not (self._finishing and not pump.outbox.waiting and self._holding.unanswered is None):
            if self._revoked:
                try:
                    await self._reopen()
                except StoreError as error:
                    log.warning("no new session could be opened: %s", error)
                    await asyncio.sleep(POLL)
                    continue
            await self._runner.paused_runs.catch_up()
            answer = await pump.trip()
            if answer is not None:
                self._heard(answer)
                if answer.jobs:
                    await asyncio.sleep(0)  # what ends at its first step goes with the next claim, not after it
            await self._heed_pauses()
            if pump.settled >= self._successor.jobs and not self._stopping:
                self._successor.ask_if_worn(pump.settled, time.monotonic())
            if pump.outbox.waiting or self._revoked or (answer is not None and self._claimer.look):
                continue
            if not self._stopping and self._claimer.became_free(self._holding):
                continue
            await self._sleep()

    async def _heed_pauses(self) -> None:
        """Between two trips: let go what was put back for a pause that is over, and give back what is paused by now."""
        if self._runner.paused_runs.put_back:
            await self._runner.paused_runs.let_go()
        if self._claimer.limits_changed:
            await self._claimer.give_back_paused(self._store)

    def _heard(self, answer: ClaimAnswer) -> None:
        """Draw the conclusions from the answer to a claim."""
        self._retry_at = math.inf if answer.retry_in is None else time.monotonic() + answer.retry_in / SECOND
        if answer.refused in (Refusal.REVOKED, Refusal.UNKNOWN_SESSION):
            self._revoke()
        elif self._claimer.hear(answer):
            self._begin_stop(self._config.grace)

    async def _sleep(self) -> None:
        pause = min(POLL, max(0.001, self._retry_at - time.monotonic()))
        self._signals.emit("idle")
        if await self._pump.sleep(pause):
            self._claimer.look = True

    def _settled(self, batch: list[Settlement], answers: list[Settled]) -> None:
        self._runner.inputs.settled(batch, answers)
        self._runner.paused_runs.settled(batch, answers)
        self._minutes.settled(batch, answers)
        if self._counts is not None:
            self._counts.settled(batch, answers)

    def _take(self, jobs: list[ClaimedJob]) -> None:
        self._runner.take(jobs)
        self._minutes.claimed(jobs)
        if self._counts is not None:
            self._counts.claimed(jobs)
        if self._stopping and self._runner.paused:  # the claim was under way when the worker was told to stop
            self._runner.give_back_buffer()

    def _next_claim(self) -> ClaimRequest | None:
        if self._stopping or self._revoked:
            return None
        return self._claimer.next_claim(self._holding, free_ride=bool(self._pump.outbox.waiting))
