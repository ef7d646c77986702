"""Which lanes to ask, in which order, and how far ahead of the free slots."""

from __future__ import annotations

from collections.abc import Mapping

from windlass.core.model import MAX_BATCH, Lane

FAST = 0.05
"""Seconds: jobs may be claimed ahead in a lane whose median run is shorter."""
BUFFER_PATIENCE = 1.0
"""Seconds that a job claimed ahead may wait for a slot before it is given back."""
PENALTY = 30.0
"""Seconds without claiming ahead in a lane whose buffer had to be given back."""
BUFFER_SPAN = 0.1
"""Seconds of work that the buffer should hold: enough to hide a round trip, little to give back."""
_HISTORY = 32
_MASK = (1 << _HISTORY) - 1


class LaneHistory:
    """How the last runs of one lane went."""

    __slots__ = ("mean", "no_ahead_until", "seen", "slow_bits")

    def __init__(self) -> None:
        self.seen = 0
        self.slow_bits = 0
        self.mean = 0.0
        self.no_ahead_until = 0.0

    def is_fast(self, now: float) -> bool:
        """Whether the median of the last runs (8 at least) is under `FAST`: less than half of them were slow."""
        if self.seen < 8 or now < self.no_ahead_until:
            return False
        return self.slow_bits.bit_count() * 2 < min(self.seen, _HISTORY)


class LanePlan:
    """The lanes of one worker."""

    def __init__(self, queues: Mapping[str, int], *, strict: bool, slots: int) -> None:
        self._queues = list(queues)
        self._weights = dict(queues)
        self._credits = dict.fromkeys(queues, 0)
        self._strict = strict
        self._slots = slots
        self._histories = {queue: LaneHistory() for queue in queues}

    def ran(self, queue: str, seconds: float) -> None:
        """Note how long a job of this queue ran."""
        history = self._histories.get(queue)
        if history is not None:
            history.seen += 1
            history.slow_bits = (history.slow_bits << 1 | (seconds >= FAST)) & _MASK
            history.mean += (seconds - history.mean) * 0.1

    def gave_back(self, queue: str, now: float) -> None:
        """Note that the buffer of this lane was not needed."""
        history = self._histories.get(queue)
        if history is not None:
            history.no_ahead_until = now + PENALTY

    def ahead(self, queue: str, now: float) -> int:
        """How many jobs may be held beyond the slots."""
        history = self._histories[queue]
        if not history.is_fast(now):
            return 0
        worth = self._slots * BUFFER_SPAN / max(history.mean, 1e-5)
        return max(0, min(int(worth), MAX_BATCH - self._slots))

    def capacity(self, now: float) -> int:
        """How many jobs the worker may hold in all."""
        return self._slots + max(self.ahead(queue, now) for queue in self._queues)

    def request(self, occupied: int, now: float) -> tuple[Lane, ...]:
        """Choose what to ask for while ``occupied`` jobs are running or buffered: free slots from every lane, the
        buffer from fast lanes only. Empty if there is room for nothing."""
        free = self._slots - occupied
        order = self._queues if self._strict else self._rotated()
        rooms = ((queue, free + self.ahead(queue, now)) for queue in order)
        return tuple(Lane(queue, "", min(room, MAX_BATCH)) for queue, room in rooms if room > 0)

    def _rotated(self) -> list[str]:
        """Smooth weighted round robin: the first place goes to each queue in proportion to its weight."""
        if len(self._queues) == 1:
            return self._queues
        for queue, weight in self._weights.items():
            self._credits[queue] += weight
        order = sorted(self._queues, key=lambda queue: -self._credits[queue])
        self._credits[order[0]] -= sum(self._weights.values())
        return order
