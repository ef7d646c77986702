"""The life of a job: states, events, and the one table of what may follow what.

Stores may write a transition in their own language (SQL, Lua), but this table decides: the memory store asks it
directly, and the state machine of `windlass.testing` compares every other store with the memory store.
"""

from __future__ import annotations

from enum import IntEnum

from windlass.core.errors import IllegalTransition


class State(IntEnum):
    """Where a job is in its life. The numbers are part of the stored layout."""

    WAITING = 0
    """Has parents that are unfinished."""
    SCHEDULED = 1
    """Due later."""
    READY = 2
    """Waits in its lane for a worker."""
    RUNNING = 3
    """Claimed by a session."""
    SUCCEEDED = 4
    """Finished with a result."""
    DEAD = 5
    """Finished: its attempts, or its losses, are spent. Kept for inspection and replay."""
    CANCELLED = 6
    """Finished without having succeeded or died."""

    @property
    def word(self) -> str:
        """The state as it is written everywhere: ``"waiting"``, ``"ready"``, ..."""
        return self.name.lower()

    @property
    def is_finished(self) -> bool:
        """Whether nothing more happens to a job in this state unless somebody replays it."""
        return self >= State.SUCCEEDED


class Event(IntEnum):
    """What can happen to a job."""

    PARENTS_SETTLED = 0
    """All edges are satisfied."""
    PARENT_FAILED = 1
    """An edge can never be satisfied."""
    DUE = 2
    CANCEL = 3
    EXPIRE = 4
    CLAIM = 5
    RELEASE = 6
    """Given back: by the worker, by unclaim, or by a renewal that does not name it."""
    REAP = 7
    """Taken back from a session that lost its lease."""
    SUCCEED = 8
    RETRY = 9
    """Failed, with attempts left."""
    DIE = 10
    """Failed, with none left."""
    SNOOZE = 11
    UNDELIVERABLE = 12
    """This worker cannot run it: unknown task, or arguments that the hints reject."""
    ACKNOWLEDGE_CANCEL = 13
    LOSE = 14
    """Reaped, with losses spent."""
    REPLAY = 15
    SKIP = 16
    """Declared succeeded by an operator, with a given result."""


_UNSTARTED = (State.WAITING, State.SCHEDULED, State.READY)
_LATER = frozenset({State.SCHEDULED, State.READY})

TRANSITIONS: dict[tuple[State, Event], frozenset[State]] = {
    (State.WAITING, Event.PARENTS_SETTLED): _LATER,
    (State.WAITING, Event.PARENT_FAILED): frozenset({State.CANCELLED}),
    (State.SCHEDULED, Event.DUE): frozenset({State.READY}),
    (State.READY, Event.CLAIM): frozenset({State.RUNNING}),
    (State.RUNNING, Event.RELEASE): frozenset({State.READY}),
    (State.RUNNING, Event.REAP): frozenset({State.READY}),
    (State.RUNNING, Event.LOSE): frozenset({State.DEAD}),
    (State.RUNNING, Event.RETRY): _LATER,
    (State.RUNNING, Event.SNOOZE): _LATER,
    (State.RUNNING, Event.UNDELIVERABLE): _LATER,
    (State.RUNNING, Event.SUCCEED): frozenset({State.SUCCEEDED}),
    (State.RUNNING, Event.DIE): frozenset({State.DEAD}),
    (State.RUNNING, Event.ACKNOWLEDGE_CANCEL): frozenset({State.CANCELLED}),
    (State.DEAD, Event.REPLAY): frozenset({State.WAITING, State.READY}),
    (State.CANCELLED, Event.REPLAY): frozenset({State.WAITING, State.READY}),
    **{(state, Event.CANCEL): frozenset({State.CANCELLED}) for state in _UNSTARTED},
    **{(state, Event.EXPIRE): frozenset({State.CANCELLED}) for state in _UNSTARTED},
    **{(state, Event.SKIP): frozenset({State.SUCCEEDED}) for state in _UNSTARTED},
}
"""(state, event) -> the states that may follow. A pair that is not here cannot happen."""

_OVERRULED_BY_CANCEL = frozenset(
    {Event.RELEASE, Event.REAP, Event.LOSE, Event.RETRY, Event.DIE, Event.SNOOZE, Event.UNDELIVERABLE}
)


def after(
    state: State, event: Event, *, cancel_requested: bool = False, later: bool = False, parents_open: bool = False
) -> State:
    """Say which state follows.

    Args:
        state: where the job is.
        event: what happens to it.
        cancel_requested: somebody asked to cancel it while it ran. A success that still arrives stays a success;
            whatever else ends the attempt becomes ``CANCELLED``.
        later: the job is due only later (chooses ``SCHEDULED`` where the table leaves a choice).
        parents_open: it has parents that have not succeeded (chooses ``WAITING`` on replay).

    Raises:
        IllegalTransition: the table has no such edge.
    """
    allowed = TRANSITIONS.get((state, event))
    if allowed is None:
        raise IllegalTransition(f"a job that is {state.word} cannot meet {event.name.lower()}")
    if cancel_requested and event in _OVERRULED_BY_CANCEL:
        return State.CANCELLED
    if len(allowed) == 1:
        return next(iter(allowed))
    if event is Event.REPLAY:
        return State.WAITING if parents_open else State.READY
    return State.SCHEDULED if later else State.READY


class Outcome(IntEnum):
    """How a worker ends an attempt when it settles. The numbers are part of the stored layout."""

    SUCCEEDED = 1
    RETRY = 2
    """Failed; to be run again after a delay."""
    DEAD = 3
    """Failed for good."""
    SNOOZED = 4
    RELEASED = 5
    """Given back to its old position."""
    CANCELLED = 6
    """The attempt was cancelled, as somebody asked."""
    UNDELIVERABLE = 7


EVENT_OF: dict[Outcome, Event] = {
    Outcome.SUCCEEDED: Event.SUCCEED,
    Outcome.RETRY: Event.RETRY,
    Outcome.DEAD: Event.DIE,
    Outcome.SNOOZED: Event.SNOOZE,
    Outcome.RELEASED: Event.RELEASE,
    Outcome.CANCELLED: Event.ACKNOWLEDGE_CANCEL,
    Outcome.UNDELIVERABLE: Event.UNDELIVERABLE,
}
"""What each outcome means to the life of the job."""
