"""Triggers made of other triggers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, TypeAlias
from zoneinfo import ZoneInfo

import msgspec

from windlass.core.errors import InvalidOption
from windlass.core.triggers.base import INSTANT, BaseTrigger, ZonedTrigger, aware, check_trigger
from windlass.core.triggers.counting import At, Calendar, Every
from windlass.core.triggers.cronlike import Cron, Daily, Monthly, Weekly
from windlass.core.triggers.times import time_of
from windlass.core.walltime import find_zone, first_instant, wall

_TRIES = 1000
"""Fire times in a row that may be excluded before a trigger counts as one that never fires again."""


class AnyOf(BaseTrigger, frozen=True, forbid_unknown_fields=True):
    """Whenever one of several fires: ``AnyOf([Daily("9:00"), Weekly("fri", "17:00")])``."""

    triggers: Sequence[Trigger]

    def __post_init__(self) -> None:
        if isinstance(self.triggers, str) or not isinstance(self.triggers, Iterable):
            raise InvalidOption(f"AnyOf({self.triggers!r}): expected a list of triggers")
        triggers = tuple(self.triggers)
        if not triggers:
            raise InvalidOption("AnyOf(()): expected at least one trigger")
        for trigger in triggers:
            check_trigger(trigger)
        msgspec.structs.force_setattr(self, "triggers", triggers)

    def in_zone(self, tz: str) -> AnyOf:
        """See `BaseTrigger.in_zone`."""
        return AnyOf([trigger.in_zone(tz) for trigger in self.triggers])

    def _next(self, after: datetime) -> datetime | None:
        return min((found for trigger in self.triggers if (found := trigger.next(after))), default=None)

    def describe(self) -> str:
        """Say in English when it fires."""
        return "; and ".join(trigger.describe() for trigger in self.triggers)


class Within(BaseTrigger, frozen=True, forbid_unknown_fields=True):
    """The fire times of another trigger from ``start`` on and before ``end``."""

    trigger: Trigger
    start: datetime | None = None
    end: datetime | None = None

    def __post_init__(self) -> None:
        check_trigger(self.trigger)
        for what, when in (("start", self.start), ("end", self.end)):
            if when is not None:
                aware(what, when)
        if self.start is not None and self.end is not None and self.end <= self.start:
            raise InvalidOption(f"end={self.end.isoformat()} is not after start={self.start.isoformat()}")

    def in_zone(self, tz: str) -> Within:
        """See `BaseTrigger.in_zone`."""
        return msgspec.structs.replace(self, trigger=self.trigger.in_zone(tz))

    def _next(self, after: datetime) -> datetime | None:
        if self.start is not None:
            after = max(after, self.start.astimezone(UTC) - INSTANT)
        found = self.trigger.next(after)
        return found if found is None or self.end is None or found < self.end else None

    def describe(self) -> str:
        """Say in English when it fires."""
        start = f", from {self.start.isoformat()}" if self.start else ""
        return self.trigger.describe() + start + (f", until {self.end.isoformat()}" if self.end else "")


class Excluding(ZonedTrigger, frozen=True, forbid_unknown_fields=True):
    """The fire times of another trigger without some. The time zone is that of the other trigger if none is given."""

    trigger: Trigger
    dates: tuple[date, ...] = ()
    """Days on which nothing is due."""
    windows: tuple[tuple[datetime, datetime], ...] = ()
    """From the first instant on, and before the second, nothing is due."""
    hours: tuple[tuple[str, str], ...] = ()
    """From the first time of every day on, and before the second, nothing is due: ``[("22:00", "06:00")]``."""

    def __post_init__(self) -> None:
        check_trigger(self.trigger)
        super().__post_init__()
        self._check_shapes()
        for start, end in self.windows:
            if not aware("windows", start) < aware("windows", end):
                raise InvalidOption(f"windows: {start.isoformat()} is not before {end.isoformat()}")
        for opens, closes in self.hours:
            if time_of(opens) == time_of(closes):
                raise InvalidOption(f"hours: from {opens} until {closes} is no time at all")
        if any(isinstance(day, datetime) or not isinstance(day, date) for day in self.dates):
            raise InvalidOption(f"dates={self.dates!r}: expected dates")

    def _check_shapes(self) -> None:
        """Take any lists for the tuples that are meant, and nothing else."""
        if isinstance(self.dates, str) or not isinstance(self.dates, Iterable):
            raise InvalidOption(f"dates={self.dates!r}: expected a list of dates")
        msgspec.structs.force_setattr(self, "dates", tuple(self.dates))
        windows = _pairs("windows", self.windows, "[(datetime(...), datetime(...))]")
        msgspec.structs.force_setattr(self, "windows", windows)
        msgspec.structs.force_setattr(self, "hours", _pairs("hours", self.hours, "[('22:00', '06:00')]"))

    def in_zone(self, tz: str) -> Excluding:
        """See `BaseTrigger.in_zone`."""
        return msgspec.structs.replace(
            self, trigger=self.trigger.in_zone(tz), tz=self.tz or _zone_of(self.trigger) or tz
        )

    @property
    def zone(self) -> ZoneInfo:
        """See `ZonedTrigger.zone`."""
        return find_zone(self.tz or _zone_of(self.trigger) or "UTC")

    def _next(self, after: datetime) -> datetime | None:
        for _ in range(_TRIES + len(self.dates) + len(self.windows)):
            found = self.trigger.next(after)
            if found is None or (until := self._excluded_until(found)) is None:
                return found
            after = max(until - INSTANT, found)
        return None

    def _excluded_until(self, fire_time: datetime) -> datetime | None:
        """When what excludes this fire time ends; ``None`` if nothing does."""
        for start, end in self.windows:
            if start <= fire_time < end:
                return end.astimezone(UTC)
        zone = self.zone
        shown = wall(fire_time, zone)
        if shown.date() in self.dates:
            return first_instant(_midnight(shown) + timedelta(days=1), zone)
        for opens, closes in self.hours:
            opening, closing = _since_midnight(opens), _since_midnight(closes)
            since = shown - _midnight(shown)
            if opening <= since < closing or (closing < opening and not closing <= since < opening):
                days = timedelta(days=int(closing < opening <= since))
                return first_instant(_midnight(shown) + days + closing, zone)
        return None

    def describe(self) -> str:
        """Say in English when it fires."""
        without = [day.isoformat() for day in self.dates]
        without += [f"from {start.isoformat()} until {end.isoformat()}" for start, end in self.windows]
        without += [f"from {opens} to {closes}" for opens, closes in self.hours]
        return f"{self.trigger.describe()}; except {', '.join(without)}" if without else self.trigger.describe()


Trigger: TypeAlias = Cron | Every | At | Daily | Weekly | Monthly | Calendar | AnyOf | Within | Excluding
"""Any trigger."""


def _pairs(what: str, given: Any, example: str) -> tuple[tuple[Any, Any], ...]:
    try:
        if not isinstance(given, str):
            return tuple((first, second) for first, second in given)
    except (TypeError, ValueError):
        pass
    raise InvalidOption(f"{what}={given!r}: expected a list of pairs, such as {example}")


def _zone_of(trigger: BaseTrigger) -> str | None:
    """The zone that a trigger says, or those that it is made of, if they say one."""
    if isinstance(trigger, ZonedTrigger) and trigger.tz:
        return trigger.tz
    if isinstance(trigger, Within | Excluding):
        return _zone_of(trigger.trigger)
    zones = {_zone_of(one) for one in trigger.triggers} if isinstance(trigger, AnyOf) else set()
    return zones.pop() if len(zones) == 1 else None


def _midnight(shown: datetime) -> datetime:
    return shown.replace(hour=0, minute=0, second=0, microsecond=0)


def _since_midnight(at: str) -> timedelta:
    hour, minute, second = time_of(at)
    return timedelta(hours=hour, minutes=minute, seconds=second)
