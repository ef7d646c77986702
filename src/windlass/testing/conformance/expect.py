"""Saying what should be, without a test framework: `AssertionError` with words, whatever ``python -O`` strips."""

from __future__ import annotations

from collections.abc import Awaitable

import msgspec

from windlass.core.errors import WindlassError


def same(actual: object, expected: object, what: str) -> None:
    """Raise unless the two are equal. ``what`` names the thing, and may add why it must be so."""
    if actual != expected:
        raise AssertionError(f"{what}: {_difference(actual, expected)}")


def _difference(actual: object, expected: object) -> str:
    """Say what was expected and what came; of two records only the fields that differ."""
    if isinstance(expected, msgspec.Struct) and type(actual) is type(expected):
        pairs = [(name, getattr(actual, name), getattr(expected, name)) for name in expected.__struct_fields__]
        return "; ".join(f"{name}: {_difference(one, other)}" for name, one, other in pairs if one != other)
    return f"expected {_shown(expected)}, got {_shown(actual)}"


def _shown(value: object) -> str:
    """Write a value; ids, which all begin alike, by their end."""
    if isinstance(value, bytes) and len(value) == 16:
        return f"<id ..{value[-4:].hex()}>"
    if isinstance(value, list):
        return f"[{', '.join(map(_shown, value))}]"
    return repr(value)


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
