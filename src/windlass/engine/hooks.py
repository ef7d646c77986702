"""Calls the hooks around an attempt, where it runs."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from windlass.context import Middleware
from windlass.engine.attempt import Attempt, Failure

log = logging.getLogger("windlass.engine")
_FAILED = "middleware %s failed after job %s"


def run_before(middleware: Sequence[Middleware], attempt: Attempt) -> None:
    """Call the hooks in their order. What one raises fails the attempt."""
    for hook in middleware:
        hook.before(attempt, attempt.options.headers or {})


def run_after(middleware: Sequence[Middleware], attempt: Attempt, error: BaseException | None) -> None:
    """Call the hooks in the opposite order. What one raises is logged: the attempt has ended."""
    for hook in reversed(middleware):
        if attempt.failure is not None:
            _tell_failure(hook, attempt, attempt.failure)
        try:
            hook.after(attempt, error)
        except BaseException:
            log.exception(_FAILED, type(hook).__name__, attempt.job_id)


def run_failed(middleware: Sequence[Middleware], attempt: Attempt) -> None:
    """Tell the hooks of a failure where there is nothing else to tell: its process is gone."""
    for hook in reversed(middleware):
        if attempt.failure is not None:
            _tell_failure(hook, attempt, attempt.failure)


def _tell_failure(hook: Middleware, attempt: Attempt, failure: Failure) -> None:
    try:
        hook.failed(attempt, failure.error, dead=failure.dead)
    except BaseException:
        log.exception(_FAILED, type(hook).__name__, attempt.job_id)
