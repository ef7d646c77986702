"""The harness: an app whose jobs are in memory, and run when the test says so."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from functools import partial
from typing import Any, ParamSpec, Self, TypeVar, overload

from windlass import blocking
from windlass.app import App
from windlass.client import Opened
from windlass.connect import in_memory
from windlass.core.clock import Span
from windlass.core.errors import BlockingCallInLoop, InvalidOption, UsageError
from windlass.job import Job
from windlass.task import Task
from windlass.testing.clock import VirtualClock, positive_span
from windlass.testing.crashes import CrashPoints, in_attempt
from windlass.testing.driver import AttemptRecord, Driver
from windlass.testing.enqueued import EnqueuedJob, Expected, why_none, why_some
from windlass.testing.watched import Watched, WatchedStore

P = ParamSpec("P")
R = TypeVar("R")

MAX_STEPS = 10_000
_DESCRIBED = 20


class Harness:
    """An app under test: as long as the block runs, its jobs are in memory, and run when the test says so.

    ::

        with Harness(app) as harness:
            await sign_up("a@example.org")                       # code of yours, which enqueues
            harness.assert_enqueued(send, "a@example.org", ANY)
            await harness.run()                                  # what is ready now
            await harness.run_for(days=1)                        # what becomes due, in no time

    Jobs run one after the other, with the real retry policies, middleware and timeouts, and arguments and results
    travel as they do in production. `run` runs coroutines on the running event loop and functions in a thread;
    `run_sync` runs everything in the caller's own thread. Neither asks a task for its executor.

    What happens at the same time (jobs that wait for each other, cancelling what runs) needs a real worker; it can be
    started as ever: ``async with app.worker(): ...``.
    """

    def __init__(self, app: App, *, inline: bool = False, raising: bool = True, max_steps: int = MAX_STEPS) -> None:
        """Make a harness; nothing happens before ``with``.

        Args:
            app: the app; whatever it is connected with stays as it is, and is in use again after the block.
            inline: run jobs as soon as they are enqueued, before `Task.enqueue` returns.
            raising: let `run` (and `Task.enqueue`, if ``inline``) raise what killed a job.
            max_steps: attempts, or jumps of the clock, after which one call is taken for endless.

        Raises `InvalidOption`.
        """
        if not isinstance(app, App):
            raise InvalidOption(f"Harness({app!r}): expected your App, got {type(app).__name__}")
        self.app = app
        self.raising = raising
        """Let `run` raise what killed a job. May be changed at any time."""
        self._inline = inline
        self._max_steps = max_steps
        self.clock = VirtualClock()
        """The store's clock."""
        self.attempts: list[AttemptRecord] = []
        """All that were run, in order."""
        self._deaths: list[BaseException] = []
        self._watched = Watched(self.clock)
        self._points = CrashPoints()
        self._block: ExitStack | None = None

    def __repr__(self) -> str:
        return f"<Harness of {self.app!r}: {len(self._watched.enqueued)} jobs, {len(self.attempts)} attempts>"

    # ------------------------------------------------------------------------------------------ the block

    def __enter__(self) -> Self:
        block = ExitStack()
        block.enter_context(self._in_memory())
        self._block = block
        return self

    def __exit__(self, *raised: object) -> None:
        assert self._block is not None
        block, self._block = self._block, None
        block.close()

    @contextmanager
    def _in_memory(self) -> Iterator[None]:
        app, client = self.app, self.app._client
        if app in _under_test:
            raise UsageError(f"{app!r} is in a harness already; one at a time, and each for one block")
        if self._watched.enqueued or self.attempts:
            raise UsageError("this harness has been used; make another one")
        origin = WatchedStore(in_memory(app.settings, self.clock), self._watched)
        before = app._url
        _under_test.append(app)
        try:
            with client.elsewhere(origin.twin) as opened:
                app._url = "memory://"
                client.inline = self if self._inline else None
                try:
                    yield
                finally:
                    client.inline = None
                    app._url = before
        finally:
            _under_test.remove(app)
            _let_go(opened)

    @property
    def inline(self) -> bool:
        """Run jobs as soon as they are enqueued. May be changed at any time."""
        return self._inline

    @inline.setter
    def inline(self, inline: bool) -> None:
        self._inline = inline
        if self._block is not None:
            self.app._client.inline = self if inline else None

    # ------------------------------------------------------------------------------------------- running

    async def run(self, *, queues: Collection[str] | None = None) -> list[AttemptRecord]:
        """Run all jobs that are ready now, and those that become ready by that; no time passes.

        Queue by queue, in the order in which they were first used; within one by priority, then first in, first out.

        Args:
            queues: leave all other queues alone.

        Returns the attempts, in their order. Raises what killed a job, if one died, after all others have run
        (unless `raising` was turned off); a failure that is going to be retried raises nothing.
        """
        __tracebackhide__ = True
        return await self._drive(0, queues)

    async def run_for(
        self,
        *,
        days: float = 0,
        hours: float = 0,
        minutes: float = 0,
        seconds: float = 0,
        queues: Collection[str] | None = None,
    ) -> list[AttemptRecord]:
        """Let time pass with a worker there: as `run`, now and again at each time at which something becomes due, and
        schedules fire.

        Takes no time: the clock jumps. `VirtualClock.advance` lets time pass without a worker.
        """
        __tracebackhide__ = True
        return await self._drive(positive_span(days=days, hours=hours, minutes=minutes, seconds=seconds), queues)

    async def run_until_idle(self, *, queues: Collection[str] | None = None) -> list[AttemptRecord]:
        """As `run_for`, for as long as anything is left that time alone will bring: delays, retries, snoozes.
        Schedules, which may never end, do not fire."""
        __tracebackhide__ = True
        return await self._drive(None, queues)

    def run_sync(self, *, queues: Collection[str] | None = None) -> list[AttemptRecord]:
        """As `run`, blocking: every job runs in the caller's own thread."""
        __tracebackhide__ = True
        return self._drive_sync(0, queues)

    def run_for_sync(
        self,
        *,
        days: float = 0,
        hours: float = 0,
        minutes: float = 0,
        seconds: float = 0,
        queues: Collection[str] | None = None,
    ) -> list[AttemptRecord]:
        """As `run_for`, blocking."""
        __tracebackhide__ = True
        return self._drive_sync(positive_span(days=days, hours=hours, minutes=minutes, seconds=seconds), queues)

    def run_until_idle_sync(self, *, queues: Collection[str] | None = None) -> list[AttemptRecord]:
        """As `run_until_idle`, blocking."""
        __tracebackhide__ = True
        return self._drive_sync(None, queues)

    async def _drive(self, span: Span | None, queues: Collection[str] | None) -> list[AttemptRecord]:
        __tracebackhide__ = True
        if asyncio._get_running_loop() is None:
            raise UsageError(
                "no asyncio event loop is running: Windlass needs one. With anyio's pytest plugin set the fixture "
                "anyio_backend to 'asyncio'"
            )
        with self._driver(span, queues) as driver:
            while (performance := await driver.next()) is not None:
                try:
                    await performance.run()
                finally:
                    await driver.end(performance)
        return self._told(driver)

    def _drive_sync(self, span: Span | None, queues: Collection[str] | None) -> list[AttemptRecord]:
        __tracebackhide__ = True
        if asyncio._get_running_loop() is not None:
            raise BlockingCallInLoop(
                "jobs cannot run in a blocking call on the thread of a running event loop: await harness.run(), and in "
                "inline mode await task.enqueue(...)"
            )
        # The runner makes its loop when the first coroutine comes.
        with self._driver(span, queues) as driver, closing(asyncio.Runner()) as runner:
            while (performance := blocking.run(driver.next)) is not None:
                try:
                    performance.run_here(runner)
                finally:
                    blocking.run(partial(driver.end, performance))
        return self._told(driver)

    @contextmanager
    def _driver(self, span: Span | None, queues: Collection[str] | None) -> Iterator[Driver]:
        if self._block is None:
            raise UsageError("a harness runs jobs within its block only: with Harness(app) as harness: ...")
        if isinstance(queues, str):
            raise InvalidOption(f"queues={queues!r}: expected a list of names, such as [{queues!r}]")
        driver = Driver(
            self.app._client,
            self._watched,
            self._points,
            queues=queues,
            most=self._max_steps,
            schedules=self.app.declared,
        )
        self._watched.driving += 1
        try:
            with self.clock.standing():
                driver.until = None if span is None else self.clock() + span
                yield driver
        finally:
            self._watched.driving -= 1
            self.attempts += driver.records

    def _told(self, driver: Driver) -> list[AttemptRecord]:
        """Answer what ran, or raise what killed a job: to the test, not to a job that enqueued another inline."""
        __tracebackhide__ = True
        self._deaths += driver.deaths
        if not in_attempt():
            deaths, self._deaths = self._deaths, []
            if deaths and self.raising:
                raise _first_of(deaths)
        return driver.records

    # ------------------------------------------------------------------------------------ what was enqueued

    @overload
    def enqueued(self, task: Task[..., Any] | None = None, /) -> list[EnqueuedJob]: ...
    @overload
    def enqueued(self, task: Task[P, Any], /, *args: P.args, **kwargs: P.kwargs) -> list[EnqueuedJob]: ...

    def enqueued(self, task: Task[..., Any] | None = None, /, *args: Any, **kwargs: Any) -> list[EnqueuedJob]:
        """List the jobs that have been enqueued, whether they have run or not, in their order.

        Args:
            task: of this task only; with ``task.options(...)`` only those that were enqueued with these options.
            args: with these arguments only. Without any, whatever the arguments. An argument that does not matter is
                ``unittest.mock.ANY``.
            kwargs: as ``args``.
        """
        if task is None:
            return [EnqueuedJob.of(self.app, new) for new in self._new_jobs()]
        expected = Expected(self.app, task, args, kwargs)
        return [job for job in self._jobs_of(task) if not expected.differences(job)]

    @overload
    def assert_enqueued(self, task: Task[..., R], /) -> Job[R]: ...
    @overload
    def assert_enqueued(self, task: Task[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Job[R]: ...

    def assert_enqueued(self, task: Task[..., Any], /, *args: Any, **kwargs: Any) -> Job[Any]:
        """Raise ``AssertionError`` unless such a job was enqueued, and say what was enqueued instead.

        Arguments as `enqueued`. Returns the first such job.
        """
        __tracebackhide__ = True
        found = self.enqueued(task, *args, **kwargs)
        if not found:
            others = [new.task for new in self._new_jobs() if new.task != task.name]
            raise AssertionError(why_none(Expected(self.app, task, args, kwargs), self._jobs_of(task), others))
        return found[0].job

    @overload
    def assert_not_enqueued(self, task: Task[..., Any] | None = None, /) -> None: ...
    @overload
    def assert_not_enqueued(self, task: Task[P, Any], /, *args: P.args, **kwargs: P.kwargs) -> None: ...

    def assert_not_enqueued(self, task: Task[..., Any] | None = None, /, *args: Any, **kwargs: Any) -> None:
        """Raise ``AssertionError`` if such a job was enqueued; without arguments: if any job was.

        Arguments as `enqueued`.
        """
        __tracebackhide__ = True
        found = self.enqueued() if task is None else self.enqueued(task, *args, **kwargs)
        if found:
            raise AssertionError(why_some(found))

    def _new_jobs(self) -> list[Any]:
        with self._watched.lock:
            return list(self._watched.enqueued.values())

    def _jobs_of(self, task: Task[..., Any]) -> list[EnqueuedJob]:
        return [EnqueuedJob.of(self.app, new) for new in self._new_jobs() if new.task == task.name]

    def describe(self) -> str:
        """Say what was enqueued and what ran, a line each: shown by the pytest plugin beside a test that failed."""
        ran: dict[str, list[str]] = {}
        for one in self.attempts:
            ran.setdefault(one.job.id, []).append(str(one))
        jobs = self.enqueued()
        lines = [f"{job!r}: {', '.join(ran.get(job.job.id, ['has not run']))}" for job in jobs[:_DESCRIBED]]
        if len(jobs) > _DESCRIBED:
            lines.append(f"... and {len(jobs) - _DESCRIBED} more")
        return "\n".join(lines) or "none was enqueued"

    # ------------------------------------------------------------------------------------------- crashing

    def crash_before(self, target: Task[..., Any] | str, *, call: int | None = 1) -> AbstractContextManager[None]:
        """Let the worker die when a job in this block is about to call ``target``.

        Nothing of that attempt is settled; the clock moves on by a lease, the job is taken back and runs again, as it
        would after the death of a real worker. As nothing but an exception ends a function from inside, ``finally`` and
        ``with`` blocks of the task still run.

        Args:
            target: a task (its own function), or the place where the task finds what it calls, as for
                ``unittest.mock.patch``: ``"shop.billing.charge"``.
            call: which call of it, by jobs in this block; ``None``: every one, so that the job is dead in the end.

        Raises ``AssertionError`` at the end of the block if nothing crashed, and `InvalidOption`.
        """
        return self._points.at(target, before=True, call=call)

    def crash_after(self, target: Task[..., Any] | str, *, call: int | None = 1) -> AbstractContextManager[None]:
        """As `crash_before`, when ``target`` has returned. After a task itself: its work is done, and nobody knows."""
        return self._points.at(target, before=False, call=call)


_under_test: list[App] = []
"""Those that are in a harness now."""


def _let_go(opened: dict[asyncio.AbstractEventLoop, Opened]) -> None:
    """Have what was opened closed, each on its own loop: when nobody refers to its guard, the loop sees to that."""
    for one in opened.values():
        one.guard = None


def _first_of(deaths: list[BaseException]) -> BaseException:
    first, *others = deaths
    for other in others:
        first.add_note(f"another job died as well: {type(other).__name__}: {other}")
    return first
