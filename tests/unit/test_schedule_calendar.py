"""The calendar of schedules: from any moment of a day, what fires in seven times 24 hours."""

from datetime import UTC, datetime, timedelta

import pytest

from windlass import Cron, Every
from windlass.core.definition import Policies
from windlass.core.triggers import Trigger
from windlass.schedules import ScheduleInfo
from windlass.web.pages.schedules import calendar

MIDNIGHT = datetime(2026, 11, 27, tzinfo=UTC)


def schedule(due: datetime | None, trigger: Trigger, *, paused: bool = False) -> ScheduleInfo:
    return ScheduleInfo(
        name="one",
        task="t",
        arguments={},
        queue="default",
        trigger=trigger,
        policies=Policies(),
        paused=paused,
        next=due,
        last=None,
        fired=0,
        skipped=0,
        last_job=None,
        declared=False,
        edited=False,
        changed_at=MIDNIGHT,
    )


def shown(one: ScheduleInfo, now: datetime) -> tuple[list[tuple[str, int, int]], int]:
    """Day, hour and number of fire times, of each hour that has any."""
    days, cut = calendar([one], now)
    return [(day, hour, len(names)) for day, hours in days for hour, names in enumerate(hours) if names], cut


@pytest.mark.parametrize("minute", [0, 1, 12 * 60, 21 * 60 + 29, 21 * 60 + 31, 24 * 60 - 1])
def test_what_fires_daily_is_there_seven_times(minute: int) -> None:
    now = MIDNIGHT + timedelta(minutes=minute)
    due = MIDNIGHT + timedelta(hours=21, minutes=30)
    found, cut = shown(schedule(due if due > now else due + timedelta(days=1), Cron("30 21 * * *", tz="UTC")), now)
    assert len(found) == 7
    assert {(hour, count) for _, hour, count in found} == {(21, 1)}
    assert cut == 0


def test_what_is_overdue_fires_now_and_not_on_a_day_that_is_over() -> None:
    now = MIDNIGHT + timedelta(hours=13)
    found, _ = shown(schedule(now - timedelta(days=3), Cron("0 12 * * *", tz="UTC")), now)
    assert found[0] == ("Fri 27 Nov", 13, 1)
    assert [hour for _, hour, _ in found[1:]] == [12] * 7
    long_ago, cut = shown(schedule(now - timedelta(days=300), Every(hours=1)), now)
    assert (sum(count for _, _, count in long_ago), cut) == (7 * 24, 0)


def test_what_fires_often_is_cut_and_what_never_does_is_not_there() -> None:
    found, cut = shown(schedule(MIDNIGHT, Every(seconds=1)), MIDNIGHT)
    assert (found, cut) == ([("Fri 27 Nov", 0, 3600), ("Fri 27 Nov", 1, 401)], 4000)
    for nothing in (schedule(None, Every(seconds=1)), schedule(MIDNIGHT, Every(seconds=1), paused=True)):
        assert calendar([nothing], MIDNIGHT) == ([], 0)
