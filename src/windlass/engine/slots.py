"""A supervisor's places for worker processes."""

from __future__ import annotations

from windlass.engine.processes import Process

FIRST_BACK_OFF = 0.1
LONGEST_BACK_OFF = 30.0
HEALTHY = 10.0
"""Seconds as ready after which a process counts as having worked."""


class Slot:
    """A place for one worker process, whoever fills it."""

    __slots__ = ("alone", "failures", "incoming", "leaving", "not_before", "process", "start_at")

    def __init__(self, *, alone: bool = False) -> None:
        self.alone = alone
        self.process: Process | None = None
        self.incoming: Process | None = None
        """Started to take the place of `process`."""
        self.leaving: list[Process] = []
        """Told to stop while another takes their place."""
        self.start_at: float | None = None
        self.not_before = 0.0
        self.failures = 0

    @property
    def has_to_wait(self) -> bool:
        """Whether its process, which may finish what it holds for as long as that takes, must stay for now: another
        that may do so is still at it."""
        drains = self.process is not None and self.process.drains
        return drains and any(process.kill_at is None for process in self.leaving)

    def back_off(self, now: float, ready_at: float | None) -> float:
        """Note a death, and say how many seconds to wait before the next start."""
        if ready_at is not None and now - ready_at >= HEALTHY:
            self.failures = 0
        pause: float = min(FIRST_BACK_OFF * 2**self.failures, LONGEST_BACK_OFF)
        self.failures = min(self.failures + 1, 16)
        self.not_before = now + pause
        return pause
