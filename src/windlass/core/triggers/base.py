"""What all triggers have in common."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Self
from zoneinfo import ZoneInfo

import msgspec

from windlass.core.errors import InvalidOption
from windlass.core.walltime import find_zone

INSTANT = timedelta(microseconds=1)


class BaseTrigger(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, tag_field="kind"):
    """What all triggers can do."""

    def next(self, after: datetime) -> datetime | None:
        """The first fire time strictly after this instant, in UTC; ``None`` if there is none before the year 10,000.

        Raises `InvalidOption` for a ``datetime`` without a time zone.
        """
        try:
            return self._next(aware("after", after).astimezone(UTC))
        except OverflowError:
            return None

    def fire_times(self, start: datetime, end: datetime) -> Iterator[datetime]:
        """All fire times from ``start``, which may be one, until ``end``, which is none."""
        fire_time = self.next(aware("start", start) - INSTANT)
        while fire_time is not None and fire_time < aware("end", end):
            yield fire_time
            fire_time = self.next(fire_time)

    def describe(self) -> str:
        """Say in English when it fires."""
        raise NotImplementedError

    def in_zone(self, tz: str) -> Self:  # noqa: ARG002 - for those that have one
        """The same trigger, in this time zone where it says none."""
        return self

    def _next(self, after: datetime) -> datetime | None:
        """See `next`; ``after`` is in UTC."""
        raise NotImplementedError


class ZonedTrigger(BaseTrigger, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What follows the clocks on the wall."""

    tz: str | None = None
    """Name of an IANA time zone."""

    def __post_init__(self) -> None:
        if self.tz is not None and self.tz != "":
            find_zone(self.tz)

    def in_zone(self, tz: str) -> Self:
        """See `BaseTrigger.in_zone`."""
        return self if self.tz else msgspec.structs.replace(self, tz=tz)

    @property
    def zone(self) -> ZoneInfo:
        """The time zone that counts."""
        return find_zone(self.tz or "UTC")

    def with_zone(self, sentence: str) -> str:
        """For `describe`: the sentence, and where its times are meant."""
        return f"{sentence}, {self.tz}" if self.tz else sentence


def aware(what: str, when: object) -> datetime:
    """Give it back if it is a ``datetime`` with a time zone. Raises `InvalidOption`, naming ``what``, if not."""
    if not isinstance(when, datetime):
        raise InvalidOption(f"{what}: expected a datetime, got {type(when).__name__}")
    if when.tzinfo is None or when.utcoffset() is None:
        raise InvalidOption(f"{what}: {when.isoformat()} has no time zone; use for example datetime.now(UTC)")
    return when


def check_trigger(trigger: object) -> None:
    """Raise `InvalidOption` for what is no trigger."""
    if not isinstance(trigger, BaseTrigger):
        raise InvalidOption(f"{trigger!r} is no trigger; expected for example Cron('0 12 * * *') or Every(minutes=5)")
