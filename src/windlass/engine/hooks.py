"""Calls the hooks around an attempt, where it runs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial

from windlass.context import Middleware
from windlass.engine.attempt import Attempt

log = logging.getLogger("windlass.engine")


def run_before(middleware: Sequence[Middleware], attempt: Attempt) -> None:
    """Call the hooks in their order. What one raises fails the attempt."""
    for hook in middleware:
        hook.before(attempt, attempt.options.headers or {})


def run_after(middleware: Sequence[Middleware], attempt: Attempt, error: BaseException | None) -> None:
    """Call the hooks in the opposite order. What one raises is logged: the attempt has ended."""
    for hook in reversed(middleware):
        _tell_failure(hook, attempt)
        _guarded(hook, attempt, partial(hook.after, attempt, error))


def run_failed(middleware: Sequence[Middleware], attempt: Attempt) -> None:
    """Tell the hooks of a failure where there is nothing else to tell: its process is gone."""
    for hook in reversed(middleware):
        _tell_failure(hook, attempt)


def _tell_failure(hook: Middleware, attempt: Attempt) -> None:
    if attempt.failure is not None:
        error, dead = attempt.failure
        _guarded(hook, attempt, partial(hook.failed, attempt, error, dead=dead))


def _guarded(hook: Middleware, attempt: Attempt, call: Callable[[], None]) -> None:
    try:
        call()
    except BaseException:
        log.exception("middleware %s failed after job %s", type(hook).__name__, attempt.job_id)
