"""One execution of a job, and what its end means."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from enum import Enum, auto
from typing import NamedTuple

from windlass.context import Current, NoteSink
from windlass.core.clock import MINUTE, SECOND, Instant, Span
from windlass.core.clock import span as to_span
from windlass.core.errors import (
    Dead,
    Directive,
    InvalidArguments,
    InvalidOption,
    InvalidResult,
    PayloadTooLarge,
    RetryLater,
    Snooze,
    UndecodablePayload,
    WindlassError,
)
from windlass.core.lifecycle import Outcome
from windlass.core.model import ClaimedJob, Settlement
from windlass.core.options import decode_options
from windlass.core.remote import encode_error
from windlass.core.retry import NEVER, Retry, policy_for
from windlass.core.steps import is_step
from windlass.core.task import JobOptions, TaskSpec

DELIVERY_WINDOW: Span = 60 * MINUTE
"""A job that no worker could run for so long is dead; until then the worker that can may be on its way."""
_NO_OPTIONS = JobOptions()


class EndReason(Enum):
    """Why somebody asked a running attempt to end."""

    CANCEL = auto()
    """The job was cancelled."""
    TIMEOUT = auto()
    SHUTDOWN = auto()
    """The worker stops."""
    LEASE = auto()
    """The lease could not be renewed in time; the job may still be ours."""
    LOST = auto()
    """The job is not ours any more: whatever comes of the attempt is dropped."""


_NOT_ITS_FAULT = (EndReason.SHUTDOWN, EndReason.LEASE, EndReason.LOST)
"""Whatever a task raises once it was asked to end for one of these, we made it raise: no failure of its own."""


class Failure(NamedTuple):
    """Why an attempt failed, for the hooks."""

    error: BaseException
    dead: bool
    """The job is not tried again."""


class Attempt(Current):
    """One execution of a job by this worker."""

    __slots__ = (
        "begun",
        "deadline",
        "end_reason",
        "failure",
        "job",
        "on_end_asked",
        "options",
        "spec",
        "started_at",
        "task_handle",
    )

    def __init__(self, job: ClaimedJob, spec: TaskSpec, options: JobOptions | None, sink: NoteSink, now: float) -> None:
        super().__init__(job, sink)
        self.job = job
        self.spec = spec
        self.options = options or _NO_OPTIONS
        self.started_at = now
        """Monotonic clock, seconds; so is `deadline`."""
        timeout = self.options.timeout or spec.timeout
        self.deadline = None if timeout is None else now + timeout / SECOND
        self.end_reason: EndReason | None = None
        self.failure: Failure | None = None
        """Set where it is judged to have failed: in this process."""
        self.begun = False
        """A coroutine has made its first step. Before that it must not be cancelled: its body would never run, and
        nobody would hear of its end."""
        self.task_handle: asyncio.Task[None] | None = None
        self.on_end_asked: Callable[[EndReason], None] | None = None
        """Called with each reason that counts: ends an attempt that runs in another process."""

    @property
    def is_in_thread(self) -> bool:
        """Whether nothing but the attempt itself can end it."""
        return self.task_handle is None and self.on_end_asked is None

    def ask_to_end(self, reason: EndReason) -> None:
        """Cancel it: a coroutine at its next await; a function sees `Current.cancelled`. The first reason stands, for
        a second cancellation would tear what the first one made it clean up; only `EndReason.LOST` replaces it."""
        asked = self.end_reason is not None
        if reason is EndReason.LOST or not asked:
            self.end_reason = reason
        if not asked:
            self._ask_to_end()
            self.remind()
        if self.on_end_asked is not None and self.end_reason is reason:
            self.on_end_asked(reason)

    def remind(self) -> None:
        """Cancel a coroutine (again)."""
        if self.task_handle is not None and self.begun:
            self.task_handle.cancel()

    # ------------------------------------------------------------------------------------------- its end

    def succeeded(self, result: object) -> Settlement:
        """Judge a return value. A result that cannot be stored makes the job dead: running it again would not help."""
        if self.end_reason is EndReason.TIMEOUT:
            return self.failed(TimeoutError(_overran(self)))
        try:
            encoded = self.spec.signature.encode_result(result)
        except (PayloadTooLarge, TypeError, ValueError) as error:
            kind = PayloadTooLarge if isinstance(error, PayloadTooLarge) else InvalidResult
            return self._dead(kind(str(error)))
        keep = self.options.keep if self.options.keep is not None else self.spec.keep
        return Settlement(self.job.id, self.job.token, Outcome.SUCCEEDED, encoded, None, 0, keep)

    def failed(self, error: BaseException) -> Settlement:
        """Judge an exception by who asked for the end, the directive that it is, or the retry policy."""
        if self.end_reason in _NOT_ITS_FAULT and not isinstance(error, Directive):
            return self._settle(Outcome.RELEASED)
        if isinstance(error, asyncio.CancelledError) and self.end_reason is not None:
            return self.interrupted(error)
        try:
            return self._judged(error)
        except InvalidOption as bad:  # Snooze(-1): the task's mistake, and one that it would repeat
            return self._dead(bad)

    def interrupted(self, cause: BaseException | None = None, where: str = "") -> Settlement:
        """Judge an end that was asked for: by its cancellation (``cause``), or by that of its process, which said
        ``where`` it stood."""
        if self.end_reason in _NOT_ITS_FAULT:
            return self._settle(Outcome.RELEASED)
        if self.end_reason is EndReason.CANCEL:
            return self._settle(Outcome.CANCELLED)
        error = TimeoutError(_overran(self))
        if cause is not None:
            error = error.with_traceback(cause.__traceback__)  # where it was
        if where:
            error.add_note(where)
        return self._judged(error)

    def _judged(self, error: BaseException) -> Settlement:
        if isinstance(error, Snooze):
            if self.job.snoozes >= self.spec.max_snoozes:
                error.add_note(
                    f"it was snoozed {self.job.snoozes} times before, and max_snoozes={self.spec.max_snoozes}"
                )
                return self._dead(error)
            return self._settle(Outcome.SNOOZED, delay=to_span(error.delay, "Snooze(delay)"))
        if isinstance(error, Dead):
            return self._dead(error)
        policy = self.options.retry or policy_for(self.spec.retry, error)
        if isinstance(error, RetryLater) and policy is NEVER:
            policy = Retry()  # asked for by name, and no policy was set: the ordinary one is what is meant
        delay = policy.next_delay(self.job.failures + 1, self.job.id)
        if delay is None:
            return self._dead(error)
        if isinstance(error, RetryLater) and error.delay is not None:
            delay = to_span(error.delay, "RetryLater(delay)")
        self.failure = Failure(error, dead=False)
        return self._settle(Outcome.RETRY, error=self._record(error), delay=delay)

    def _dead(self, error: BaseException) -> Settlement:
        self.failure = Failure(error, dead=True)
        record = self._record(error)
        return Settlement(self.job.id, self.job.token, Outcome.DEAD, None, record, 0, self.spec.keep_dead)

    def _record(self, error: BaseException) -> bytes:
        return encode_error(error, self.job.attempt, _wall(), self.span)

    def _settle(self, outcome: Outcome, *, error: bytes | None = None, delay: Span = 0) -> Settlement:
        keep = self.options.keep if self.options.keep is not None else self.spec.keep
        return Settlement(self.job.id, self.job.token, outcome, None, error, delay, keep)


def released(job: ClaimedJob, *, started: bool) -> Settlement:
    """Give a job back to its old position."""
    return Settlement(job.id, job.token, Outcome.RELEASED, started=started)


def undeliverable(job: ClaimedJob, error: WindlassError, *, hopeless: bool, keep_dead: Span) -> Settlement:
    """Put back a job that this worker cannot run, with a growing delay; ``hopeless``, or for too long: it is dead."""
    record = encode_error(error, job.attempt, _wall())
    if hopeless or job.undeliverable_for >= DELIVERY_WINDOW:
        return Settlement(job.id, job.token, Outcome.DEAD, None, record, 0, keep_dead)
    delay = max(SECOND, min(job.undeliverable_for // 4, MINUTE))
    return Settlement(job.id, job.token, Outcome.UNDELIVERABLE, None, record, delay)


def rejected(job: ClaimedJob, spec: TaskSpec, error: WindlassError) -> Settlement:
    """Put back a job whose arguments its task does not take; if it is a result of another job that does not fit, it is
    dead: that will not change."""
    hopeless = isinstance(error, UndecodablePayload) or _takes(job, error)
    return undeliverable(job, error, hopeless=hopeless, keep_dead=spec.keep_dead)


def _takes(job: ClaimedJob, error: WindlassError) -> bool:
    step = decode_options(job.options).step if is_step(job.options) else None
    return step is not None and isinstance(error, InvalidArguments) and error.argument in step.filled


def _overran(attempt: Attempt) -> str:
    limit = attempt.options.timeout or attempt.spec.timeout or 0
    return f"task {attempt.spec.name} ran longer than its timeout of {limit / SECOND:g} s"


def _wall() -> Instant:
    return time.time_ns() // 1000
