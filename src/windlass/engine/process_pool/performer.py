"""Runs one attempt after the other in a child's main thread, and hears there when one has to end."""

from __future__ import annotations

import asyncio
import contextvars
import os
import signal
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from windlass.context import Middleware, NoteSink, set_current
from windlass.core.errors import UnknownTask, WindlassError
from windlass.core.model import KEEP_DEAD, ClaimedJob, Settlement
from windlass.core.options import decode_options
from windlass.core.steps import is_step
from windlass.core.task import TaskSpec
from windlass.engine.attempt import Attempt, EndReason, rejected, undeliverable
from windlass.engine.hooks import run_after, run_before


class Performer:
    """What runs attempts.

    The worker ends one by writing the reason to ``control``, and SIGTERM then. Its handler runs in the main thread: it
    raises ``CancelledError`` where the function stands, or has a coroutine cancelled. A SIGTERM without a reason is for
    somebody else (systemd sends it to every process of a service), and so is a terminal's SIGINT.
    """

    def __init__(
        self, tasks: Mapping[str, TaskSpec], middleware: Sequence[Middleware], sink: NoteSink, control: int
    ) -> None:
        self._tasks = tasks
        self._middleware = tuple(middleware)
        self._sink = sink
        self._control = control
        self._process = os.getpid()
        self._attempt: Attempt | None = None
        self._interrupt: Callable[[], None] | None = None
        """Ends what runs just now."""
        self._runner: asyncio.Runner | None = None
        os.set_blocking(control, False)

    def perform(self, job: ClaimedJob) -> Settlement:
        """Run an attempt to its end."""
        spec = self._tasks.get(job.task)
        if spec is None:
            message = f"task {job.task!r} is not registered in the child process: importing its module must do that"
            return undeliverable(job, UnknownTask(message), hopeless=False, keep_dead=KEEP_DEAD)
        try:
            args, kwargs = spec.signature.decode(job.payload, filled=is_step(job.options))
        except WindlassError as error:
            return rejected(job, spec, error)
        options = None if job.options is None else decode_options(job.options)
        attempt = Attempt(job, spec, options, self._sink, time.monotonic())
        return contextvars.copy_context().run(self._run, attempt, args, kwargs)

    def close(self) -> None:
        """Let go of the event loop, if there is one."""
        if self._runner is not None:
            self._runner.close()

    def _run(self, attempt: Attempt, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Settlement:
        set_current(attempt)
        self._attempt = attempt
        self.listen()
        error: BaseException | None = None
        try:
            run_before(self._middleware, attempt)
            settlement = attempt.succeeded(self._result(attempt, args, kwargs))
        except BaseException as raised:  # noqa: BLE001 - SystemExit in task code is a failed attempt, not our end
            if isinstance(raised, MemoryError):
                traceback.clear_frames(raised.__traceback__)  # what they hold is what there is too much of
            if isinstance(raised, asyncio.CancelledError):
                _end_in_task(raised)
            error = raised
            settlement = attempt.failed(raised)
        if os.getpid() != self._process:
            os._exit(0)  # forked by the task, and returned from it as well: not a second one of us
        run_after(self._middleware, attempt, error)
        self._attempt = None
        return settlement

    def _result(self, attempt: Attempt, args: tuple[Any, ...], kwargs: dict[str, Any]) -> object:
        function = attempt.spec.function
        if attempt.spec.is_coroutine:
            self._runner = self._runner or asyncio.Runner()
            # Its own context would be that of the first attempt, for ever.
            return self._runner.run(self._awaited(function(*args, **kwargs)), context=contextvars.copy_context())
        try:
            self._interrupt = _raise
            if attempt.end_reason is not None:
                raise asyncio.CancelledError
            return function(*args, **kwargs)
        finally:
            self._interrupt = None

    async def _awaited(self, coroutine: Any) -> object:
        task = asyncio.current_task()
        assert task is not None
        loop = asyncio.get_running_loop()

        def cancel() -> None:
            loop.call_soon_threadsafe(task.cancel)

        try:
            self._interrupt = cancel
            if self._attempt is not None and self._attempt.end_reason is not None:
                task.cancel()
            return await coroutine
        finally:
            self._interrupt = None

    # ----------------------------------------------------------------------------------------- interruptions

    def listen(self) -> None:
        """Hear when an attempt has to end, whatever the one before has done to the handlers."""
        if signal.getsignal(signal.SIGTERM) != self._told:
            signal.signal(signal.SIGTERM, self._told)
        if signal.getsignal(signal.SIGINT) != _ignore:
            signal.signal(signal.SIGINT, _ignore)

    def _told(self, *_: object) -> None:
        if os.getpid() != self._process:
            return
        try:
            reason = os.read(self._control, 1)
        except OSError:
            return
        attempt = self._attempt
        if not reason or attempt is None:
            return
        attempt.ask_to_end(EndReason(reason[0]))
        if self._interrupt is not None:
            self._interrupt()


def _end_in_task(error: BaseException) -> None:
    """Have the traceback of an interruption end where the task stood, and not in our handler."""
    step = error.__traceback__
    while step is not None and step.tb_next is not None:
        if step.tb_next.tb_frame.f_code is Performer._told.__code__:
            step.tb_next = None
        step = step.tb_next


def _raise() -> None:
    raise asyncio.CancelledError


def _ignore(*_: object) -> None:
    """Do nothing; other than SIG_IGN, this is not inherited by what a task starts."""
