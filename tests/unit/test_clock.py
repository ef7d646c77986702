"""Instants and spans."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from windlass.core.clock import DAY, MAX_SPAN, SECOND, instant, span, to_datetime
from windlass.core.errors import InvalidOption

NAIVE = datetime(1970, 1, 1)  # noqa: DTZ001 - what is to be refused


@given(st.datetimes(min_value=NAIVE, max_value=NAIVE.replace(year=2255), timezones=st.just(UTC)))
def test_an_instant_is_exact_to_the_microsecond_both_ways(when: datetime) -> None:
    assert to_datetime(instant(when, "at")) == when
    assert instant(when, "at") < 2**53, "exact in a double"


def test_an_instant_knows_its_zone() -> None:
    east = timezone(timedelta(hours=9))
    assert instant(datetime(2026, 1, 1, 9, tzinfo=east), "at") == instant(datetime(2026, 1, 1, tzinfo=UTC), "at")


@pytest.mark.parametrize("bad", [NAIVE, "2026-01-01", 0, None])
def test_a_naive_datetime_or_anything_else_is_refused_by_name(bad: object) -> None:
    with pytest.raises(InvalidOption, match=r"^at: "):
        instant(bad, "at")


@pytest.mark.parametrize(
    ("given_", "expected"),
    [(0, 0), (1, SECOND), (0.000001, 1), (timedelta(days=1), DAY), (MAX_SPAN // SECOND, MAX_SPAN)],
)
def test_a_span_is_seconds_or_a_timedelta(given_: float | timedelta, expected: int) -> None:
    assert span(given_, "delay") == expected


@pytest.mark.parametrize(
    "bad",
    [-1, float("nan"), float("inf"), -float("inf"), MAX_SPAN // SECOND + 1, timedelta(seconds=-1), "5", None, True],
)
def test_an_impossible_span_is_refused_by_name(bad: object) -> None:
    with pytest.raises(InvalidOption, match=r"^delay: "):
        span(bad, "delay")
