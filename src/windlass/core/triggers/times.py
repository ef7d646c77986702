"""Times of day, as people write them."""

from __future__ import annotations

import re

from windlass.core.errors import InvalidOption

_TIME = re.compile(r"([01]?[0-9]|2[0-3]):([0-5][0-9])(?::([0-5][0-9]))?", re.ASCII)


def time_of(at: object) -> tuple[int, int, int]:
    """Read a time of day: hour, minute, second. Raises `InvalidOption`."""
    match = _TIME.fullmatch(at) if isinstance(at, str) else None
    if match is None:
        raise InvalidOption(f"{at!r} is no time of day; expected for example '09:30' or '23:59:30'")
    return int(match[1]), int(match[2]), int(match[3] or 0)
