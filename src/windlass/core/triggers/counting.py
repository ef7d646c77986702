"""Triggers that count from a moment or a date."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from windlass.core.errors import InvalidOption
from windlass.core.triggers.base import BaseTrigger, ZonedTrigger, aware
from windlass.core.triggers.times import time_of
from windlass.core.walltime import first_instant, wall

_SHORTEST = timedelta(milliseconds=1)
_LONGEST = timedelta(days=3660)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Every(BaseTrigger, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """At equal distances that never drift: ``Every(minutes=5)``. What is given is added up.

    A day is 24 hours here, whatever the clocks do: see `Daily` and `Calendar`.
    """

    weeks: float = 0
    days: float = 0
    hours: float = 0
    minutes: float = 0
    seconds: float = 0
    anchor: datetime | None = None
    """One of the fire times, past or future, from which all others are counted; by default the first moment of 1970 in
    UTC, so that ``Every(minutes=5)`` fires when the minute is 0, 5, 10, ..."""

    def __post_init__(self) -> None:
        try:
            interval = self._interval
        except (TypeError, ValueError, OverflowError):
            raise InvalidOption(f"{self}: expected numbers of weeks, days, hours, minutes, seconds") from None
        if not _SHORTEST <= interval <= _LONGEST:
            raise InvalidOption(f"{self}: expected an interval from a millisecond to ten years")
        if self.anchor is not None:
            aware("anchor", self.anchor)

    @property
    def _interval(self) -> timedelta:
        return timedelta(weeks=self.weeks, days=self.days, hours=self.hours, minutes=self.minutes, seconds=self.seconds)

    def _next(self, after: datetime) -> datetime | None:
        anchor = _EPOCH if self.anchor is None else self.anchor.astimezone(UTC)
        interval = self._interval
        return anchor + ((after - anchor) // interval + 1) * interval

    def describe(self) -> str:
        """Say in English when it fires."""
        left = self._interval
        parts = []
        for unit in ("weeks", "days", "hours", "minutes", "seconds"):
            size = timedelta(**{unit: 1})
            number = left / size if unit == "seconds" else left // size
            left -= number * size
            if number:
                parts.append(f"{number:g} {unit if number != 1 else unit[:-1]}")
        return f"Every {' and '.join(parts)}" + (f", counted from {self.anchor.isoformat()}" if self.anchor else "")


class At(BaseTrigger, frozen=True, forbid_unknown_fields=True):
    """Once, at this instant."""

    when: datetime

    def __post_init__(self) -> None:
        aware("when", self.when)

    def _next(self, after: datetime) -> datetime | None:
        when = self.when.astimezone(UTC)
        return when if when > after else None

    def describe(self) -> str:
        """Say in English when it fires."""
        return f"Once, at {self.when.isoformat()}"


class Calendar(ZonedTrigger, frozen=True, forbid_unknown_fields=True):
    """Every so many months or years, or every so many days or weeks, counted from a date, ``at`` a time on the wall:
    ``Calendar(months=3, start=date(2026, 1, 15), at="09:00")``. A month that does not have the day is left out."""

    start: date
    """The first date."""
    at: str = "00:00"
    years: int = 0
    months: int = 0
    weeks: int = 0
    days: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        time_of(self.at)
        if isinstance(self.start, datetime) or not isinstance(self.start, date):
            raise InvalidOption(f"Calendar(start={self.start!r}): expected a date")
        counts = (self.years, self.months, self.weeks, self.days)
        if any(isinstance(count, bool) or not isinstance(count, int) or not 0 <= count <= 3660 for count in counts):
            raise InvalidOption(f"{self}: expected whole numbers of years, months, weeks, days")
        if bool(self._months) == bool(self._days):
            raise InvalidOption(f"{self}: expected months and years, or weeks and days; one of the two")

    @property
    def _months(self) -> int:
        return self.years * 12 + self.months

    @property
    def _days(self) -> int:
        return self.weeks * 7 + self.days

    def _next(self, after: datetime) -> datetime | None:
        zone = self.zone
        count = max(self._count_before(wall(after, zone).date()), 0)
        hour, minute, second = time_of(self.at)
        while True:
            day = self._date(count)
            if day is not None:
                fire_time = first_instant(datetime(day.year, day.month, day.day, hour, minute, second), zone)  # noqa: DTZ001
                if fire_time > after:
                    return fire_time
            count += 1

    def _count_before(self, day: date) -> int:
        """How many steps from the start do not lead beyond this date, or fewer."""
        if self._days:
            return (day - self.start).days // self._days - 1
        return ((day.year - self.start.year) * 12 + day.month - self.start.month) // self._months - 1

    def _date(self, count: int) -> date | None:
        """The date after so many steps; ``None`` if its month does not have it."""
        if self._days:
            return self.start + timedelta(days=count * self._days)
        year, month = divmod(self.start.year * 12 + self.start.month - 1 + count * self._months, 12)
        if year > 9999:
            raise OverflowError
        try:
            return date(year, month + 1, self.start.day)
        except ValueError:
            return None

    def describe(self) -> str:
        """Say in English when it fires."""
        parts = [
            f"{number} {unit}" if number > 1 else unit[:-1]
            for unit in ("years", "months", "weeks", "days")
            if (number := getattr(self, unit))
        ]
        return self.with_zone(f"Every {' and '.join(parts)} at {self.at}, counted from {self.start.isoformat()}")
