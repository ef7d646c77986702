"""Calls the hooks around an attempt, where it runs."""

from __future__ import annotations

import logging
from collections.abc import Sequence

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
        try:
            hook.after(attempt, error)
        except BaseException:
            log.exception("middleware %s failed after job %s", type(hook).__name__, attempt.job_id)
