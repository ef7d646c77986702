"""Which lanes to ask, in which order, and how far ahead of the free slots."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping

from windlass.core.model import MAX_BATCH, MAX_LANES, ClaimedJob, Lane
from windlass.core.requirements import PROCESS, Offer
from windlass.engine.counted_lanes import PLAIN, CountedLanes

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
    """All lanes of one worker: for each queue the ordinary one, that of jobs that need a child process, and those of
    jobs that need resources or labels.

    The first two have slots of their own, so that neither waits behind the other; the others share them. A job can
    stand in the wrong lane where the app that enqueued it is not the one that runs it: it is run, too, where it
    belongs. Therefore a worker with no process task (``process_slots`` is 0) asks those lanes as well, when it asks the
    others.
    """

    def __init__(
        self,
        queues: Mapping[str, int],
        *,
        strict: bool,
        slots: int,
        process_slots: int,
        counted: CountedLanes | None = None,
    ) -> None:
        self.counted = CountedLanes(queues, Offer()) if counted is None else counted
        """The lanes of jobs that need more than a slot."""
        self._order = {queue: place for place, queue in enumerate(queues)} if strict else None
        self._slots = slots
        self._process_slots = process_slots
        self._has_processes = process_slots > 0
        self._ordinary = LanePlan(queues, strict=strict, slots=slots)
        # A claim has room for so many lanes only: where there are too many queues, all have their turn.
        in_turns = 2 * len(queues) > MAX_LANES
        self._processes = LanePlan(
            queues, strict=strict and not in_turns, slots=process_slots or slots, requires=PROCESS
        )

    def ran(self, job: ClaimedJob, requires: str, seconds: float) -> None:
        """Note how long a job ran. ``requires``: what its task needs, where that is not what the job says."""
        if job.requires in PLAIN:
            self.of(requires).ran(job.queue, seconds)

    def was_not_needed(self, job: ClaimedJob, now: float) -> None:
        """Note that a job waited for a slot in vain."""
        if job.requires in PLAIN:
            self.of(job.requires).gave_back(job.queue, now)

    def of(self, requires: str) -> LanePlan:
        """The plain lanes of these requirements."""
        return self._processes if requires == PROCESS else self._ordinary

    def waits(self, job: ClaimedJob) -> None:
        """Note that a job waits for a process."""
        if not job.requires:
            self._ordinary.strays(job.queue, 1)

    def waits_no_more(self, job: ClaimedJob) -> None:
        """Note that it does not any more."""
        if not job.requires:
            self._ordinary.strays(job.queue, -1)

    def gave_back(self, job: ClaimedJob, now: float) -> None:
        """Note that a job waited for a process in vain."""
        if job.requires == PROCESS:
            self._processes.gave_back(job.queue, now)
        elif not job.requires:
            self._ordinary.came_in_vain(job.queue, now)

    def all(self) -> tuple[Lane, ...]:
        """Every lane, as far as a session has room for them."""
        counted = self.counted.request((), self._slots, self._process_slots or self._slots)
        return _at_most(MAX_LANES, self._ordinary.request(0, 0.0) + self._processes.request(0, 0.0), counted)

    def request(
        self, occupied: int, in_processes: int, now: float, held: Callable[[], Iterable[str]] = tuple
    ) -> tuple[Lane, ...]:
        """Choose what to ask for while so many jobs are running or buffered, here and in processes. ``held``: what all
        of them require.

        `Lane.until` counts what a claim has brought so far: so what has less room comes first, of the plain lanes.
        Those that need more come before or after, by chance, so that neither keeps the other from a last free slot.
        """
        plain = self._request_plain(occupied, in_processes, now)
        if not self.counted:
            return plain
        slots = self._slots - occupied
        counted = self.counted.request(
            held(), slots, self._process_slots - in_processes if self._has_processes else slots
        )
        if self._order is not None:
            order = self._order
            return tuple(sorted(_at_most(MAX_LANES, plain, counted), key=lambda lane: order[lane.queue]))
        return _at_most(MAX_LANES, plain, counted, counted_first=random.random() < 0.5)  # noqa: S311 - no secret

    def _request_plain(self, occupied: int, in_processes: int, now: float) -> tuple[Lane, ...]:
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


def _at_most(
    most: int, plain: tuple[Lane, ...], counted: list[Lane], *, counted_first: bool = True
) -> tuple[Lane, ...]:
    """Both, with room for three plain ones to one of the others, where there are too many."""
    plain = plain[: max(most - len(counted), most - most // 4)]
    counted = counted[: most - len(plain)]
    return (*counted, *plain) if counted_first else (*plain, *counted)


def _most(lanes: tuple[Lane, ...]) -> int:
    return max((lane.until for lane in lanes), default=0)
