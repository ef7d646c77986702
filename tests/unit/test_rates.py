"""Rates as people write them, and what no bucket can hold."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from windlass.core.clock import DAY, HOUR, MINUTE, SECOND
from windlass.core.errors import InvalidOption
from windlass.core.rates import parse_rate, show_rate
from windlass.core.records import LONGEST_PER, MOST_AT_ONCE, Rate


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("10/s", Rate(10, SECOND)),
        ("100/m", Rate(100, MINUTE)),
        ("1000/h", Rate(1000, HOUR)),
        ("1/d", Rate(1, DAY)),
        ("5/10s", Rate(5, 10 * SECOND)),
        ("1/250ms", Rate(1, SECOND // 4)),
        ("3/7us", Rate(3, 7)),
        ("007/01s", Rate(7, SECOND)),
    ],
)
def test_a_rate_is_read(text: str, rate: Rate) -> None:
    assert parse_rate(text) == rate


def test_a_burst_comes_along() -> None:
    assert parse_rate("10/s", 20) == Rate(10, SECOND, 20)


@given(st.builds(Rate, st.integers(1, MOST_AT_ONCE), st.integers(1, LONGEST_PER)))
def test_what_is_shown_is_read_as_the_same(rate: Rate) -> None:
    assert parse_rate(show_rate(rate)) == rate


@pytest.mark.parametrize(
    ("rate", "text"),
    [
        (Rate(10), "10/s"),
        (Rate(60, 60 * SECOND), "60/m"),
        (Rate(1, 90 * SECOND), "1/90s"),
        (Rate(2, 48 * HOUR), "2/2d"),
        (Rate(3, 10), "3/10us"),
    ],
)
def test_a_rate_is_shown_in_the_largest_unit_that_fits(rate: Rate, text: str) -> None:
    assert show_rate(rate) == text


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "expected how many, in digits at character 1, it ends there"),
        ("ten/s", "expected how many, in digits at character 1, got 'ten/s'"),
        ("-1/s", "in digits at character 1, got '-1/s'"),
        ("10", "expected / at character 3, it ends there"),
        ("1.5/s", "expected / at character 2, got '.5/s'"),
        ("10 per second", "expected / at character 3, got ' per second'"),
        ("10/", "expected s, m, h or d (or ms, us) at character 4, it ends there"),
        ("10/5", "expected s, m, h or d (or ms, us) at character 5, it ends there"),
        ("10/sec", "expected s, m, h or d (or ms, us) at character 4, got 'sec'"),
        ("10/M", "expected s, m, h or d (or ms, us) at character 4, got 'M'"),
        ("5/10min", "expected s, m, h or d (or ms, us) at character 5, got 'min'"),
        ("10/s ", "expected the end at character 5, got ' '"),
        ("10/s\n", "expected the end at character 5, got '\\n'"),
        ("10/s5", "expected the end at character 5, got '5'"),
        ("\u0661\u0660/s", "in digits at character 1, got '\\u0661\\u0660/s'"),
        ("9" * 5000, "longer than 40 characters"),
        ("0/s", "rate: 0 starts: expected 1 to 1_000_000"),
        ("1000001/s", "rate: 1000001 starts: expected 1 to 1_000_000"),
        ("1/0s", "rate: 0 microseconds"),
        ("1/31d", "rate: 2678400000000 microseconds"),
    ],
)
def test_what_is_no_rate_is_refused_at_the_character(text: str, says: str) -> None:
    with pytest.raises(InvalidOption) as refused:
        parse_rate(text)
    assert says in str(refused.value)
    assert str(refused.value).isprintable()


@pytest.mark.parametrize("rate", [10, 10.0, b"10/s", None, ["10/s"]])
def test_a_rate_is_text(rate: object) -> None:
    with pytest.raises(InvalidOption, match="expected text, such as '10/s'"):
        parse_rate(rate)


@pytest.mark.parametrize("burst", [0, -1, MOST_AT_ONCE + 1])
def test_an_impossible_burst_is_refused(burst: int) -> None:
    with pytest.raises(InvalidOption, match=f"rate: {burst} starts in a burst"):
        parse_rate("10/s", burst)
