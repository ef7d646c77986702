"""Retry policies."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from windlass.core.clock import SECOND
from windlass.core.errors import InvalidOption
from windlass.core.retry import NEVER, Retry, policy_for

JOB = b"0123456789abcdef"


def test_delays_grow_by_the_factor_up_to_the_longest() -> None:
    retry = Retry(attempts=10, delay=1, factor=2, max_delay=10, jitter=0)
    assert [retry.next_delay(n, JOB) for n in range(1, 7)] == [s * SECOND for s in (1, 2, 4, 8, 10, 10)]


def test_the_last_failure_is_final() -> None:
    retry = Retry(attempts=3)
    assert retry.next_delay(2, JOB) is not None
    assert retry.next_delay(3, JOB) is None
    assert NEVER.next_delay(1, JOB) is None


@given(st.integers(1, 10**6), st.binary(min_size=16, max_size=16))
def test_jitter_stays_within_its_share_and_depends_on_job_and_failure_alone(failures: int, job: bytes) -> None:
    retry = Retry(attempts=10**6, delay=100, factor=1, max_delay=100, jitter=0.25)
    delay = retry.next_delay(min(failures, 10**6 - 1), job)
    assert delay is not None
    assert 75 * SECOND <= delay <= 125 * SECOND
    assert delay == retry.next_delay(min(failures, 10**6 - 1), job)


def test_jitter_spreads_jobs_that_failed_together() -> None:
    retry = Retry(jitter=0.1)
    assert len({retry.next_delay(1, n.to_bytes(16, "big")) for n in range(1000)}) > 900


def test_a_million_failures_overflow_nothing() -> None:
    assert Retry(attempts=10**6, factor=1000, jitter=0).next_delay(999_999, JOB) == 3600 * SECOND


@pytest.mark.parametrize(
    "bad",
    [
        {"attempts": 0},
        {"attempts": 10**7},
        {"delay": -1},
        {"delay": float("nan")},
        {"factor": 0.5},
        {"max_delay": float("inf")},
        {"jitter": 1.5},
        {"delay": "1"},
        {"attempts": True},
    ],
)
def test_impossible_policies_are_refused_by_field(bad: dict[str, object]) -> None:
    (field,) = bad
    with pytest.raises(InvalidOption, match=field):
        Retry(**bad)  # type: ignore[arg-type]


def test_the_most_derived_exception_that_is_named_decides() -> None:
    broad, narrow = Retry(attempts=2), Retry(attempts=9)
    policy = {OSError: broad, ConnectionError: narrow}
    assert policy_for(policy, ConnectionResetError()) is narrow
    assert policy_for(policy, FileNotFoundError()) is broad
    assert policy_for(policy, ValueError()) is NEVER
    assert policy_for(broad, ValueError()) is broad
