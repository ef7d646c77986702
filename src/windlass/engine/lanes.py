"""Which lanes to ask, in which order, and how far ahead of the free slots."""

from __future__ import annotations

from collections.abc import Mapping

from windlass.core.model import MAX_BATCH, MAX_LANES, ClaimedJob, Lane
from windlass.core.task import PROCESS

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

    __slots__ = ("mean", "no_ahead_until", "one_by_one_until", "seen", "slow_bits", "strays")

    def __init__(self) -> None:
        self.seen = 0
        self.slow_bits = 0
        self.mean = 0.0
        self.no_ahead_until = 0.0
        self.one_by_one_until = 0.0
        self.strays = 0

    def is_fast(self, now: float) -> bool:
        """Whether the median of the last runs (8 at least) is under `FAST`: less than half of them were slow."""
        if self.seen < 8 or now < self.no_ahead_until:
            return False
        return self.slow_bits.bit_count() * 2 < min(self.seen, _HISTORY)


class LanePlan:
    """The lanes of one worker that need the same: one for each queue."""

    def __init__(self, queues: Mapping[str, int], *, strict: bool, slots: int, requires: str = "") -> None:
        self._requires = requires
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

    def strays(self, queue: str, change: int) -> None:
        """Note that a job of this lane waits for what others stand in another lane for, or that one waits no more.
        What comes behind it may well want the same, so that nothing more is taken meanwhile."""
        history = self._histories.get(queue)
        if history is not None:
            history.strays += change

    def came_in_vain(self, queue: str, now: float) -> None:
        """Note that such a job had to go back: only one at a time is taken, for a while."""
        history = self._histories.get(queue)
        if history is not None:
            history.one_by_one_until = now + PENALTY

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
        return tuple(
            Lane(queue, self._requires, self._narrowed(queue, min(room, MAX_BATCH), now))
            for queue, room in rooms
            if room > 0 and not self._histories[queue].strays
        )

    def _narrowed(self, queue: str, room: int, now: float) -> int:
        return 1 if now < self._histories[queue].one_by_one_until else room

    def is_worth_it(self, occupied: int, now: float) -> bool:
        """Whether there is room for enough that a claim pays."""
        capacity = self.capacity(now)
        return not occupied or capacity - occupied >= max(1, capacity // 4)

    def _rotated(self) -> list[str]:
        """Smooth weighted round robin: the first place goes to each queue in proportion to its weight."""
        if len(self._queues) == 1:
            return self._queues
        for queue, weight in self._weights.items():
            self._credits[queue] += weight
        order = sorted(self._queues, key=lambda queue: -self._credits[queue])
        self._credits[order[0]] -= sum(self._weights.values())
        return order


class WorkerLanes:
    """All lanes of one worker: for each queue the ordinary one, and that of jobs that need a child process.

    Both kinds have slots of their own, so that neither waits behind the other. A job can stand in the wrong lane where
    the app that enqueued it is not the one that runs it: it is run, too, where it belongs. Therefore a worker with no
    process task (``process_slots`` is 0) asks those lanes as well, when it asks the others.
    """

    def __init__(self, queues: Mapping[str, int], *, strict: bool, slots: int, process_slots: int) -> None:
        self._has_processes = process_slots > 0
        self._ordinary = LanePlan(queues, strict=strict, slots=slots)
        # A claim has room for so many lanes only: where there are too many queues, all have their turn.
        in_turns = 2 * len(queues) > MAX_LANES
        self._processes = LanePlan(
            queues, strict=strict and not in_turns, slots=process_slots or slots, requires=PROCESS
        )

    def of(self, requires: str) -> LanePlan:
        """The lanes of jobs that require this."""
        return self._processes if requires == PROCESS else self._ordinary

    def waits(self, job: ClaimedJob) -> None:
        """Note that a job waits for a process."""
        if job.requires != PROCESS:
            self._ordinary.strays(job.queue, 1)

    def waits_no_more(self, job: ClaimedJob) -> None:
        """Note that it does not any more."""
        if job.requires != PROCESS:
            self._ordinary.strays(job.queue, -1)

    def gave_back(self, job: ClaimedJob, now: float) -> None:
        """Note that a job waited for a process in vain."""
        if job.requires == PROCESS:
            self._processes.gave_back(job.queue, now)
        else:
            self._ordinary.came_in_vain(job.queue, now)

    def all(self) -> tuple[Lane, ...]:
        """Every lane, as far as a session has room for them."""
        return (self._ordinary.request(0, 0.0) + self._processes.request(0, 0.0))[:MAX_LANES]

    def request(self, occupied: int, in_processes: int, now: float) -> tuple[Lane, ...]:
        """Choose what to ask for while so many jobs are running or buffered, here and in processes.

        `Lane.until` counts what a claim has brought so far: so what has less room comes first.
        """
        here = self._ordinary.request(occupied, now) if self._ordinary.is_worth_it(occupied, now) else ()
        there: tuple[Lane, ...] = ()
        if not self._has_processes:
            there = self._processes.request(occupied, now) if here else ()
        elif self._processes.is_worth_it(in_processes, now):
            there = self._processes.request(in_processes, now)
        if not (here and there):
            return here or there
        there = there[: MAX_LANES - len(here)]
        return here + there if _most(here) < _most(there) else there + here


def _most(lanes: tuple[Lane, ...]) -> int:
    return max((lane.until for lane in lanes), default=0)
