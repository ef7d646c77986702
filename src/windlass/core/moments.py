"""Times as people say them: at a certain time, or so long ago."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import NamedTuple

from windlass.core.clock import DAY, HOUR, MAX_SPAN, MINUTE, SECOND, Instant, Span, instant
from windlass.core.errors import InvalidOption

_AGE = re.compile(r"([0-9]{1,9})([smhd])")
_UNITS = {"s": SECOND, "m": MINUTE, "h": HOUR, "d": DAY}


class Moment(NamedTuple):
    """An instant, or how long ago it was by the store's clock."""

    at: Instant
    ago: Span | None = None

    def resolve(self, now: Instant) -> Instant:
        """The instant."""
        return self.at if self.ago is None else now - self.ago


def read_moment(text: str) -> Moment:
    """Read ``2h`` (ago) or ``2026-01-31T12:00``, in UTC unless it says otherwise. Raises `InvalidOption`."""
    age = _AGE.fullmatch(text)
    if age and (ago := int(age[1]) * _UNITS[age[2]]) <= MAX_SPAN:
        return Moment(0, ago)
    try:
        when = datetime.fromisoformat(text)
        return Moment(instant(when if when.tzinfo else when.replace(tzinfo=UTC), "time"))
    except (ValueError, OverflowError):
        raise InvalidOption(
            f"{text[:40]!a}: expected a time such as 2026-01-31T12:00 (UTC unless it says otherwise), or an age such "
            "as 90s, 30m, 2h or 7d"
        ) from None


def read_time(text: str, what: str, tz: str) -> datetime:
    """Read a time; one without an offset is meant by the clocks of ``tz``. Raises `InvalidOption`, which calls it
    ``what``."""
    from windlass.core.walltime import find_zone, first_instant

    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidOption(f"{what} {text!a}: expected a time such as 2026-12-31T23:59:00+01:00") from None
    return found if found.tzinfo is not None else first_instant(found, find_zone(tz))
