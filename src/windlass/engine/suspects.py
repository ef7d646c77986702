"""Whose turn is it to run suspects: jobs that have been lost twice and may kill the process that runs them."""

from __future__ import annotations

from windlass.engine.config import WorkerConfig

PATIENCE = 10.0
"""Seconds that suspects wait for a supervisor's help before a worker without one takes them; also, how long a process
that runs only suspects stays without any."""
CALL_EVERY = 30.0
"""Seconds between calls for a supervisor's help."""


class SuspectTurn:
    """Decides, for one worker, between ordinary claims and claims of one suspect alone."""

    def __init__(self, config: WorkerConfig) -> None:
        self._only = config.alone
        self._call_for_help = config.on_suspects
        self._next_call = 0.0
        self._since: float | None = None
        self._patience = PATIENCE
        self._found_none_since: float | None = None
        self._exclusive = False
        self._asked = False
        """A suspect was asked for in this turn."""

    def hear(self, suspects: bool, now: float, *, duty: bool) -> bool:
        """Hear from a renewal whether a suspect is ready; says whether the worker's next claim changes by it. The
        worker with the duty goes first, so that not all of them stop for one suspect."""
        if self._only:
            return False
        if self._call_for_help is not None:
            if suspects and now >= self._next_call:
                self._next_call = now + CALL_EVERY
                self._call_for_help()
            return False
        if not suspects:
            changes = self._exclusive and not self._asked
            self._exclusive = self._exclusive and self._asked
            self._since = None
            return changes
        if self._since is None:
            self._since = now
        if not self._exclusive and now - self._since >= (self._patience if duty else 3 * self._patience):
            self._exclusive, self._asked = True, False
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
        self._asked = self._asked or empty
        return True if empty else None

    def found(self) -> None:
        """Hear that a claim brought a job."""
        self._found_none_since = None
        if self._exclusive:
            self._patience = PATIENCE

    def found_none(self, now: float) -> bool:
        """Hear that a claim brought nothing; says whether the worker has nothing left to live for."""
        if self._exclusive:
            # There is one that cannot be claimed now (a limit, perhaps): ask less and less often.
            self._exclusive, self._since = False, None
            self._patience = min(2 * self._patience, 60 * PATIENCE)
            return False
        if not self._only:
            return False
        if self._found_none_since is None:
            self._found_none_since = now
        return now - self._found_none_since >= PATIENCE
