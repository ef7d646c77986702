"""Lanes of jobs that need more than a slot: resources, which are counted while they run, and labels."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Mapping

from windlass.core.model import MAX_LANES, Lane
from windlass.core.requirements import PROCESS, Needs, Offer, parse, room

PLAIN = ("", PROCESS)
"""Requirements that ask for a slot of some kind, and nothing else."""
MOST_KNOWN = 4 * MAX_LANES
"""Lanes that are remembered; those that became known first are forgotten first. One that has jobs is found again."""


class CountedLanes:
    """Such lanes as one worker can serve, and how many of their jobs have room beside what it holds."""

    def __init__(self, queues: Mapping[str, int], offer: Offer, lanes: Iterable[tuple[str, str]] = ()) -> None:
        self._weights = dict(queues)
        self._offer = offer
        self._known: dict[tuple[str, str], Needs] = {}
        self.learn(lanes)

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._known)

    def learn(self, lanes: Iterable[tuple[str, str]]) -> bool:
        """Hear of lanes, each a queue and a requirement signature; says whether one of them is new here, and can be
        served."""
        new = {}
        for queue, requires in lanes:
            if requires in PLAIN or (queue, requires) in self._known or queue not in self._weights:
                continue
            needs = parse(requires)
            if needs is not None and self._offer.covers(needs):
                new[queue, requires] = needs
        self._known |= new
        for oldest in list(self._known)[: max(0, len(self._known) - MOST_KNOWN)]:
            del self._known[oldest]
        return bool(new)

    def request(self, held: Iterable[str], slots: int, processes: int) -> list[Lane]:
        """Choose what to ask for, in random order, so that each lane has its turn: queues with more weight are first
        more often.

        Whatever mixture of jobs these lanes bring has room: where several need the same resource, they bring together
        no more than there would be room for if all were of the kind that needs most.

        Args:
            held: the requirements of all that the worker holds.
            slots: how many are free.
            processes: how many child processes are.
        """
        free = self._free(held)
        rooms = {}
        for key, needs in self._known.items():
            fit, place = room(needs, free), processes if needs.process else slots
            most = place if fit is None else min(fit, place)
            if most > 0:
                rooms[key] = most
        least: dict[str, int] = {}
        for key, fit in rooms.items():
            for name, _ in self._known[key].amounts:
                least[name] = min(fit, least.get(name, fit))
        return [
            Lane(queue, requires, min([fit, *(least[name] for name, _ in self._known[queue, requires].amounts)]))
            for (queue, requires), fit in sorted(rooms.items(), key=self._turn)
        ]

    def _turn(self, entry: tuple[tuple[str, str], int]) -> float:
        return -math.pow(random.random(), 1 / self._weights[entry[0][0]])  # noqa: S311 - no secret

    def _free(self, held: Iterable[str]) -> Mapping[str, int]:
        free = dict(self._offer.amounts)
        for requires in held:
            for name, amount in (parse(requires) or Needs()).amounts:
                free[name] = free.get(name, 0) - amount
        return free
