"""Rates as people write them: ``10/s``, ``100/m``, ``1000/h``, ``5/10s``."""

from __future__ import annotations

import re

from windlass.core.clock import DAY, HOUR, MILLISECOND, MINUTE, SECOND, Span
from windlass.core.errors import InvalidOption
from windlass.core.records import Rate

_UNITS: dict[str, Span] = {"d": DAY, "h": HOUR, "m": MINUTE, "s": SECOND, "ms": MILLISECOND, "us": 1}
_LONGEST = 40
_GRAMMAR = (
    (re.compile(r"[0-9]+"), "how many, in digits"),
    (re.compile(r"/"), "/"),
    (re.compile(r"[0-9]*"), ""),
    (re.compile(rf"(?:{'|'.join(_UNITS)})(?![A-Za-z])"), "s, m, h or d (or ms, us)"),
    (re.compile(r"\Z"), "the end"),
)


def parse_rate(text: object, burst: int = 1) -> Rate:
    """Read ``count/unit`` or ``count/NUMBERunit``; units are s, m (minutes), h, d, and ms, us.

    ``burst``: how many may start at once when nothing has started for long enough.

    Raises `InvalidOption`, saying at which character it went wrong.
    """
    if not isinstance(text, str):
        raise InvalidOption(f"rate={text!r}: expected text, such as '10/s', '100/m', '1000/h' or '5/10s'")
    count, _, times, unit, _ = _parts(text)
    return Rate(int(count), (int(times) if times else 1) * _UNITS[unit], burst)


def _parts(text: str) -> list[str]:
    if len(text) > _LONGEST:
        raise InvalidOption(f"rate {text[:_LONGEST]!a}...: longer than {_LONGEST} characters; write for example 10/s")
    parts: list[str] = []
    at = 0
    for pattern, expected in _GRAMMAR:
        found = pattern.match(text, at)
        if found is None:
            got = f"got {text[at:]!a}" if text[at:] else "it ends there"
            raise InvalidOption(
                f"rate {text!a}: expected {expected} at character {at + 1}, {got}; "
                "write for example 10/s, 100/m, 1000/h or 5/10s"
            )
        parts.append(found[0])
        at = found.end()
    return parts


def show_rate(rate: Rate) -> str:
    """Write a rate so that `parse_rate` reads the same, its burst aside."""
    unit = next(unit for unit, size in _UNITS.items() if rate.per % size == 0)
    times = rate.per // _UNITS[unit]
    return f"{rate.count}/{'' if times == 1 else times}{unit}"
