"""How often passwords may be tried."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

MOST = 10
"""Attempts in vain under one name from one address, within `SPAN`."""
MOST_ALIKE = 100
"""Under one name from wherever, and from one address under whatever names: so many people may share an address, most of
all where a proxy is not believed, that a few wrong passwords of one of them are not to shut out the others."""
SPAN = 300.0
"""Seconds."""
_REMEMBERED = 10_000


class Attempts:
    """Counts attempts that have not succeeded. An attempt counts from its beginning, so that many at once gain nothing.

    Args:
        clock: seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._tried: OrderedDict[tuple[str, str], tuple[float, int]] = OrderedDict()

    def begin(self, name: str, address: str) -> float:
        """Count an attempt; or answer how many seconds none is allowed."""
        now = self._clock()
        tried = {key: (*self._since(key, now), most) for key, most in _bounds(name, address)}
        wait = max((start + SPAN - now for start, count, most in tried.values() if count >= most), default=0.0)
        if wait > 0:
            return wait
        for key, (start, count, _) in tried.items():
            self._tried[key] = (start, count + 1)
            self._tried.move_to_end(key)
        while len(self._tried) > _REMEMBERED:
            self._tried.popitem(last=False)
        return 0.0

    def succeeded(self, name: str, address: str) -> None:
        """Forget what was tried under this name from this address. What else was tried under the name, or from the
        address, still counts: who has a user of their own gains nothing by logging in between two guesses."""
        both, *alike = (key for key, _ in _bounds(name, address))
        self._tried.pop(both, None)
        for key in alike:
            start, count = self._tried.get(key, (0.0, 0))
            if count:
                self._tried[key] = (start, count - 1)

    def _since(self, key: tuple[str, str], now: float) -> tuple[float, int]:
        start, count = self._tried.get(key, (now, 0))
        return (start, count) if start + SPAN > now else (now, 0)


def _bounds(name: str, address: str) -> tuple[tuple[tuple[str, str], int], ...]:
    return ((name, address), MOST), ((name, ""), MOST_ALIKE), (("", address), MOST_ALIKE)
