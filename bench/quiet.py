"""Waiting until the machine has nothing else to do, and saying how busy it was if it never has."""

from __future__ import annotations

import time
from pathlib import Path

LOOK = 0.4
"""Seconds that one look at the machine takes."""
QUIET = 0.1
"""Share of the machine that others may use."""


def wait_for_quiet(patience: float) -> float:
    """Return when the machine is quiet, or after ``patience`` seconds; answers the share that others use now."""
    until = time.monotonic() + patience
    while (busy := _busy()) > QUIET and time.monotonic() < until:
        pass
    return busy


def _busy() -> float:
    """The share of all cores' time that was not idle, while we sleep."""
    idle, total = _ticks()
    time.sleep(LOOK)
    idle_then, total_then = _ticks()
    return 1 - (idle_then - idle) / max(1, total_then - total)


def _ticks() -> tuple[int, int]:
    ticks = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
    return ticks[3] + ticks[4], sum(ticks)
