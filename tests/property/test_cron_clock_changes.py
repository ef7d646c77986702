"""Fire times around every kind of clock change of every time zone, against a scan of the minutes themselves."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

import pytest

from windlass.core.triggers import Calendar, Cron, Daily, Every, Trigger

MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)


def offset(instant: datetime, zone: ZoneInfo) -> timedelta:
    found = instant.astimezone(zone).utcoffset()
    assert found is not None
    return found


def changes(zone: ZoneInfo) -> Iterator[datetime]:
    """The instants of the zone's changes from 1970 to 2037, to the minute."""
    step = timedelta(days=7)
    before = datetime(1970, 1, 1, tzinfo=UTC)
    while before.year < 2037:
        after = before + step
        if offset(before, zone) != offset(after, zone):
            low, high = before, after
            while high - low > MINUTE:
                middle = low + (high - low) // MINUTE // 2 * MINUTE
                low, high = (middle, high) if offset(middle, zone) == offset(before, zone) else (low, middle)
            yield high
        before = after


@cache
def kinds_of_change() -> list[tuple[str, datetime]]:
    """One change of each kind: how far the clocks go, and what they show then."""
    found: dict[tuple[timedelta, timedelta], tuple[str, datetime]] = {}
    for name in sorted(available_timezones()):
        zone = ZoneInfo(name)
        for change in changes(zone):
            before, after = offset(change - MINUTE, zone), offset(change, zone)
            if before % MINUTE or after % MINUTE:
                continue  # Liberia until 1972: the scan goes by minutes
            shown = change + before
            kind = after - before, timedelta(hours=shown.hour, minutes=shown.minute)
            found.setdefault(kind, (name, change))
    assert len(found) > 50
    return list(found.values())


def scan(
    minutes: set[int], hours: set[int], zone: ZoneInfo, start: datetime, end: datetime, *, repeats: bool, skips: bool
) -> list[datetime]:
    """What cron(8) says, minute by minute, with nothing but the zone's offsets."""
    found = []
    instant = start
    while instant < end:
        shown = instant.astimezone(zone)
        due = shown.minute in minutes and shown.hour in hours and (repeats or not shown.fold)
        jump = offset(instant, zone) - offset(instant - MINUTE, zone)
        if jump > timedelta(0) and not skips:
            left_out = [shown - n * MINUTE for n in range(1, jump // MINUTE + 1)]
            due = due or any(one.minute in minutes and one.hour in hours for one in left_out)
        if due:
            found.append(instant)
        instant += MINUTE
    return found


ALL_HOURS, ALL_MINUTES = set(range(24)), set(range(60))
EXPRESSIONS = {
    "0 * * * *": ({0}, ALL_HOURS, True, True),
    "30 * * * *": ({30}, ALL_HOURS, True, True),
    "*/20 1-3 * * *": ({0, 20, 40}, {1, 2, 3}, True, True),
    "*/7 * * * *": (set(range(0, 60, 7)), ALL_HOURS, True, True),
    "0,30 0,1,2,3,23 * * *": ({0, 30}, {0, 1, 2, 3, 23}, False, False),
    "15 2 * * *": ({15}, {2}, False, False),
    "59 23 * * *": ({59}, {23}, False, False),
    "0 0 * * *": ({0}, {0}, False, False),
    "10-20 0-3 * * *": (set(range(10, 21)), {0, 1, 2, 3}, True, False),
}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_around_every_kind_of_change(expression: str) -> None:
    minutes, hours, repeats, skips = EXPRESSIONS[expression]
    for name, change in kinds_of_change():
        start, end = change - 28 * 60 * MINUTE, change + 28 * 60 * MINUTE
        found = list(Cron(expression, tz=name).fire_times(start, end))
        expected = scan(minutes, hours, ZoneInfo(name), start, end, repeats=repeats, skips=skips)
        assert found == expected, (name, change)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_from_every_minute_around_a_change_the_next_is_the_same(expression: str) -> None:
    """Whoever looks at any moment finds the next of the one list: nothing is skipped or doubled by when one looks."""
    for name, change in kinds_of_change()[::7]:
        trigger = Cron(expression, tz=name)
        start, end = change - 150 * MINUTE, change + 150 * MINUTE
        every = list(trigger.fire_times(start, end + 3 * DAY))
        instant = start
        while instant < end:
            assert trigger.next(instant) == next(one for one in every if one > instant), (name, instant)
            instant += 7 * MINUTE + timedelta(seconds=13)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", sorted(available_timezones())[::3])
def test_fire_times_increase_in_every_zone(name: str) -> None:
    triggers: list[Trigger] = [
        Cron("30 2 * * *", tz=name),
        Cron("0 */3 * * *", tz=name),
        Daily("00:00", tz=name),
        Calendar(months=1, start=datetime(1970, 1, 31).date(), at="02:30", tz=name),  # noqa: DTZ001
        Every(hours=11),
    ]
    for trigger in triggers:
        last = datetime(2024, 1, 1, tzinfo=UTC)
        for _ in range(300):
            following = trigger.next(last)
            assert following is not None
            assert following > last
            assert trigger.next(following - timedelta(microseconds=1)) == following
            last = following


@pytest.mark.parametrize("name", ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe"])
def test_a_daily_time_fires_once_a_day_for_years(name: str) -> None:
    for at in ("00:00", "01:30", "02:15", "02:45", "23:59"):
        start = datetime(2010, 12, 31, 23, 59, 59, tzinfo=ZoneInfo(name))
        found = list(Daily(at, tz=name).fire_times(start, datetime(2031, 1, 1, tzinfo=ZoneInfo(name))))
        days = (datetime(2031, 1, 1) - datetime(2011, 1, 1)).days  # noqa: DTZ001
        assert len(found) == days
