"""The one transition table, edge by edge as the design lists them."""

import itertools

import pytest

from windlass.core.errors import IllegalTransition
from windlass.core.lifecycle import EVENT_OF, TRANSITIONS, Event, Outcome, State, after

W, S, R, X, OK, D, C = State
UNSTARTED = (W, S, R)


EDGES = {
    (W, Event.PARENTS_SETTLED): {S, R},
    (W, Event.PARENT_FAILED): {C},
    (S, Event.DUE): {R},
    (R, Event.CLAIM): {X},
    (X, Event.RELEASE): {R},
    (X, Event.REAP): {R},
    (X, Event.LOSE): {D},
    (X, Event.RETRY): {S, R},
    (X, Event.SNOOZE): {S, R},
    (X, Event.UNDELIVERABLE): {S, R},
    (X, Event.SUCCEED): {OK},
    (X, Event.DIE): {D},
    (X, Event.ACKNOWLEDGE_CANCEL): {C},
    (D, Event.REPLAY): {W, R},
    (C, Event.REPLAY): {W, R},
    **{(state, event): {C} for state in UNSTARTED for event in (Event.CANCEL, Event.EXPIRE)},
    **{(state, Event.SKIP): {OK} for state in UNSTARTED},
}


def test_the_table_is_exactly_this_one() -> None:
    assert {pair: set(targets) for pair, targets in TRANSITIONS.items()} == EDGES


@pytest.mark.parametrize(("state", "event"), sorted(set(itertools.product(State, Event)) - EDGES.keys()))
def test_anything_else_raises_and_says_what(state: State, event: Event) -> None:
    with pytest.raises(IllegalTransition, match=state.word):
        after(state, event)


def test_a_succeeded_job_meets_nothing_any_more() -> None:
    assert not [pair for pair in TRANSITIONS if pair[0] is OK]


@pytest.mark.parametrize("event", [Event.PARENTS_SETTLED, Event.RETRY, Event.SNOOZE, Event.UNDELIVERABLE])
def test_a_job_due_later_is_scheduled_and_one_due_now_is_ready(event: Event) -> None:
    state = W if event is Event.PARENTS_SETTLED else X
    assert after(state, event, later=True) is S
    assert after(state, event, later=False) is R


@pytest.mark.parametrize("state", [D, C])
def test_a_replayed_job_waits_for_parents_that_have_not_succeeded(state: State) -> None:
    assert after(state, Event.REPLAY, parents_open=True) is W
    assert after(state, Event.REPLAY) is R


@pytest.mark.parametrize(
    "event", [Event.RELEASE, Event.REAP, Event.LOSE, Event.RETRY, Event.DIE, Event.SNOOZE, Event.UNDELIVERABLE]
)
def test_a_cancel_request_overrules_every_end_but_success(event: Event) -> None:
    assert after(X, event, cancel_requested=True) is C
    assert after(X, Event.SUCCEED, cancel_requested=True) is OK


def test_every_outcome_is_an_event_that_a_running_job_can_meet() -> None:
    assert set(EVENT_OF) == set(Outcome)
    for event in EVENT_OF.values():
        assert (X, event) in TRANSITIONS


def test_finished_means_that_nothing_more_happens_by_itself() -> None:
    assert [state for state in State if state.is_finished] == [OK, D, C]
    assert [state.word for state in State][:4] == ["waiting", "scheduled", "ready", "running"]


def test_the_stored_numbers_never_change() -> None:
    assert [int(state) for state in State] == list(range(7))
    assert {outcome.name: int(outcome) for outcome in Outcome} == {
        "SUCCEEDED": 1,
        "RETRY": 2,
        "DEAD": 3,
        "SNOOZED": 4,
        "RELEASED": 5,
        "CANCELLED": 6,
        "UNDELIVERABLE": 7,
    }
