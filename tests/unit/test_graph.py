"""When a dependant may run, and when it never will."""

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from windlass.core.graph import EdgePolicy, Verdict, verdict
from windlass.core.lifecycle import State

SUCCEEDED, DONE, FAILED = EdgePolicy
OK, DEAD, CANCELLED = State.SUCCEEDED, State.DEAD, State.CANCELLED
WAIT, GO, CANCEL = Verdict

Edge = tuple[EdgePolicy, State | None]


@pytest.mark.parametrize(
    ("edges", "expected"),
    [
        ([], GO),
        ([(SUCCEEDED, OK)], GO),
        ([(SUCCEEDED, None)], WAIT),
        ([(SUCCEEDED, DEAD)], CANCEL),
        ([(SUCCEEDED, CANCELLED)], CANCEL),
        ([(SUCCEEDED, DEAD), (SUCCEEDED, None)], CANCEL),
        ([(SUCCEEDED, OK), (SUCCEEDED, None)], WAIT),
        ([(DONE, DEAD), (DONE, OK), (DONE, CANCELLED)], GO),
        ([(DONE, None), (DONE, DEAD)], WAIT),
        ([(FAILED, None), (FAILED, None)], WAIT),
        ([(FAILED, OK), (FAILED, None)], WAIT),
        ([(FAILED, DEAD), (FAILED, None)], GO),
        ([(FAILED, CANCELLED)], GO),
        ([(FAILED, OK), (FAILED, OK)], CANCEL),
        ([(FAILED, DEAD), (SUCCEEDED, None)], WAIT),
        ([(FAILED, OK), (DONE, None)], CANCEL),
        ([(FAILED, DEAD), (SUCCEEDED, DEAD)], CANCEL),
    ],
)
def test_verdicts(edges: list[Edge], expected: Verdict) -> None:
    for order in permutations(edges):
        assert verdict(order) is expected, "whatever the order"


edges = st.lists(st.tuples(st.sampled_from(EdgePolicy), st.sampled_from([None, OK, DEAD, CANCELLED])), max_size=8)


@given(edges)
def test_distinct_pairs_say_as_much_as_all_edges(given_: list[Edge]) -> None:
    assert verdict(set(given_)) is verdict(given_)


@given(edges, st.data())
def test_a_verdict_once_given_stands_whatever_comes_later(given_: list[Edge], data: st.DataObject) -> None:
    before = verdict(given_)
    later = [
        (policy, mark if mark is not None else data.draw(st.sampled_from([None, OK, DEAD, CANCELLED])))
        for policy, mark in given_
    ]
    if before is CANCEL:
        assert verdict(later) is CANCEL
    if all(mark is not None for _, mark in later):
        assert verdict(later) is not WAIT, "nothing waits once every parent has ended"
