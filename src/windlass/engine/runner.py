"""Runs attempts in slots: coroutines on the loop, functions in threads, and what says so in child processes."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import os
import select
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from windlass.context import Middleware, NoteSink, set_current
from windlass.core.errors import UnknownTask, WindlassError
from windlass.core.lifecycle import Outcome
from windlass.core.model import KEEP_DEAD, ClaimedJob, Settlement
from windlass.core.options import decode_options
from windlass.core.remote import with_span
from windlass.core.signing import CALLS, HOW
from windlass.core.steps import is_step
from windlass.core.task import TaskSpec
from windlass.engine.attempt import Attempt, EndReason, rejected, released, undeliverable
from windlass.engine.counts import Counts
from windlass.engine.endings import log_ending
from windlass.engine.hooks import run_after, run_before, run_failed
from windlass.engine.inputs import Inputs
from windlass.engine.lanes import BUFFER_PATIENCE, WorkerLanes
from windlass.engine.paused_runs import PausedRuns
from windlass.engine.process_pool.config import ChildProcesses
from windlass.engine.process_pool.place import Place
from windlass.engine.process_slots import ProcessSlots
from windlass.engine.threads import ThreadSlots
from windlass.store.port import Store

log = logging.getLogger("windlass.engine")

SWEEP = 0.05
"""Seconds between looks at deadlines and at the buffer, while anything is held. One look for all attempts: a timer for
each would cost more than many tasks do."""
REMIND = 30.0
"""Seconds after its timeout for which a coroutine may clean up, before it is taken to have swallowed its cancellation
and is cancelled again."""
HEED = 2.0
"""Seconds that a function has to look at `Current.cancelled` before its thread counts as stuck."""


class Runner:
    """The slots of a worker, and the jobs that wait for one."""

    def __init__(
        self,
        tasks: Mapping[str, TaskSpec],
        *,
        slots: int,
        lanes: WorkerLanes,
        settle: Callable[[Settlement], None],
        sink: NoteSink,
        store: Store,
        middleware: Sequence[Middleware] = (),
        children: ChildProcesses | None = None,
        place: Place | None = None,
        counts: Counts | None = None,
        traced: bool = False,
    ) -> None:
        self._tasks = tasks
        self._counts = counts
        self._slots = slots
        self._lanes = lanes
        self._settle = settle
        self._sink = sink
        self._middleware = tuple(middleware)
        self._loop = asyncio.get_running_loop()
        self._pid = os.getpid()
        self._thread = threading.get_ident()
        _runners.add(self)
        self._threads = ThreadSlots(slots, self._loop)
        self._processes = self._process_slots(children, place)
        self.paused_runs = PausedRuns(store)
        self.inputs = Inputs(store, tasks, self._take, self._put_back, self.paused_runs, traced=traced)
        self._buffer: deque[tuple[ClaimedJob, float]] = deque()
        self.running: dict[bytes, Attempt] = {}
        """Job id to attempt. Read by the heartbeat's thread, too."""
        self._given_up: dict[Attempt, float] = {}
        """Attempts that nobody waits for any more, and that still occupy a slot; and since when, monotonic clock."""
        self._sweeper: asyncio.TimerHandle | None = None
        self._swept_at = 0.0
        self.became_idle = asyncio.Event()
        """Set while nothing runs and nothing waits."""
        self.became_idle.set()
        self._paused = False

    def _process_slots(self, children: ChildProcesses | None, place: Place | None) -> ProcessSlots | None:
        """Places for process tasks, if there are such tasks."""
        longest = [spec.signature.max_result for spec in self._tasks.values() if spec.executor == "process"]
        if children is None or place is None or not longest:
            return None
        return ProcessSlots(
            children,
            place,
            longest=max(longest),
            lanes=self._lanes,
            settle=self._put_back,
            begin=self._begin,
            ended=self._ended_in_child,
            sink=self._sink,
        )

    @property
    def paused(self) -> bool:
        """Start nothing: the lease is in doubt, or the worker stops."""
        return self._paused

    @paused.setter
    def paused(self, paused: bool) -> None:
        self._paused = paused
        if self._processes is not None:
            self._processes.paused = paused

    @property
    def occupied(self) -> int:
        """Slots taken here, and jobs that wait for one."""
        elsewhere = 0 if self._processes is None else self._processes.running
        waiting = len(self._buffer) + len(self.inputs.loading)
        return len(self.running) + len(self._given_up) + waiting - elsewhere

    @property
    def in_processes(self) -> int:
        """The same of child processes."""
        return 0 if self._processes is None else self._processes.occupied

    def requirements(self) -> list[str]:
        """What each job requires that runs or waits here, those included that nobody waits for any more."""
        held = [attempt.job.requires for attempt in (*self.running.values(), *self._given_up)]
        held += [job.requires for job, _ in self._buffer]
        held += [job.requires for job in self.inputs.loading.values()]
        return held if self._processes is None else held + self._processes.requirements()

    @property
    def idle(self) -> bool:
        """Whether nothing runs and nothing waits."""
        return not self.running and not self.buffered

    def stuck(self, now: float) -> int:
        """Count the slots of attempts that were asked to end a while ago, and go on."""
        asked_by = now - HEED
        overdue = sum(
            1
            for attempt in self.running.values()
            if attempt.is_in_thread and attempt.deadline is not None and attempt.deadline < asked_by
        )
        given_up = self._given_up.items()
        return overdue + sum(1 for attempt, since in given_up if since < asked_by and attempt.on_end_asked is None)

    def take(self, jobs: Sequence[ClaimedJob]) -> None:
        """Run these, each as soon as it has its arguments, and a slot is free."""
        self.became_idle.clear()
        self._take(self.inputs.fill(jobs))

    def _take(self, jobs: Sequence[ClaimedJob]) -> None:
        now = time.monotonic()
        if self._processes is None:
            self._buffer.extend([(job, now) for job in jobs])
        else:
            self._sort(jobs, now, self._processes)
        self.fill()
        self._check_idle()
        self._watch()

    def _sort(self, jobs: Sequence[ClaimedJob], now: float, processes: ProcessSlots) -> None:
        """Put each job where it waits for what it needs."""
        for job in jobs:
            spec = self._tasks.get(job.task)
            if spec is not None and spec.executor == "process":
                processes.take(job, spec, now)
            else:
                self._buffer.append((job, now))

    def fill(self) -> None:
        """Start what waits, while slots are free."""
        elsewhere = 0
        if self._processes is not None:
            self._processes.fill()
            elsewhere = self._processes.running
        free = self._slots + elsewhere - len(self.running) - len(self._given_up)
        buffer = self._buffer
        if free <= 0 or not buffer or self._paused:
            return
        now = time.monotonic()
        while buffer and free > 0:
            if self._start(buffer.popleft()[0], now):
                free -= 1

    # ----------------------------------------------------------------------------------------- starting

    def _start(self, job: ClaimedJob, now: float) -> bool:
        spec = self._tasks.get(job.task)
        if spec is None:
            message = f"task {job.task!r} is not registered with this worker"
            if job.task in CALLS.values():
                message += f"; it runs functions that are no tasks, for which the worker needs a signing key: {HOW}"
            self._refuse(job, undeliverable(job, UnknownTask(message), hopeless=False, keep_dead=KEEP_DEAD))
            return False
        try:
            args, kwargs = spec.signature.decode(job.payload, filled=is_step(job.options))
        except WindlassError as error:
            self._refuse(job, rejected(job, spec, error))
            return False
        attempt = self._begin(job, spec, now)
        if spec.executor == "async":
            attempt.task_handle = self._loop.create_task(self._run_coroutine(attempt, args, kwargs))
        else:
            self._submit(attempt, args, kwargs)
        return True

    def _refuse(self, job: ClaimedJob, settlement: Settlement) -> None:
        log_ending(job, settlement, ran=False)
        self._put_back(job, settlement)

    def _put_back(self, job: ClaimedJob, settlement: Settlement) -> None:
        """Settle a job that has not run here. One that only waited for a slot has had no attempt."""
        if self._counts is not None and settlement.outcome is not Outcome.RELEASED:
            self._counts.did_not_run(job, settlement.outcome)
        self._settle(settlement)

    def _begin(self, job: ClaimedJob, spec: TaskSpec, now: float) -> Attempt:
        """Make the attempt of a job that starts now."""
        if job.id in self.running:  # claimed anew: the store had taken it from the old attempt
            self.end(job.id, EndReason.LOST)
        options = None if job.options is None else decode_options(job.options)
        attempt = self.running[job.id] = Attempt(job, spec, options, self._sink, now)
        return attempt

    async def _run_coroutine(self, attempt: Attempt, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        set_current(attempt)
        attempt.begun = True
        error: BaseException | None = None
        try:
            if attempt.end_reason is not None:
                raise asyncio.CancelledError
            if self._middleware:
                run_before(self._middleware, attempt)
            result = await attempt.spec.function(*args, **kwargs)
            settlement = attempt.succeeded(result)
        except BaseException as raised:  # noqa: BLE001 - SystemExit in task code is a failed attempt, not our end
            error = raised
            settlement = attempt.failed(raised)
        if os.getpid() != self._pid:
            _leave_fork()
        if self._middleware:
            run_after(self._middleware, attempt, error)
        self._ended(attempt, settlement)

    def _submit(self, attempt: Attempt, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        context = contextvars.copy_context()

        def work() -> Callable[[], None]:
            settlement = context.run(self._run_function, attempt, args, kwargs)
            return lambda: self._ended(attempt, settlement)

        self._threads.submit(work)

    def _run_function(self, attempt: Attempt, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Settlement:
        set_current(attempt)
        error: BaseException | None = None
        try:
            if self._middleware:
                run_before(self._middleware, attempt)
            settlement = attempt.succeeded(attempt.spec.function(*args, **kwargs))
        except BaseException as raised:  # noqa: BLE001 - as above
            error = raised
            settlement = attempt.failed(raised)
        if os.getpid() != self._pid:
            _leave_fork()
        if self._middleware:
            run_after(self._middleware, attempt, error)
        return settlement

    # ------------------------------------------------------------------------------------------- ending

    def _ended(self, attempt: Attempt, settlement: Settlement) -> None:
        job = attempt.job
        if self.running.get(job.id) is attempt:
            del self.running[job.id]
            seconds = time.monotonic() - attempt.started_at
            self._lanes.ran(job, attempt.spec.requires, seconds)
            if self._counts is not None:
                self._counts.ended.append((job, settlement.outcome, seconds))
            if settlement.error is not None:
                log_ending(job, settlement)
            elif attempt.options.step is not None and settlement.result is not None:
                self.inputs.ended(job, settlement.result)
            self._settle(settlement)
        else:
            self._given_up.pop(attempt, None)
        if self._buffer or self._processes:
            self.fill()
        elif not self.running and not self.inputs.loading:
            self.became_idle.set()

    def _ended_in_child(self, attempt: Attempt, settlement: Settlement) -> None:
        run_failed(self._middleware, attempt)  # a failure that is judged here: the child is not there to tell the hooks
        if settlement.error is not None and attempt.span is not None:  # which made a span for it
            settlement = msgspec.structs.replace(settlement, error=with_span(settlement.error, attempt.span))
        self._ended(attempt, settlement)

    def _check_idle(self) -> None:
        if self.idle:
            self.became_idle.set()

    def end(self, job_id: bytes, reason: EndReason) -> None:
        """Ask one attempt to end, or drop the job if it waits for a slot."""
        attempt = self.running.get(job_id)
        if attempt is not None:
            attempt.ask_to_end(reason)
            if reason is EndReason.LOST:
                self._give_up(attempt)
        elif reason is EndReason.LOST:
            self._take_out(lambda job: job.id == job_id)
        elif reason is EndReason.CANCEL:
            self.give_back_buffer(lambda job: job.id == job_id)

    def end_all(self, reason: EndReason) -> None:
        """Ask every attempt to end."""
        for job_id in list(self.running):
            self.end(job_id, reason)
        if reason is EndReason.LOST:
            self._take_out(lambda _: True)
        self._check_idle()

    @property
    def buffered(self) -> bool:
        """Whether jobs wait for a slot."""
        return bool(self._buffer or self._processes or self.inputs.loading)

    def give_back_buffer(self, which: Callable[[ClaimedJob], bool] = lambda _: True) -> None:
        """Settle what waits for a slot, or ``which`` of it, as not started."""
        for job in self._take_out(which):
            self._settle(released(job, started=False))
        self._check_idle()

    def _take_out(self, which: Callable[[ClaimedJob], bool]) -> list[ClaimedJob]:
        """Take those out of what waits for a slot."""
        out = [job for job, _ in self._buffer if which(job)]
        if out:
            self._buffer = deque(entry for entry in self._buffer if not which(entry[0]))
        out += self.inputs.take_out(which)
        return out if self._processes is None else out + self._processes.take_out(which)

    def give_back_running(self) -> None:
        """Settle what would not end in time as given back; the attempts' own ends are dropped."""
        now = time.monotonic()
        for attempt in list(self.running.values()):
            attempt.ask_to_end(EndReason.LOST)
            self._give_up(attempt)
            if self._counts is not None:
                self._counts.ended.append((attempt.job, Outcome.RELEASED, now - attempt.started_at))
            self._settle(released(attempt.job, started=True))
        self._check_idle()

    def _give_up(self, attempt: Attempt) -> None:
        del self.running[attempt.job.id]
        self._given_up[attempt] = time.monotonic()

    async def aclose(self) -> None:
        """Stop looking after time, and end child processes. Attempts in threads that still run are on their own."""
        if self._processes is not None:
            await self._processes.pool.aclose()
        self._threads.close()
        self.inputs.close()
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None

    def leave_fork(self) -> None:
        """In a forked child: see to it that nothing more happens here, should it come back to our loop (a coroutine
        that forks, and awaits in the child too). A child that never comes back does not notice."""
        if self._thread != threading.get_ident():
            return
        _detach(self._loop)
        for task in asyncio.all_tasks(self._loop):
            task.cancel()  # what is about to take its next step takes it in the parent
        self._loop.call_soon(_leave_fork)

    # --------------------------------------------------------------------------------------------- time

    def _watch(self) -> None:
        if self._sweeper is None and (self.running or self.buffered):
            self._sweeper = self._loop.call_later(SWEEP, self._sweep)

    def _sweep(self) -> None:
        self._sweeper = None
        now = time.monotonic()
        for attempt in list(self.running.values()):
            if attempt.deadline is not None and now >= attempt.deadline:
                if attempt.end_reason is None:
                    attempt.ask_to_end(EndReason.TIMEOUT)
                elif attempt.task_handle is not None:
                    attempt.remind()
                if attempt.task_handle is not None:
                    attempt.deadline = now + REMIND
        while self._buffer and now - self._buffer[0][1] > BUFFER_PATIENCE:
            job, _ = self._buffer.popleft()
            self._lanes.was_not_needed(job, now)
            self._settle(released(job, started=False))
        if self._processes is not None:
            self._processes.sweep(now)
        self._check_idle()
        self._watch()


_runners: weakref.WeakSet[Runner] = weakref.WeakSet()


def _leave_fork() -> None:
    """End a process that task code forked and that came back from the task as well: it is no second worker, and what
    it holds of ours (the loop, the store, the lease) is not its own. A task that forks on purpose never returns."""
    os._exit(0)


def _detach(loop: asyncio.AbstractEventLoop) -> None:
    """Give an inherited loop a poll set of its own, an empty one. In the one that it shares with the parent it would
    take events that the parent then waits for in vain: uvloop, for one, never again hears of its threads."""
    find = getattr(loop, "_get_backend_id", None) or getattr(getattr(loop, "_selector", None), "fileno", None)
    if find is not None and hasattr(select, "epoll"):
        with select.epoll() as empty:
            os.dup2(empty.fileno(), find(), inheritable=False)


def _leave_all() -> None:
    for runner in list(_runners):
        runner.leave_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_all)
