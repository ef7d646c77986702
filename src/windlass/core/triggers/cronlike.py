"""Triggers that a cron expression can say."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from windlass.core import cron
from windlass.core.errors import InvalidOption
from windlass.core.triggers.base import ZonedTrigger
from windlass.core.triggers.english import sentence_of
from windlass.core.triggers.times import time_of
from windlass.core.walltime import after_gap, first_instant, in_gap, is_second_pass, overlap, second_instant, wall

_SECOND = timedelta(seconds=1)


class _Cronlike(ZonedTrigger, frozen=True, forbid_unknown_fields=True):
    """What a cron expression can say."""

    def _expression(self) -> str:
        raise NotImplementedError

    def as_cron(self) -> str:
        """A cron expression that is due at the same times, by the same clocks."""
        expression = self._expression()
        return expression.removeprefix("0 ") if len(expression.split()) == 6 else expression

    def __post_init__(self) -> None:
        super().__post_init__()
        cron.parse(self._expression())

    def _next(self, after: datetime) -> datetime | None:
        return _next_instant(cron.parse(self._expression()), self.zone, after)


class Cron(_Cronlike, frozen=True, forbid_unknown_fields=True):
    """A cron expression: minute, hour, day of the month, month, weekday; with six fields, seconds in front.

    Names, lists, ranges (that may go round: ``fri-mon``), steps, ``L``, ``15W``, ``LW``, ``L-3``, ``5L``, ``mon#2``,
    ``?`` and ``@daily`` and its like are understood. A day of the month and a weekday that are both given mean the days
    that are among one of them.

    Where clocks go forward, a time that they leave out is due at the first instant after the gap, unless the minute or
    the hour begins with ``*``: then it is left out, since others are due in its place. Where they go back, a time that
    they repeat is due the first time only, unless seconds, minutes or hours have ``*``, a range or a step: such an
    expression follows the time that passes, and is due both times.

    Raises `InvalidCron`, with the position, for an expression that is wrong or can never fire.
    """

    expression: str

    def _expression(self) -> str:
        return self.expression

    def describe(self) -> str:
        """Say in English when it fires."""
        return self.with_zone(sentence_of(self.expression))


class Daily(_Cronlike, frozen=True, forbid_unknown_fields=True):
    """Every day ``at`` a time: ``Daily("12:00")``, ``Daily("12:00:30", tz="Asia/Seoul")``."""

    at: str

    def _expression(self) -> str:
        return f"{_time_fields(self.at)} * * *"

    def describe(self) -> str:
        """Say in English when it fires."""
        return self.with_zone(f"Every day at {self.at}")


class Weekly(_Cronlike, frozen=True, forbid_unknown_fields=True):
    """On some weekdays ``at`` a time: ``Weekly("mon", "09:00")``, ``Weekly("mon-fri", "09:00")``, ``Weekly("tue,thu",
    "9:00")``."""

    days: str
    at: str

    def _expression(self) -> str:
        if not isinstance(self.days, str) or not re.fullmatch(r"[a-zA-Z]{3}([-,][a-zA-Z]{3})*", self.days):
            raise InvalidOption(f"Weekly({self.days!r}): expected weekdays such as 'mon', 'mon-fri' or 'tue,thu'")
        return f"{_time_fields(self.at)} * * {self.days}"

    def describe(self) -> str:
        """Say in English when it fires."""
        days = re.sub("[a-z]+", lambda name: name.group().capitalize(), self.days.lower())
        return self.with_zone(f"Every week on {days.replace(',', ', ').replace('-', ' to ')} at {self.at}")


class Monthly(_Cronlike, frozen=True, forbid_unknown_fields=True):
    """On a day of every month that has it ``at`` a time: ``Monthly(1, "09:00")``, ``Monthly("last", "09:00")``."""

    day: int | str
    at: str

    def _expression(self) -> str:
        if self.day == "last":
            return f"{_time_fields(self.at)} L * *"
        if isinstance(self.day, bool) or not isinstance(self.day, int) or not 1 <= self.day <= 31:
            raise InvalidOption(f"Monthly({self.day!r}): expected a day from 1 to 31, or 'last'")
        return f"{_time_fields(self.at)} {self.day} * *"

    def describe(self) -> str:
        """Say in English when it fires."""
        day = "the last day" if self.day == "last" else f"day {self.day}"
        return self.with_zone(f"On {day} of every month at {self.at}")


def _time_fields(at: str) -> str:
    hour, minute, second = time_of(at)
    return f"{second} {minute} {hour}"


def _next_instant(plan: cron.Plan, zone: ZoneInfo, after: datetime) -> datetime | None:
    """The first instant after this one at which the plan is due."""
    shown = wall(after, zone)
    second_pass = is_second_pass(after, zone)
    # In a first pass it matters only to what is due both times.
    twice = overlap(shown, zone) if second_pass or plan.repeats else None
    if twice and second_pass and not plan.repeats:
        # All of it was due the first time.
        shown = twice[1] - _SECOND
    when = plan.at_or_after(_next_second(shown))
    while when is not None and plan.skips and in_gap(when, zone):
        when = plan.at_or_after(after_gap(when, zone))
    if twice and not second_pass and plan.repeats and (when is None or when >= twice[1]):
        # Between here and there the clocks go back, and show once more what they have shown.
        again = plan.at_or_after(twice[0])
        if again is not None and again < twice[1]:
            return second_instant(again, zone)
    if when is None:
        return None
    if twice and second_pass and when < twice[1]:
        return second_instant(when, zone)
    return first_instant(when, zone)


def _next_second(shown: datetime) -> datetime:
    return shown.replace(microsecond=0) + _SECOND
