"""Instants and spans, as the port speaks of them.

An *instant* is an integer of microseconds since 1970-01-01T00:00:00Z; a *span* is an integer of microseconds.
Integers compare exactly in every store, and up to the year 2255 they are exact in a Lua or JSON double too. Which
clock an instant belongs to (the store's, unless said otherwise) is part of each contract; this module reads none.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TypeAlias

from windlass.core.errors import InvalidOption

Instant: TypeAlias = int
"""Microseconds since the epoch, UTC."""
Span: TypeAlias = int
"""Microseconds."""

MILLISECOND: Span = 1_000
SECOND: Span = 1_000_000
MINUTE: Span = 60 * SECOND
HOUR: Span = 60 * MINUTE
DAY: Span = 24 * HOUR

MAX_SPAN: Span = 3_660 * DAY
"""Ten years: beyond that a delay, an expiry or a retention is taken for a mistake."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def span(value: object, what: str) -> Span:
    """Turn seconds or a ``timedelta`` into a span.

    Raises `InvalidOption`, naming ``what``, if it is negative, not finite, or longer than `MAX_SPAN`.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float, timedelta)):
        raise InvalidOption(f"{what}: expected seconds or a timedelta, got {type(value).__name__}")
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    # The chained comparison is false for NaN, too.
    if not 0 <= seconds * SECOND <= MAX_SPAN:
        raise InvalidOption(f"{what}: {seconds!r} seconds is not between 0 and {MAX_SPAN // SECOND} (ten years)")
    return round(seconds * SECOND)


def instant(when: object, what: str) -> Instant:
    """Turn an aware ``datetime`` into an instant. Raises `InvalidOption`, naming ``what``, if it is naive."""
    if not isinstance(when, datetime):
        raise InvalidOption(f"{what}: expected a datetime, got {type(when).__name__}")
    if when.tzinfo is None or when.utcoffset() is None:
        raise InvalidOption(f"{what}: {when.isoformat()} has no time zone; use for example datetime.now(UTC)")
    return (when - _EPOCH) // _MICROSECOND


def to_datetime(when: Instant) -> datetime:
    """Turn an instant into an aware ``datetime`` in UTC."""
    return _EPOCH + timedelta(microseconds=when)
