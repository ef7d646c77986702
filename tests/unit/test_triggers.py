"""Each kind of trigger: when it fires, what it refuses, what it says, and that it survives storage."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest

from windlass.core.errors import InvalidCron, InvalidOption
from windlass.core.triggers import (
    AnyOf,
    At,
    Calendar,
    Cron,
    Daily,
    Every,
    Excluding,
    Monthly,
    Trigger,
    Weekly,
    Within,
)

SEOUL = ZoneInfo("Asia/Seoul")
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


def times(trigger: Trigger, count: int, after: datetime = NOON) -> list[str]:
    found = []
    while len(found) < count and (fire_time := trigger.next(after)) is not None:
        found.append(fire_time.strftime("%Y-%m-%d %H:%M:%S"))
        after = fire_time
    return found


# ------------------------------------------------------------------------------------------------------------- every


def test_an_interval_counts_from_the_epoch_and_never_drifts() -> None:
    assert times(Every(minutes=5), 2, NOON + timedelta(seconds=1.5)) == ["2026-01-31 12:05:00", "2026-01-31 12:10:00"]
    late = Every(seconds=7).next(NOON + timedelta(days=4000, microseconds=3))
    assert late is not None
    assert (late - datetime(1970, 1, 1, tzinfo=UTC)) % timedelta(seconds=7) == timedelta(0)


def test_an_interval_counts_from_its_anchor_in_both_directions() -> None:
    anchor = datetime(2026, 2, 1, 9, 30, tzinfo=SEOUL)
    assert times(Every(hours=36, anchor=anchor), 3) == [
        "2026-02-01 00:30:00",
        "2026-02-02 12:30:00",
        "2026-02-04 00:30:00",
    ]
    assert times(Every(days=1, anchor=anchor), 1, NOON - timedelta(days=30)) == ["2026-01-02 00:30:00"]


def test_what_is_given_is_added_up() -> None:
    interval = Every(weeks=1, days=1, hours=1, minutes=1, seconds=1.5, anchor=NOON)
    first, second = (interval.next(NOON), interval.next(NOON + timedelta(days=9)))
    assert first == NOON + timedelta(days=8, hours=1, minutes=1, seconds=1.5)
    assert second is not None
    assert second - first == first - NOON


@pytest.mark.parametrize(
    "wrong",
    [{}, {"minutes": 0}, {"minutes": -5}, {"seconds": 1e-5}, {"days": 4000}, {"hours": float("nan")}, {"hours": "1"}],
)
def test_intervals_that_cannot_be(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidOption, match="expected"):
        Every(**wrong)


# ------------------------------------------------------------------------------------------------------ at, calendar


def test_once() -> None:
    at = At(datetime(2026, 2, 1, 9, tzinfo=SEOUL))
    assert times(at, 2) == ["2026-02-01 00:00:00"]
    assert at.next(datetime(2026, 2, 1, 0, 0, 0, tzinfo=UTC)) is None


def test_a_month_without_the_day_is_left_out() -> None:
    assert times(Calendar(months=1, start=date(2026, 1, 31), at="9:00"), 3) == [
        "2026-03-31 09:00:00",
        "2026-05-31 09:00:00",
        "2026-07-31 09:00:00",
    ]


def test_leap_days_every_year_are_every_fourth_year_but_for_2100() -> None:
    leap = Calendar(years=1, start=date(2088, 2, 29))
    assert times(leap, 4, datetime(2087, 1, 1, tzinfo=UTC)) == [
        f"{year}-02-29 00:00:00" for year in (2088, 2092, 2096, 2104)
    ]


def test_every_second_week_on_the_wall_through_a_change_of_clocks() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    trigger = Calendar(weeks=2, start=date(2026, 3, 16), at="08:00", tz="Europe/Berlin")
    shown = [
        at.astimezone(berlin)
        for at in trigger.fire_times(datetime(2026, 3, 1, tzinfo=UTC), NOON.replace(month=5, day=1))
    ]
    assert [at.strftime("%d.%m. %H:%M") for at in shown] == [
        "16.03. 08:00",
        "30.03. 08:00",
        "13.04. 08:00",
        "27.04. 08:00",
    ]
    assert shown[1].utcoffset() != shown[0].utcoffset()


def test_nothing_before_the_first_date() -> None:
    assert times(Calendar(days=3, start=date(2030, 1, 1)), 1) == ["2030-01-01 00:00:00"]


@pytest.mark.parametrize(
    "wrong",
    [{}, {"months": 1, "days": 1}, {"months": -1}, {"days": 1, "at": "25:00"}, {"days": 1, "tz": "Europe"},
     {"days": True}, {"days": 1, "start": NOON}],
)  # fmt: skip
def test_calendars_that_cannot_be(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidOption):
        Calendar(**{"start": date(2026, 1, 1)} | wrong)


# --------------------------------------------------------------------------------------------------- words for people


def test_words_for_people() -> None:
    assert times(Daily("12:00", tz="Asia/Seoul"), 1) == ["2026-02-01 03:00:00"]
    assert times(Daily("7:05:30"), 1) == ["2026-02-01 07:05:30"]
    assert times(Weekly("mon-fri", "09:00"), 2) == ["2026-02-02 09:00:00", "2026-02-03 09:00:00"]
    assert times(Weekly("Tue,thu", "09:00"), 2) == ["2026-02-03 09:00:00", "2026-02-05 09:00:00"]
    assert times(Monthly(31, "00:00"), 2) == ["2026-03-31 00:00:00", "2026-05-31 00:00:00"]
    assert times(Monthly("last", "00:00"), 2) == ["2026-02-28 00:00:00", "2026-03-31 00:00:00"]


@pytest.mark.parametrize(
    "at", ["noon", "24:00", "12", "12:60", "12:00:60", "", " 12:00", "12:00\n", 12, None, "\u0661\u0662:00"]
)
def test_times_of_day_that_cannot_be(at: Any) -> None:
    with pytest.raises(InvalidOption, match="no time of day"):
        Daily(at)


@pytest.mark.parametrize("days", ["monday", "1", "mon fri", "", "*"])
def test_weekdays_that_cannot_be(days: str) -> None:
    with pytest.raises(InvalidOption):
        Weekly(days, "12:00")


@pytest.mark.parametrize("day", [0, 32, "first", True, "5"])
def test_days_of_the_month_that_cannot_be(day: Any) -> None:
    with pytest.raises(InvalidOption, match="from 1 to 31"):
        Monthly(day, "12:00")


@pytest.mark.parametrize("tz", ["Europe", "Mars/Base", "../etc/passwd", "", "utc\0", 3])
def test_zones_that_do_not_exist(tz: Any) -> None:
    if tz == "":
        assert Cron("0 0 * * *", tz=tz).next(NOON) == NOON + timedelta(hours=12)
        return
    with pytest.raises(InvalidOption, match="time zone"):
        Cron("0 0 * * *", tz=tz)


# ----------------------------------------------------------------------------------------------------------- combined


def test_any_of_several() -> None:
    trigger = AnyOf([Daily("18:00"), Every(hours=6), Daily("18:00", tz="Asia/Seoul")])
    assert times(trigger, 3) == ["2026-01-31 18:00:00", "2026-02-01 00:00:00", "2026-02-01 06:00:00"]


def test_from_a_start_until_an_end() -> None:
    trigger = Within(Daily("12:00"), start=NOON + timedelta(days=1), end=NOON + timedelta(days=3))
    assert times(trigger, 9, NOON - timedelta(days=400)) == ["2026-02-01 12:00:00", "2026-02-02 12:00:00"]
    with pytest.raises(InvalidOption, match="not after"):
        Within(Daily("12:00"), start=NOON, end=NOON)


def test_without_dates_by_the_clocks_of_the_trigger() -> None:
    daily = Daily("08:00", tz="Asia/Seoul")  # 23:00 of the day before in UTC
    assert times(Excluding(daily, dates=(date(2026, 2, 2),)), 2) == ["2026-01-31 23:00:00", "2026-02-02 23:00:00"]
    assert times(Excluding(daily, dates=(date(2026, 2, 2),), tz="UTC"), 2)[1] == "2026-02-01 23:00:00"


def test_without_a_window() -> None:
    window = (NOON + timedelta(hours=1), NOON + timedelta(hours=30))
    assert times(Excluding(Every(hours=1), windows=(window,)), 1) == ["2026-02-01 18:00:00"]
    assert times(Excluding(Every(seconds=0.001), windows=(window,)), 1, window[0]) == ["2026-02-01 18:00:00"]


def test_without_the_hours_of_the_night() -> None:
    trigger = Excluding(Every(hours=1), hours=(("22:00", "06:00"), ("12:00", "13:00")))
    assert times(trigger, 3, NOON + timedelta(hours=9)) == [
        "2026-02-01 06:00:00",
        "2026-02-01 07:00:00",
        "2026-02-01 08:00:00",
    ]
    assert "2026-02-01 12:00:00" not in times(trigger, 20)


def test_what_is_always_excluded_ends() -> None:
    assert Excluding(Daily("12:00"), hours=(("11:00", "13:00"),)).next(NOON) is None


def test_what_is_no_trigger_is_refused() -> None:
    for make in (lambda: AnyOf([]), lambda: AnyOf(["0 12 * * *"]), lambda: Within("x"), lambda: Excluding(None)):  # type: ignore[list-item, arg-type]
        with pytest.raises(InvalidOption):
            make()


# ------------------------------------------------------------------------------------------------------------ of all

ALL: list[Trigger] = [
    Cron("0 12 * * mon-fri", tz="Asia/Seoul"),
    Cron("*/10 * * * * *"),
    Every(minutes=5, anchor=NOON),
    At(NOON + timedelta(days=1)),
    Daily("12:00"),
    Weekly("mon", "12:00", tz="Europe/Berlin"),
    Monthly("last", "12:00"),
    Calendar(months=3, start=date(2026, 1, 31), at="09:00"),
    AnyOf([Daily("12:00"), Every(hours=1)]),
    Within(Daily("12:00"), start=NOON),
    Excluding(
        Within(Daily("12:00"), end=NOON + timedelta(days=900)), dates=(date(2026, 2, 1),), hours=(("1:00", "2:00"),)
    ),
]


@pytest.mark.parametrize("trigger", ALL, ids=lambda trigger: type(trigger).__name__)
def test_stored_and_read_again_it_is_the_same(trigger: Trigger) -> None:
    again = msgspec.json.decode(msgspec.json.encode(trigger), type=Trigger)
    assert times(again, 3) == times(trigger, 3) != []
    assert again == msgspec.json.decode(msgspec.json.encode(again), type=Trigger)
    assert again.describe() == trigger.describe()


@pytest.mark.parametrize("trigger", ALL, ids=lambda trigger: type(trigger).__name__)
def test_naive_times_are_refused(trigger: Trigger) -> None:
    with pytest.raises(InvalidOption, match="time zone"):
        trigger.next(datetime(2026, 1, 1))  # noqa: DTZ001


@pytest.mark.parametrize("trigger", ALL, ids=lambda trigger: type(trigger).__name__)
def test_the_end_of_the_calendar_ends_it(trigger: Trigger) -> None:
    assert trigger.next(datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)) is None


@pytest.mark.parametrize("trigger", ALL, ids=lambda trigger: type(trigger).__name__)
def test_fire_times_are_what_next_gives(trigger: Trigger) -> None:
    found = list(trigger.fire_times(NOON, NOON + timedelta(days=2)))[:100]
    assert all(earlier < later for earlier, later in pairwise(found))
    if found:
        assert trigger.next(found[0] - timedelta(microseconds=1)) == found[0]


@pytest.mark.parametrize(
    "stored",
    [b'{"kind":"Cron","expression":"61 * * * *"}', b'{"kind":"Os","expression":"1"}', b'{"kind":"Every"}', b"[]",
     b'{"kind":"Daily","at":"12:00","more":1}'],
)  # fmt: skip
def test_what_is_stored_wrongly_is_refused(stored: bytes) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(stored, type=Trigger)


def test_the_zone_of_the_app_is_for_those_that_have_none() -> None:
    seoul = AnyOf(
        [Daily("12:00"), Daily("12:00", tz="UTC"), Excluding(Within(Daily("9:00")), dates=(date(2026, 1, 1),))]
    )
    first, second, third = seoul.in_zone("Asia/Seoul").triggers
    assert (first.tz, second.tz) == ("Asia/Seoul", "UTC")
    assert isinstance(third, Excluding)
    assert third.tz == "Asia/Seoul"
    assert times(third, 1) == ["2026-02-01 00:00:00"]
    assert Every(minutes=1).in_zone("Asia/Seoul") == Every(minutes=1)


@pytest.mark.parametrize(
    ("trigger", "sentence"),
    [
        (Cron("0 12 * * *", tz="Asia/Seoul"), "At 12:00, every day, Asia/Seoul"),
        (Cron("@hourly"), "Every hour, every day"),
        (Cron("*/5 9-17 * * mon-fri"), "Every 5 minutes, between 09:00 and 17:59, Monday through Friday"),
        (Cron("30 6 L * *"), "At 06:30, on the last day of the month"),
        (Cron("? ? L * ?"), "Every minute, every hour, on the last day of the month"),
        (
            Cron("0 9 * * 1#1,3#2"),
            "At 09:00, on the first Monday of the month; and at 09:00, on the second Wednesday of the month",
        ),
        (Cron("0 9 1 * 5L"), "At 09:00, on day 1 of the month, or on the last Friday of the month"),
        (Cron("0 0 */2 * mon"), "At 00:00, every 2 days, but only on Monday"),
        (Cron("0 0 10-15 * 1-5"), "At 00:00, between day 10 and 15 of the month, or Monday through Friday"),
        (Cron("0 0 L * */2"), "At 00:00, on the last day of the month, but only every 2 days of the week"),
        (Cron("0 0 L,15 * *"), "At 00:00, on the last day of the month; and at 00:00, on day 15 of the month"),
        (Cron("0 0 L-3W * *"), "At 00:00, on the weekday nearest to 3 days before the last day of the month"),
        (Cron("*/90 */40 * * *"), "At 00:00, every day"),
        (Cron("0 0 31 2,* *"), "At 00:00, on day 31 of the month"),
        (Cron("0 ? * * *"), "Every hour, every day"),
        (Cron(" 8 15/69,*/19 L jan 5L", tz="Asia/Seoul"), "Cron 8 15/69,*/19 L jan 5L, Asia/Seoul"),
        (Daily("12:00"), "Every day at 12:00"),
        (Weekly("MON-fri", "09:00"), "Every week on Mon to Fri at 09:00"),
        (Every(hours=1, minutes=30), "Every 1 hour and 30 minutes"),
        (Calendar(months=3, start=date(2026, 1, 15), at="9:00"), "Every 3 months at 9:00, counted from 2026-01-15"),
        (AnyOf([Daily("9:00"), Daily("12:00")]), "Every day at 9:00; and Every day at 12:00"),
        (Excluding(Daily("9:00"), hours=(("8:00", "10:00"),)), "Every day at 9:00; except from 8:00 to 10:00"),
    ],
)
def test_sentences(trigger: Trigger, sentence: str) -> None:
    assert trigger.describe() == sentence


@pytest.mark.parametrize(
    ("expression", "position", "words"),
    [
        ("61 * * * *", 0, "minute: 61 is out of range; expected 0 to 59"),
        ("0 0 * foo *", 6, "month: 'foo' is not understood; expected 1 to 12 or jan to dec"),
        ("0 0 1,,2 * *", 6, "day of the month: something is missing"),
        ("* * * *", 0, "4 fields"),
        ("*/0 * * * *", 2, "a step of 0"),
        ("0 0 30 2 *", 4, "would never fire"),
        ("@reboot", 0, "@daily"),
        ("@every 5m", 0, "Every(...)"),
        ("", 0, "0 fields"),
    ],
)
def test_what_is_wrong_with_an_expression_and_where(expression: str, position: int, words: str) -> None:
    with pytest.raises(InvalidCron) as caught:
        Cron(expression)
    assert caught.value.position == position
    assert words in str(caught.value)
    assert str(caught.value).endswith(" " * position + "^")


@pytest.mark.parametrize(
    "expression", [None, 5, b"* * * * *", "0 0 * * *\0", "\u0665 * * * *", "* " * 5000, "9" * 5000 + " * * * *"]
)
def test_hostile_expressions(expression: Any) -> None:
    with pytest.raises(InvalidOption):
        Cron(expression)


def test_lines_and_tabs_separate_fields_too() -> None:
    assert Cron(" 0\t12\n* * * ").next(NOON) == NOON + timedelta(days=1)


WEIRD = [None, "", "x", 0, -1, 1.5, math.nan, {1: 2}, [1], ["x"], object, b"x", datetime(2026, 1, 1), [("9:00",)]]  # noqa: DTZ001
MAKERS: dict[str, Callable[[Any], Trigger]] = {
    "Cron": Cron,
    "tz": lambda value: Daily("9:00", tz=value or 0),
    "At": At,
    "Daily": Daily,
    "Weekly": lambda value: Weekly(value, "9:00"),
    "Monthly": lambda value: Monthly(value, "9:00"),
    "Monthly, at": lambda value: Monthly(1, value),
    "Calendar, start": lambda value: Calendar(months=1, start=value, at="9:00"),
    "AnyOf": AnyOf,
    "Within": lambda value: Within(value, start=datetime(2026, 1, 1, tzinfo=UTC)),
    "dates": lambda value: Excluding(Daily("9:00"), dates=value or ""),  # type: ignore[arg-type]
    "windows": lambda value: Excluding(Daily("9:00"), windows=value or ""),  # type: ignore[arg-type]
    "hours": lambda value: Excluding(Daily("9:00"), hours=value or ""),  # type: ignore[arg-type]
    "one window": lambda value: Excluding(Daily("9:00"), windows=[value]),  # type: ignore[arg-type]
    "one date": lambda value: Excluding(Daily("9:00"), dates=[value]),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("value", WEIRD, ids=repr)
@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_what_cannot_be_meant_is_refused_in_words(make: Callable[[Any], Trigger], value: object) -> None:
    with pytest.raises(InvalidOption):
        make(value)


def test_lists_will_do_where_tuples_are_meant() -> None:
    listed = Excluding(Daily("9:00"), dates=[date(2026, 1, 1)], hours=[("8:00", "8:30")])  # type: ignore[arg-type]
    assert listed == Excluding(Daily("9:00"), dates=(date(2026, 1, 1),), hours=(("8:00", "8:30"),))


def _field(random: Random, low: int, high: int) -> str:
    first, last = random.randint(low, high), random.randint(low, high)
    kinds = [f"{first}", f"{first}-{last}", f"*/{last or 1}", f"{first}/80", f"{first}-{last}/3", "*", "?"]
    return ",".join(random.choice(kinds) for _ in range(random.choice([1, 1, 2])))


def test_whatever_fires_has_a_sentence() -> None:
    """Nobody could look at a list of schedules of which one has none."""
    random = Random(5)
    said = 0
    for _ in range(3000):
        days = random.choice([_field(random, 1, 31), "L", "LW", "15W", "L-3", "L,5", "L-4W"])
        weekdays = random.choice([_field(random, 0, 7), "mon#2", "5L", "mon-fri", "1#1,3#2"])
        expression = f"{_field(random, 0, 59)} {_field(random, 0, 23)} {days} {_field(random, 1, 12)} {weekdays}"
        try:
            trigger = Cron(expression)
        except InvalidCron:
            continue
        said += not trigger.describe().startswith("Cron ") and "?" not in trigger.describe()
    assert said > 2500


def test_any_number_of_days_may_be_excluded() -> None:
    days = [date(2026, 1, 1) + timedelta(days=number) for number in range(1500)]
    trigger = Excluding(Daily("9:00"), dates=days)  # type: ignore[arg-type]
    assert trigger.next(datetime(2026, 1, 1, tzinfo=UTC)) == datetime(2030, 2, 9, 9, tzinfo=UTC)


@pytest.mark.parametrize(
    "inner",
    [
        Daily("1:00", tz="Asia/Seoul"),
        Within(Daily("1:00", tz="Asia/Seoul"), start=datetime(2026, 1, 1, tzinfo=UTC)),
        AnyOf([Daily("1:00", tz="Asia/Seoul"), Daily("1:00", tz="Asia/Seoul")]),
    ],
)
def test_days_are_excluded_by_the_clocks_of_what_they_are_excluded_from(inner: Trigger) -> None:
    trigger = Excluding(inner, dates=(date(2026, 1, 3),))
    assert trigger.next(datetime(2026, 1, 2, 12, tzinfo=UTC)) == datetime(2026, 1, 3, 16, tzinfo=UTC)
