"""How often passwords may be tried."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

MOST = 10
"""Attempts in vain under one name, and from one address, within `SPAN`."""
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
        self._tried: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def begin(self, *keys: str) -> float:
        """Count an attempt under all keys; or answer how many seconds none is allowed under one of them."""
        now = self._clock()
        tried = {key: self._since(key, now) for key in keys}
        wait = max((start + SPAN - now for start, count in tried.values() if count >= MOST), default=0.0)
        if wait > 0:
            return wait
        for key, (start, count) in tried.items():
            self._tried[key] = (start, count + 1)
            self._tried.move_to_end(key)
        while len(self._tried) > _REMEMBERED:
            self._tried.popitem(last=False)
        return 0.0

    def succeeded(self, *keys: str) -> None:
        """Forget what was tried before."""
        for key in keys:
            self._tried.pop(key, None)

    def _since(self, key: str, now: float) -> tuple[float, int]:
        start, count = self._tried.get(key, (now, 0))
        return (start, count) if start + SPAN > now else (now, 0)
