"""What task code can ask about the attempt that it is part of, and the hooks around attempts."""

from __future__ import annotations

import asyncio
import threading
from contextvars import Context, ContextVar
from datetime import datetime
from typing import Protocol
from uuid import UUID

from windlass.core.clock import to_datetime
from windlass.core.errors import UsageError
from windlass.core.model import ClaimedJob
from windlass.core.options import decode_options
from windlass.core.traceparent import trace_id_of


class NoteSink(Protocol):
    """Where progress and log lines go: the worker, which sends them in batches. Callable from any thread."""

    def note(self, job: ClaimedJob, *, progress: float | None, message: str | None, log: str) -> None: ...


class Current:
    """The attempt that is running here: see `current`."""

    __slots__ = ("_end_asked", "_end_event", "_job", "_sink", "span")

    def __init__(self, job: ClaimedJob, sink: NoteSink) -> None:
        self._job = job
        self._sink = sink
        self._end_asked = False
        self._end_event: threading.Event | None = None
        self.span: str | None = None
        """The attempt's span, as a ``traceparent``, while one is recorded. Tracing sets it."""

    @property
    def job_id(self) -> str:
        """The job's id, as text."""
        return str(UUID(bytes=self._job.id))

    @property
    def task(self) -> str:
        """The task's name, as the job names it."""
        return self._job.task

    @property
    def queue(self) -> str:
        """The queue that the job came from."""
        return self._job.queue

    @property
    def schedule(self) -> str | None:
        """The schedule that enqueued the job, if one did."""
        return decode_options(self._job.options).schedule

    @property
    def fire_time(self) -> datetime | None:
        """When the job's schedule was due, in UTC: which may be long ago."""
        at = decode_options(self._job.options).fire_time
        return None if at is None else to_datetime(at)

    @property
    def run(self) -> str | None:
        """Id of the run of a workflow that the job is a step of, if it is one."""
        step = decode_options(self._job.options).step
        return None if step is None else str(UUID(bytes=step.run))

    @property
    def headers(self) -> dict[str, str]:
        """Text that travels with the job, for middleware."""
        return dict(decode_options(self._job.options).headers or {})

    @property
    def trace_id(self) -> str | None:
        """The trace that the job belongs to, 32 hexadecimal digits, if its headers name one."""
        return trace_id_of(decode_options(self._job.options).headers)

    @property
    def failed_span(self) -> str | None:
        """The span of the last attempt that failed, as a ``traceparent``, if there was one. With tracing only."""
        return self._job.failed_span or None

    @property
    def attempt(self) -> int:
        """1 for the first attempt of the job."""
        return self._job.attempt

    @property
    def failures(self) -> int:
        """How many attempts have failed before."""
        return self._job.failures

    @property
    def cancelled(self) -> bool:
        """Whether this attempt should end: somebody cancelled the job, it ran into its timeout, the worker stops or
        lost its lease. A coroutine is cancelled as well; a thread must look."""
        return self._end_asked

    def wait_cancelled(self, timeout: float) -> bool:
        """Sleep in a thread for up to ``timeout`` seconds, or until the attempt should end; say whether it should."""
        if self._end_event is None:
            self._end_event = threading.Event()
        # The other side sets the flag before it looks for an event: so one of the two always sees the other.
        return self._end_asked or self._end_event.wait(timeout)

    def raise_if_cancelled(self) -> None:
        """End a function whose attempt should end, by raising ``asyncio.CancelledError``; returning early instead would
        count as success."""
        if self._end_asked:
            raise asyncio.CancelledError

    def _ask_to_end(self) -> None:
        self._end_asked = True
        if self._end_event is not None:
            self._end_event.set()

    def progress(self, fraction: float, message: str | None = None) -> None:
        """Report how far the job is: 0 to 1, and a word about it (at most 500 characters are kept)."""
        if isinstance(fraction, bool) or not isinstance(fraction, (int, float)) or not 0 <= fraction <= 1:
            raise UsageError(f"progress({fraction!r}): expected a number between 0 and 1")
        self._sink.note(self._job, progress=float(fraction), message=message and _storable(message[:500]), log="")

    def log(self, line: str) -> None:
        """Append a line to the job's own log (the last 64 KiB are kept)."""
        self._sink.note(self._job, progress=None, message=None, log=_storable(line.rstrip("\n")) + "\n")


def _storable(text: str) -> str:
    """Text without lone surrogates (as an undecodable file name has), which no store can keep: they are escaped."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")


_current: ContextVar[Current] = ContextVar("windlass_current")


def current() -> Current:
    """Return the attempt that is running here. Raises `UsageError` outside of one."""
    found = _current.get(None)
    if found is None:
        raise UsageError("current() was called outside of a running task")
    return found


def set_current(attempt: Current) -> None:
    """Make ``attempt`` the current one of this context; for the engine."""
    _current.set(attempt)


def attempt_in(context: Context) -> Current | None:
    """The attempt that ``context`` belongs to, if any; for the engine."""
    return context.get(_current)


class Middleware:
    """Hooks around everything that happens to jobs; override what you need.

    ``before`` and ``after`` run where the task runs: on the event loop for coroutines, in the executing thread for
    functions (so that, for example, database connections of that thread can be closed there). They must not block the
    loop. A hook that raises in ``before`` fails the attempt; one that raises elsewhere is logged, and harms nothing.
    """

    def enqueue(self, task: str, headers: dict[str, str]) -> None:
        """A job is about to be enqueued; ``headers`` travel with it and may be added to."""

    def before(self, attempt: Current, headers: dict[str, str]) -> None:
        """An attempt is about to start."""

    def failed(self, attempt: Current, error: BaseException, *, dead: bool) -> None:
        """An attempt has failed: an error of its own, its timeout, or a result that cannot be kept. ``dead``: the job
        is not tried again. Called before ``after``, and not for attempts that are snoozed, cancelled or given back.
        For an attempt whose child process died it is called alone, on the worker's event loop."""

    def after(self, attempt: Current, error: BaseException | None) -> None:
        """An attempt has ended: with a result, or with ``error``."""
