"""Wall-clock times and the instants that they stand for, where clocks are changed.

A wall time is a naive ``datetime``. In a *gap* (clocks go forward) it does not exist; in an *overlap* (clocks go back)
it stands for two instants, the first before the change. A zone is asked for nothing but its offsets: as PEP 495 wants
it, wall times in a gap have the offset before the change with ``fold=0``, and that after it with ``fold=1``.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

from windlass.core.errors import InvalidOption

_SECOND = timedelta(seconds=1)


def find_zone(name: object) -> ZoneInfo:
    """Find an IANA time zone. Raises `InvalidOption` for a name that this machine does not know."""
    if not isinstance(name, str):
        raise InvalidOption(f"tz={name!r}: expected the name of a time zone, such as 'Europe/Berlin'")
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # OSError: the name of a directory
        raise InvalidOption(f"tz={name!r}: no such time zone; expected an IANA name, such as 'Europe/Berlin'") from None


def wall(instant: datetime, zone: tzinfo) -> datetime:
    """What the clocks of the zone show."""
    return instant.astimezone(zone).replace(tzinfo=None, fold=0)


def first_instant(when: datetime, zone: tzinfo) -> datetime:
    """The first instant, in UTC, at which the clocks show this time; for one in a gap, the first after the gap."""
    early, late = _both(when, zone)
    return early if early <= late else _change(late, early, zone)


def in_gap(when: datetime, zone: tzinfo) -> bool:
    """Whether the clocks never show this time."""
    early, late = _both(when, zone)
    return early > late


def second_instant(when: datetime, zone: tzinfo) -> datetime | None:
    """The second instant at which the clocks show this time, if there are two."""
    early, late = _both(when, zone)
    return late if early < late else None


def is_second_pass(instant: datetime, zone: tzinfo) -> bool:
    """Whether the clocks showed this time once before."""
    return instant.astimezone(zone).fold == 1


def overlap(when: datetime, zone: tzinfo) -> tuple[datetime, datetime] | None:
    """The wall times, from and until, that this one is among and that are shown twice; ``None`` if it is not."""
    early, late = _both(when, zone)
    if not early < late:
        return None
    change = _change(early, late, zone)
    return wall(change, zone), wall(change - _SECOND, zone) + _SECOND


def after_gap(when: datetime, zone: tzinfo) -> datetime:
    """The first wall time that is shown after the gap in which this one is."""
    return wall(first_instant(when, zone), zone)


def _both(when: datetime, zone: tzinfo) -> tuple[datetime, datetime]:
    """What the time means by the offset before a change, and by that after it; the same where nothing changes."""
    return when.replace(tzinfo=zone, fold=0).astimezone(UTC), when.replace(tzinfo=zone, fold=1).astimezone(UTC)


def _change(before: datetime, after: datetime, zone: tzinfo) -> datetime:
    """The instant of the change of offset that lies behind ``before`` and not behind ``after``, to the second."""
    offset = after.astimezone(zone).utcoffset()
    low, high = 0, int((after - before).total_seconds())
    while high - low > 1:
        middle = (low + high) // 2
        if (before + middle * _SECOND).astimezone(zone).utcoffset() == offset:
            high = middle
        else:
            low = middle
    return (before + high * _SECOND).replace(microsecond=0)
