"""Whose turn is it to run suspects: jobs that have been lost twice and may kill the process that runs them."""

from __future__ import annotations

from windlass.engine.config import WorkerConfig

PATIENCE = 10.0
"""Seconds that suspects wait for a supervisor's help before a worker without one takes them; also, how long a process
that runs only suspects stays without any."""


class SuspectTurn:
    """Decides, for one worker, between ordinary claims and claims of one suspect alone."""

    def __init__(self, config: WorkerConfig) -> None:
        self._only = config.alone
        self._call_for_help = config.on_suspects
        self._since: float | None = None
        self._found_none_since: float | None = None
        self._exclusive = False

    def hear(self, suspects: bool, now: float) -> bool:
        """Hear from a renewal whether a suspect is ready; says whether the worker's next claim changes by it."""
        if self._only:
            return False
        if not suspects:
            if not self._exclusive:
                self._since = None
            return False
        if self._call_for_help is not None:
            self._call_for_help()
            return False
        if self._since is None:
            self._since = now
        if not self._exclusive and now - self._since >= PATIENCE:
            self._exclusive = True
            return True
        return False

    @property
    def alone(self) -> bool:
        """Whether this worker claims suspects only, for now."""
        return self._only or self._exclusive

    def claim_alone(self, *, empty: bool) -> bool | None:
        """Say how to claim next: False ordinarily, True for a suspect alone, ``None`` not at all: the worker must be
        empty first."""
        if not self.alone:
            return False
        return True if empty else None

    def found_none(self, now: float) -> bool:
        """Hear that a claim brought nothing; says whether the worker has nothing left to live for."""
        if self._exclusive:
            self._exclusive = False
            self._since = None
            return False
        if not self._only:
            return False
        if self._found_none_since is None:
            self._found_none_since = now
        return now - self._found_none_since >= PATIENCE
