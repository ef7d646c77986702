"""Clocks that tests move."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from windlass.core.clock import SECOND, Instant, Span, span, to_datetime
from windlass.core.errors import InvalidOption

START: Instant = 1_800_000_000_000_000
"""Where a `ManualClock` starts."""


class ManualClock:
    """A clock for stores under test: it stands until it is moved, in either direction. Call it for the instant."""

    def __init__(self, now: Instant = START) -> None:
        self.now = now

    def __call__(self) -> Instant:
        return self.now

    def move(self, by: Span) -> None:
        """Set it forward, or back, by microseconds."""
        self.now += by


class VirtualClock:
    """The clock of a harness's store: the system's own, and all that it was moved forward by.

    It follows what replaces ``time.time_ns`` (freezegun, time-machine). Nothing else in Python follows it:
    ``datetime.now()`` in your code tells the real time. Call it for the instant.
    """

    def __init__(self) -> None:
        self._ahead: Span = 0
        self._stands_at: Instant | None = None
        self._standing = 0
        self._lock = threading.Lock()
        self._hear: list[Callable[[], None]] = []

    def __call__(self) -> Instant:
        stands_at = self._stands_at
        return self.ticking() if stands_at is None else stands_at

    def ticking(self) -> Instant:
        """What it tells when it does not stand."""
        return time.time_ns() // 1000 + self._ahead

    @contextmanager
    def standing(self) -> Iterator[None]:
        """Let it stand but for `move_to`, so that a job of every minute runs sixty times in an hour that takes no time.

        Afterwards it has caught up with the real time that has passed."""
        with self._lock:
            if not self._standing:
                self._stands_at = self.ticking()
            self._standing += 1
        try:
            yield
        finally:
            with self._lock:
                self._standing -= 1
                if not self._standing:
                    self._stands_at = None

    def now(self) -> datetime:
        """What time it is for the store, in UTC."""
        return to_datetime(self())

    def advance(self, *, days: float = 0, hours: float = 0, minutes: float = 0, seconds: float = 0) -> None:
        """Let time pass in which no worker runs. Raises `InvalidOption` if that is no time, or ten years."""
        self.move_to(self() + positive_span(days=days, hours=hours, minutes=minutes, seconds=seconds))

    def move_to(self, when: Instant) -> None:
        """Set the clock forward to ``when``, unless it is past."""
        with self._lock:
            by = max(0, when - self())
            self._ahead += by
            if self._stands_at is not None:
                self._stands_at += by
        for hear in list(self._hear):
            hear()

    def on_move(self, hear: Callable[[], None]) -> None:
        """Have ``hear`` called, from any thread, whenever the clock was moved."""
        self._hear.append(hear)


def positive_span(*, days: float, hours: float, minutes: float, seconds: float) -> Span:
    """Add up a span of time. Raises `InvalidOption` unless it is one, and longer than nothing."""
    try:
        total = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidOption(f"a span of time: {error}; expected for example hours=1") from None
    if total <= timedelta():
        raise InvalidOption(f"a span of {total.total_seconds():g} s: time only goes forward; say for example hours=1")
    return max(1, span(total, "a span of time"))


def seconds_of(value: Span) -> str:
    """Write a span for people."""
    return f"{value / SECOND:.0f} s" if value >= 1000 * SECOND else f"{value / SECOND:g} s"
