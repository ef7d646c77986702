"""Runs one attempt where the test is: a coroutine on the running loop, a function in this thread or another."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from windlass.context import Middleware, set_current
from windlass.core.model import MAX_LOG, ClaimedJob, Note, Settlement
from windlass.core.options import decode_options
from windlass.core.task import TaskSpec
from windlass.engine.attempt import Attempt, EndReason
from windlass.engine.hooks import run_after, run_before
from windlass.testing.crashes import CrashPoints, Mortal, enter

COURTESY = 1.0
"""Seconds that an attempt has to end when the test that waits for it is cancelled."""


class Notes:
    """What the attempt says of itself; brought to the store before its outcome."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.said: Note | None = None

    def note(self, job: ClaimedJob, *, progress: float | None, message: str | None, log: str) -> None:
        """See `windlass.context.NoteSink`."""
        with self._lock:
            old = self.said or Note(job.id, job.token)
            self.said = Note(
                job.id,
                job.token,
                old.progress if progress is None else progress,
                old.message if message is None else message,
                (old.log + log)[-MAX_LOG:],
            )


class Performance(Mortal):
    """One attempt of a job that was claimed, and its end."""

    def __init__(
        self,
        session: bytes,
        job: ClaimedJob,
        spec: TaskSpec,
        arguments: tuple[tuple[Any, ...], dict[str, Any]],
        *,
        points: CrashPoints,
        middleware: Sequence[Middleware],
    ) -> None:
        self.session = session
        self.notes = Notes()
        options = None if job.options is None else decode_options(job.options)
        self.attempt = Attempt(job, spec, options, self.notes, time.monotonic())
        self.task = spec.name
        self.settlement: Settlement | None = None
        """What is to be told to the store; ``None`` until it has ended."""
        self.error: BaseException | None = None
        """What the task raised."""
        self._arguments = arguments
        self._points = points
        self._middleware = middleware

    # ------------------------------------------------------------------------------------------- two ways

    async def run(self) -> None:
        """Run it to its end on the running loop; a function in a thread."""
        if self.attempt.spec.is_coroutine:
            handle = self.attempt.task_handle = asyncio.ensure_future(self._await())
        else:
            handle = asyncio.ensure_future(asyncio.to_thread(self._call))
        loop = asyncio.get_running_loop()
        with self._timed(lambda left: loop.call_later(left, self._overran)):
            await self._ended(handle)

    def run_here(self, runner: asyncio.Runner) -> None:
        """Run it to its end in this thread; a coroutine with ``runner``."""
        if self.attempt.spec.is_coroutine:
            runner.run(self.run())
        else:
            with self._timed(self._started_timer):
                contextvars.copy_context().run(self._call)

    async def _ended(self, handle: asyncio.Future[None]) -> None:
        """Wait for its end; if the test is cancelled meanwhile, so is the attempt."""
        try:
            await asyncio.wait({handle})
        except asyncio.CancelledError:
            self.attempt.ask_to_end(EndReason.SHUTDOWN)
            await asyncio.wait({handle}, timeout=COURTESY)
            raise
        await handle

    @contextmanager
    def _timed(self, start: Callable[[float], asyncio.TimerHandle | threading.Timer]) -> Iterator[None]:
        """Mind the task's timeout, in real time."""
        deadline = self.attempt.deadline
        timer = None if deadline is None else start(max(0.0, deadline - time.monotonic()))
        try:
            yield
        finally:
            if timer is not None:
                timer.cancel()

    def _started_timer(self, left: float) -> threading.Timer:
        timer = threading.Timer(left, self._overran)
        timer.daemon = True
        timer.start()
        return timer

    def _overran(self) -> None:
        self.attempt.ask_to_end(EndReason.TIMEOUT)

    # -------------------------------------------------------------------------------------------- its life

    async def _await(self) -> None:
        __tracebackhide__ = True  # in what pytest shows, the next frame is the task
        try:
            self._begin()
            args, kwargs = self._arguments
            self._returned(await self.attempt.spec.function(*args, **kwargs))
        except BaseException as error:  # noqa: BLE001 - the attempt's end, whatever it is
            self._raised(error)
        self._after()

    def _call(self) -> None:
        __tracebackhide__ = True  # in what pytest shows, the next frame is the task
        try:
            self._begin()
            args, kwargs = self._arguments
            self._returned(self.attempt.spec.function(*args, **kwargs))
        except KeyboardInterrupt:
            raise  # in the main thread: somebody stops the tests
        except BaseException as error:  # noqa: BLE001 - as above
            self._raised(error)
        self._after()

    def _begin(self) -> None:
        set_current(self.attempt)
        enter(self)
        self.attempt.begun = True
        if self.attempt.end_reason is not None:
            raise asyncio.CancelledError
        self._points.passed(self.task, before=True)
        run_before(self._middleware, self.attempt)

    def _returned(self, result: object) -> None:
        self._points.passed(self.task, before=False)
        self.settlement = self.attempt.succeeded(result)

    def _raised(self, error: BaseException) -> None:
        self.error = error
        self.settlement = self.attempt.failed(error)

    def _after(self) -> None:
        """Let the hooks hear of the end, unless there is nobody left to call them."""
        if self.crashed:
            return
        run_after(self._middleware, self.attempt, self.error)
