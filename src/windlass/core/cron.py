"""Cron expressions: what they say, and which wall times they mean.

The fields are (second) minute hour day month weekday. The dialect is that of Debian's cron(8), with what others have
added: seconds in front, ``L`` (last), ``W`` (the working day nearest to), ``#`` (the n-th of a month), ``?`` and ranges
that go round. Where dialects differ, cron(8) decides; what cannot be told is refused, never guessed.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from calendar import monthrange
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache

from windlass.core.errors import InvalidCron, InvalidOption

MACROS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_LONGEST = 1000
_REMEMBERED = 24
_CYCLE = 400 * 12
"""Months after which the calendar repeats itself, weekdays and leap years and all."""
_ITEM = re.compile(
    r"(?P<all>[*?])(?:/(?P<all_step>[0-9]{1,4}))?"
    r"|(?P<first>[0-9]{1,4}|[a-z]{3})(?:-(?P<last>[0-9]{1,4}|[a-z]{3}|l))?(?:/(?P<step>[0-9]{1,4}))?",
    re.ASCII,
)
_DAY = re.compile(
    r"(?P<last>l)(?:-(?P<before>[0-9]{1,2}))?(?P<working>w)?|(?P<day>[0-9]{1,2})w|w(?P<late>[0-9]{1,2})", re.ASCII
)
_WEEKDAY = re.compile(r"(?P<weekday>[0-9]|[a-z]{3})(?:(?P<last>l)|#(?P<nth>[0-9]))", re.ASCII)


@dataclass(frozen=True, slots=True)
class _Field:
    """What may stand in a field."""

    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()
    base: int = 0
    """The number of the first name."""

    @property
    def allowed(self) -> str:
        """For messages."""
        return f"{self.low} to {self.high}" + (f" or {self.names[0]} to {self.names[-1]}" if self.names else "")


_FIELDS = (
    _Field("second", 0, 59),
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of the month", 1, 31),
    _Field("month", 1, 12, _MONTHS, 1),
    _Field("weekday", 0, 7, _DAYS),
)


@dataclass(slots=True)
class Plan:
    """What an expression means."""

    seconds: list[int] = field(default_factory=list)
    minutes: list[int] = field(default_factory=list)
    hours: list[int] = field(default_factory=list)
    days: set[int] = field(default_factory=set)
    months: set[int] = field(default_factory=set)
    weekdays: set[int] = field(default_factory=set)
    """0 is Sunday."""
    before_last: set[int] = field(default_factory=set)
    """Days counted from the end of the month; 0 is the last."""
    nearest: list[tuple[bool, int]] = field(default_factory=list)
    """Working days nearest to a day, which is counted from the month's end if the first is true."""
    last_weekdays: set[int] = field(default_factory=set)
    nth_weekdays: set[tuple[int, int]] = field(default_factory=set)
    either: bool = False
    """Days of the month and weekdays are both restricted: a day that is among one of them is meant."""
    skips: bool = False
    """Minute or hour begin with ``*``: what clocks that go forward leave out is not made up for."""
    repeats: bool = False
    """Seconds, minutes or hours have ``*``, a range or a step: what clocks that go back repeat is due both times."""
    _months: dict[tuple[int, int], list[int]] = field(default_factory=dict)
    """The days of months that were asked for lately."""

    def at_or_after(self, when: datetime) -> datetime | None:
        """The first wall time not before this one, which has no microseconds; ``None`` if there is none."""
        moment = self._time(when.hour, when.minute, when.second)
        for year, month, day in self._dates(when):
            if (year, month, day) == (when.year, when.month, when.day):
                if moment is not None:
                    return datetime(year, month, day, *moment)  # noqa: DTZ001 - a wall time
            else:
                return datetime(year, month, day, self.hours[0], self.minutes[0], self.seconds[0])  # noqa: DTZ001
        return None

    def _time(self, hour: int, minute: int, second: int) -> tuple[int, int, int] | None:
        """The first time of day not before this one."""
        at = bisect_left(self.hours, hour)
        if at < len(self.hours) and self.hours[at] == hour:
            within = self._within_hour(minute, second)
            if within is not None:
                return hour, *within
            at += 1
        return (self.hours[at], self.minutes[0], self.seconds[0]) if at < len(self.hours) else None

    def _within_hour(self, minute: int, second: int) -> tuple[int, int] | None:
        at = bisect_left(self.minutes, minute)
        if at < len(self.minutes) and self.minutes[at] == minute:
            later = bisect_left(self.seconds, second)
            if later < len(self.seconds):
                return minute, self.seconds[later]
            at += 1
        return (self.minutes[at], self.seconds[0]) if at < len(self.minutes) else None

    def _dates(self, when: datetime) -> Iterator[tuple[int, int, int]]:
        """The days that are meant, from this one on, as long as there can be any."""
        first = when.year * 12 + when.month - 1
        for count in range(first, min(first + _CYCLE + 1, 10_000 * 12)):
            year, month = divmod(count, 12)
            month += 1
            if month in self.months:
                for day in self._days_of(year, month):
                    if count > first or day >= when.day:
                        yield year, month, day

    def _days_of(self, year: int, month: int) -> list[int]:
        """The days of this month that are meant."""
        days = self._months.get((year, month))
        if days is None:
            if len(self._months) > _REMEMBERED:
                self._months.clear()
            days = self._months[year, month] = self._work_out(year, month)
        return days

    def _work_out(self, year: int, month: int) -> list[int]:
        monday_based, length = monthrange(year, month)
        first = (monday_based + 1) % 7
        by_day = self._by_day(first, length)
        by_weekday = self._by_weekday(first, length)
        return sorted(by_day | by_weekday if self.either else by_day & by_weekday)

    def _by_day(self, first: int, length: int) -> set[int]:
        meant = {day for day in self.days if day <= length}
        meant.update(length - back for back in self.before_last if back < length)
        for from_end, number in self.nearest:
            day = length - number if from_end else number
            if 1 <= day <= length:
                meant.add(_working_day(day, first, length))
        return meant

    def _by_weekday(self, first: int, length: int) -> set[int]:
        meant = {day for day in range(1, length + 1) if (first + day - 1) % 7 in self.weekdays}
        for weekday in self.last_weekdays:
            meant.add(length - (first + length - 1 - weekday) % 7)
        for weekday, nth in self.nth_weekdays:
            day = 1 + (weekday - first) % 7 + 7 * (nth - 1)
            if day <= length:
                meant.add(day)
        return meant


def _working_day(day: int, first: int, length: int) -> int:
    """The day from Monday to Friday that is nearest, in the same month."""
    weekday = (first + day - 1) % 7
    if weekday == 6:
        return day - 1 if day > 1 else day + 2
    if weekday == 0:
        return day + 1 if day < length else day - 2
    return day


def parse(expression: object) -> Plan:
    """Read an expression. Raises `InvalidCron`, with the position and what is allowed there, if it is wrong, and if no
    day that it means exists (30 February)."""
    if not isinstance(expression, str):
        raise InvalidOption(f"Cron({expression!r}): expected a string such as '0 12 * * mon-fri'")
    if len(expression) > _LONGEST:
        raise InvalidOption(f"a cron expression of {len(expression)} characters; at most {_LONGEST} are allowed")
    return _parse(expression)


@lru_cache(maxsize=4096)
def _parse(expression: str) -> Plan:
    return _Reader(expression).read()


class _Reader:
    """Reads one expression."""

    def __init__(self, expression: str) -> None:
        self._expression = expression
        self._plan = Plan()

    def read(self) -> Plan:
        """See `parse`."""
        text = self._expression
        if text.strip().startswith("@"):
            text = self._macro(text.strip())
        words = list(re.finditer(r"\S+", text))
        if len(words) not in {5, 6}:
            raise InvalidCron(
                self._expression, 0, f"{len(words)} fields; expected five (minute hour day month weekday), or six with "
                "seconds in front"
            )  # fmt: skip
        self._expression = text
        values = [{0}] if len(words) == 5 else []
        for spec, word in zip(_FIELDS[-len(words) :], words, strict=True):
            values.append(self._field(spec, word.group().lower(), word.start()))
        plan = self._plan
        seconds, minutes, hours, plan.days, plan.months, weekdays = values
        plan.seconds, plan.minutes, plan.hours = sorted(seconds), sorted(minutes), sorted(hours)
        plan.weekdays = {day % 7 for day in weekdays}
        starred = [word.group()[0] in "*?" for word in words[-5:]]
        plan.skips = starred[0] or starred[1]
        plan.repeats = any(not word.group().replace(",", "").isdigit() for word in words[:-3])
        plan.either = not (starred[2] or starred[4])
        if plan.at_or_after(datetime(2000, 1, 1)) is None:  # noqa: DTZ001 - a wall time
            raise InvalidCron(self._expression, words[-3].start(), "there is no such day: it would never fire")
        return plan

    def _macro(self, word: str) -> str:
        try:
            return MACROS[word.lower()]
        except KeyError:
            hint = "; use Every(...) for intervals" if word.lower().startswith("@every") else ""
            raise InvalidCron(
                self._expression, self._expression.find("@"), f"unknown word {word!r}; expected one of "
                f"{', '.join(MACROS)}{hint}"
            ) from None  # fmt: skip

    def _field(self, spec: _Field, word: str, position: int) -> set[int]:
        found: set[int] = set()
        items = word.split(",")
        for item in items:
            if not self._special(spec, item, position, alone=len(items) == 1):
                found |= self._item(spec, item, position)
            position += len(item) + 1
        return found

    def _item(self, spec: _Field, item: str, position: int) -> set[int]:
        match = _ITEM.fullmatch(item)
        if match is None:
            raise self._wrong(spec, position, f"{item!r} is not understood" if item else "something is missing")
        if match["all"]:
            return set(range(spec.low, spec.high + 1, self._step(spec, match, "all_step", position)))
        first = self._number(spec, match, "first", position)
        step = self._step(spec, match, "step", position)
        if match["last"] == "l":
            return self._to_the_last_day(spec, match, position, first, step)
        if match["last"]:
            last = self._number(spec, match, "last", position)
            if last < first and step > 1 and match["first"] in spec.names:
                # Others disagree about what mon-sun/2 means in a field that begins with sun.
                raise self._wrong(spec, position, "a range of names that goes round takes no step")
            return self._range(spec, first, last, step)
        if match["step"]:
            # 10/5 is 10-59/5: from 10 on, every 5.
            return set(range(first, (6 if spec.names == _DAYS else spec.high) + 1, step))
        return {first}

    def _range(self, spec: _Field, first: int, last: int, step: int) -> set[int]:
        if first <= last:
            return set(range(first, last + 1, step))
        # Round the end: fri-mon, 22-2.
        size = 7 if spec.names == _DAYS else spec.high - spec.low + 1
        return {(number - spec.low) % size + spec.low for number in range(first, last + size + 1, step)}

    def _to_the_last_day(self, spec: _Field, match: re.Match[str], position: int, first: int, step: int) -> set[int]:
        """``29-L``: to the end of the month, however long; days that a month does not have are left out anyway."""
        if spec.name != "day of the month":
            raise self._wrong(
                spec, position + match.start("last"), "'L' is the last day of a month, or 5L its last Friday"
            )
        return set(range(first, spec.high + 1, step))

    def _special(self, spec: _Field, item: str, position: int, *, alone: bool) -> bool:
        """Read what only days and weekdays have; say whether it was such."""
        if spec.name == "day of the month" and (match := _DAY.fullmatch(item)):
            self._special_day(spec, match, position, alone=alone)
        elif spec.name == "weekday" and (match := _WEEKDAY.fullmatch(item)):
            weekday = self._number(spec, match, "weekday", position) % 7
            if match["last"]:
                self._plan.last_weekdays.add(weekday)
            elif not 1 <= (nth := int(match["nth"])) <= 5:
                raise InvalidCron(self._expression, position + match.start("nth"), f"#{nth}: expected #1 to #5")
            else:
                self._plan.nth_weekdays.add((weekday, nth))
        else:
            return False
        return True

    def _special_day(self, spec: _Field, match: re.Match[str], position: int, *, alone: bool) -> None:
        if "w" in match.group() and not alone:
            raise self._wrong(spec, position, "'W' takes one day, not a list")
        for group in ("day", "late"):
            if match[group]:
                self._plan.nearest.append((False, self._number(spec, match, group, position)))
                return
        back = int(match["before"] or 0)
        if back > 30:
            raise InvalidCron(self._expression, position + match.start("before"), f"L-{back}: expected L-1 to L-30")
        if match["working"]:
            self._plan.nearest.append((True, back))
        else:
            self._plan.before_last.add(back)

    def _number(self, spec: _Field, match: re.Match[str], group: str, position: int) -> int:
        word = match[group]
        if word in spec.names:
            return spec.names.index(word) + spec.base
        if not word.isdigit():
            raise self._wrong(spec, position + match.start(group), f"{word!r} is not understood")
        if not spec.low <= int(word) <= spec.high:
            raise self._wrong(spec, position + match.start(group), f"{word} is out of range")
        return int(word)

    def _step(self, spec: _Field, match: re.Match[str], group: str, position: int) -> int:
        word = match[group]
        if word is None:
            return 1
        if int(word) < 1:
            raise self._wrong(spec, position + match.start(group), "a step of 0")
        return int(word)

    def _wrong(self, spec: _Field, position: int, what: str) -> InvalidCron:
        return InvalidCron(self._expression, position, f"{spec.name}: {what}; expected {spec.allowed}")
