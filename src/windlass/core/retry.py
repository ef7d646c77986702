"""Retry policies: pure functions from the number of failures to a delay, or to giving up."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TypeAlias

import msgspec

from windlass.core.clock import MAX_SPAN, SECOND, Span
from windlass.core.errors import InvalidOption


def _between(what: str, value: object, low: float, high: float) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise InvalidOption(f"Retry({what}={value!r}): expected a number between {low:g} and {high:g}")


class Retry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How often, and when, a job whose attempt failed is run again.

    The wait before attempt n + 1 is ``delay * factor ** (n - 1)`` seconds, at most ``max_delay``, spread by
    ``jitter``. ``Retry(attempts=1)`` never retries and is the default of a task.
    """

    attempts: int = 5
    """Failures until the job is dead, 1 to 1,000,000."""
    delay: float = 1.0
    """Seconds before the second attempt."""
    factor: float = 2.0
    """Growth of the delay from attempt to attempt; 1 keeps it fixed."""
    max_delay: float = 3600.0
    """Longest delay, seconds."""
    jitter: float = 0.1
    """The delay is multiplied by a number between 1 - jitter and 1 + jitter, so that jobs that failed together do
    not come back together. It depends on job and failure alone: a repeated settle computes the same."""

    def __post_init__(self) -> None:
        _between("attempts", self.attempts, 1, 1_000_000)
        _between("delay", self.delay, 0, MAX_SPAN / SECOND)
        _between("factor", self.factor, 1, 1000)
        _between("max_delay", self.max_delay, 0, MAX_SPAN / SECOND)
        _between("jitter", self.jitter, 0, 1)

    def next_delay(self, failures: int, job_id: bytes) -> Span | None:
        """Say how long to wait after the ``failures``-th failure (1 for the first), or ``None``: the job is dead."""
        if failures >= self.attempts:
            return None
        # The exponent is bounded first: factor ** 999999 is no float.
        steps = min(failures - 1, 1100)
        try:
            seconds = min(self.delay * self.factor**steps, self.max_delay)
        except OverflowError:
            seconds = self.max_delay
        return round(seconds * (1 + self.jitter * _spread(failures, job_id)) * SECOND)


NEVER = Retry(attempts=1)
"""The first failure is final."""

RetryPolicy: TypeAlias = Retry | Mapping[type[BaseException], Retry]
"""One policy, or one for each type of exception (the most derived match decides; no match: no retry)."""


def policy_for(policy: RetryPolicy, error: BaseException) -> Retry:
    """Choose the policy that governs ``error``: along its type's method resolution order, the first that is named."""
    if isinstance(policy, Retry):
        return policy
    for kind in type(error).__mro__:
        chosen = policy.get(kind)
        if chosen is not None:
            return chosen
    return NEVER


def _spread(failures: int, job_id: bytes) -> float:
    """A number between -1 and 1 that looks random and depends on the arguments alone."""
    digest = hashlib.blake2b(job_id + failures.to_bytes(8, "big"), digest_size=4).digest()
    return int.from_bytes(digest, "big") / 0xFFFFFFFF * 2 - 1
