"""Edges between jobs: when a dependant may run, and when it never will.

Edges are a set in the store, one row for each (parent, dependant), each marked once with how its parent ended. A
bare counter would be simpler and wrong: a repeated settle would count twice.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum

from windlass.core.lifecycle import State

MAX_EDGES_PER_CALL = 256
"""How many edges one call moves at most; a durable cursor keeps the rest."""
EDGES_PER_SETTLEMENT = 4
"""So many more one settle moves for each of its settlements: what few edges a job has move with its end."""


class EdgePolicy(IntEnum):
    """What a dependant asks of a parent. The numbers are part of the stored layout."""

    SUCCEEDED = 0
    """The parent must have succeeded; otherwise the dependant is cancelled (the default)."""
    DONE = 1
    """The parent must be finished, however."""
    FAILED = 2
    """At least one of the parents with this policy must be dead or cancelled; if all of them succeeded, the
    dependant is cancelled."""


class Verdict(IntEnum):
    """What the marks on a dependant's edges say."""

    WAIT = 0
    GO = 1
    CANCEL = 2


def verdict(edges: Iterable[tuple[EdgePolicy, State | None]]) -> Verdict:
    """Judge a waiting job by its edges: (policy, final state of the parent, or ``None`` while it is unfinished).

    ``CANCEL`` wins over ``WAIT``, so that a dependant that can never run does not wait for its other parents.
    """
    waiting = False
    wants_failure = saw_failure = failure_open = False
    for policy, ended in edges:
        if policy is EdgePolicy.FAILED:
            wants_failure = True
            failure_open |= ended is None
            saw_failure |= ended in (State.DEAD, State.CANCELLED)
        elif ended is None:
            waiting = True
        elif policy is EdgePolicy.SUCCEEDED and ended is not State.SUCCEEDED:
            return Verdict.CANCEL
    if wants_failure and not saw_failure:
        if not failure_open:
            return Verdict.CANCEL
        waiting = True
    return Verdict.WAIT if waiting else Verdict.GO
