"""Saying what should be, without a test framework: `AssertionError` with words, whatever ``python -O`` strips."""

from __future__ import annotations

from collections.abc import Awaitable

from windlass.core.errors import WindlassError


def same(actual: object, expected: object, what: str) -> None:
    """Raise unless the two are equal. ``what`` names the thing, and may add why it must be so."""
    if actual != expected:
        raise AssertionError(f"{what}: expected {expected!r}, got {actual!r}")


def holds(condition: object, what: str) -> None:
    """Raise unless the condition is true. ``what`` says what should have been."""
    if not condition:
        raise AssertionError(what)


async def raises(kind: type[WindlassError], call: Awaitable[object], what: str) -> None:
    """Raise unless awaiting the call raises an error of this kind. ``what`` says what was tried."""
    try:
        answer = await call
    except kind:
        return
    raise AssertionError(f"{what}: expected {kind.__name__}, got the answer {answer!r}")
