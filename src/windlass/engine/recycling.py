"""When should a fresh process take the place of a worker's? When it is worn out, or when its threads are stuck."""

from __future__ import annotations

import logging
import os
import resource
from collections.abc import Callable
from dataclasses import dataclass

log = logging.getLogger("windlass.engine")

SPREAD = 0.1
"""Each process stays below its limits by up to this share, by lot: so those that started together are not all replaced
together."""
ASK_AGAIN = 30.0
"""Seconds after which a process that asked to be replaced, and still works, asks again: its successor failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecycleAt:
    """The limits of one process; ``None``: none."""

    jobs: int | None = None
    """Attempts that ended."""
    age: float | None = None
    """Seconds since it began to claim."""
    memory: int | None = None
    """Bytes of resident memory."""


NEVER = RecycleAt()


class Wear:
    """How much of its limits one process has used."""

    def __init__(self, limits: RecycleAt, now: float, lot: float) -> None:
        """``now``: seconds of a monotonic clock. ``lot``: from 0 (the limits as they are) to 1."""
        share = 1 - SPREAD * lot
        self.jobs = float("inf") if limits.jobs is None else max(1, round(limits.jobs * share))
        """As many as make a reason."""
        self._old_at = float("inf") if limits.age is None else now + limits.age * share
        self._memory = None if limits.memory is None else round(limits.memory * share)
        self._born = now

    def reason(self, jobs: int, now: float) -> str | None:
        """Say why it should be replaced, in words, if it should."""
        if jobs >= self.jobs:
            return f"it has run {jobs} jobs"
        if now >= self._old_at:
            return f"it has worked for {now - self._born:.0f} s"
        if self._memory is not None and (resident := resident_memory()) >= self._memory:
            return f"it uses {resident / 2**20:.0f} MiB of memory"
        return None


class Successor:
    """Asks for the process that is to take the place of this one, if there is somebody to ask."""

    def __init__(self, wear: Wear, on_worn: Callable[[], None] | None, on_stuck: Callable[[], None] | None) -> None:
        self._wear = wear
        self._on_worn = on_worn
        self._on_stuck = on_stuck
        self._worn_again_at = self._stuck_again_at = float("-inf")
        self.jobs = wear.jobs if on_worn is not None else float("inf")
        """After as many there is a reason to ask."""

    def ask_if_worn(self, jobs: int, now: float) -> None:
        """Ask, without hurry, if a limit is reached."""
        if self._on_worn is None or now < self._worn_again_at:
            return
        reason = self._wear.reason(jobs, now)
        if reason is not None:
            self._worn_again_at = now + ASK_AGAIN
            log.info("asks to be replaced: %s", reason)
            self._on_worn()

    def ask_if_stuck(self, stuck: int, slots: int, now: float) -> None:
        """Ask, if a quarter of the slots are held by threads that are over their time: nothing ends those but the end
        of the process."""
        if stuck * 4 < slots or not stuck or now < self._stuck_again_at:
            return
        self._stuck_again_at = now + ASK_AGAIN
        log.error("%d of %d slots are held by attempts that should have ended", stuck, slots)
        if self._on_stuck is not None:
            self._on_stuck()


def resident_memory() -> int:
    """Bytes of memory that this process occupies; where the system does not tell, the most that it ever did."""
    try:
        with open("/proc/self/statm", "rb") as statm:  # noqa: PTH123 - pathlib is slow to import
            pages = int(statm.read().split()[1])
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if os.uname().sysname == "Darwin" else peak * 1024
    return pages * os.sysconf("SC_PAGE_SIZE")
