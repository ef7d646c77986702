"""What steps take from each other, and the ids that they know each other by."""

import json
from typing import Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from windlass.core.errors import PayloadTooLarge, UnknownParent
from windlass.core.graph import EdgePolicy
from windlass.core.ids import FIRST_RUN_ID, Family, is_run_id, new_id, new_run_id
from windlass.core.options import decode_options, encode_options
from windlass.core.steps import (
    OMITTED,
    UNFINISHED,
    Condition,
    Input,
    NotKnown,
    StepInfo,
    TooEarly,
    each,
    fill,
    is_step,
    item_ids,
    put,
    stretches,
)
from windlass.core.task import JobOptions

RUN = new_run_id()
FAMILY = Family(RUN)


def info(*inputs: Input, when: Condition | None = None, needs: EdgePolicy = EdgePolicy.SUCCEEDED) -> StepInfo:
    return StepInfo(run=RUN, number=9, name="it", inputs=inputs, when=when, needs=needs)


def at(number: int, kind: Literal["one", "items"] = "one") -> Input:
    return Input((), ((number, number),), kind)


def known(**results: bytes | None) -> dict[bytes, bytes | None]:
    return {FAMILY.id(int(number[1:])): result for number, result in results.items()}


# ---------------------------------------------------------------------------------------------------------- ids


def test_runs_stand_behind_all_jobs_in_the_order_of_their_making() -> None:
    jobs = [new_id() for _ in range(50)]
    runs = [new_run_id() for _ in range(50)]
    assert sorted([*runs, *jobs]) == [*jobs, *runs]
    assert all(map(is_run_id, runs))
    assert not any(map(is_run_id, jobs))
    assert max(jobs) < FIRST_RUN_ID


@given(st.binary(min_size=16, max_size=16), st.integers(0, (1 << 24) - 1))
def test_ids_of_a_family_are_numbered_and_no_runs(parent: bytes, number: int) -> None:
    family = Family(parent)
    one, after = family.id(number), family.id(number + 1)
    assert one < after
    assert family.number(one) == number
    assert not is_run_id(one)
    assert one[6] >> 4 == 7
    assert one[8] >> 6 == 2
    assert Family(parent).id(number) == one


@given(st.lists(st.integers(0, 60), unique=True).map(sorted))
def test_stretches_say_the_same_numbers(numbers: list[int]) -> None:
    assert list(each(stretches(numbers))) == numbers


def test_many_in_a_row_are_few_stretches() -> None:
    assert stretches(range(1, 10_001)) == ((1, 10_000),)


# --------------------------------------------------------------------------------------------------------- filling


def test_results_go_to_their_places_however_deep() -> None:
    found = put(
        b'{"a":null,"b":{"x":[1,null,{"y":null}]},"c":2}',
        [(("a",), b"[1]"), (("b", "x", 1), b'"t"'), (("b", "x", 2, "y"), b"{}")],
    )
    assert json.loads(found) == {"a": [1], "b": {"x": [1, "t", {"y": {}}]}, "c": 2}


def test_one_many_and_the_items_of_a_map() -> None:
    step = info(
        Input(("one",), ((1, 1),)), Input(("many",), ((2, 3), (1, 1)), "many"), Input(("all",), ((4, 4),), "items")
    )
    there = known(_1=b"1", _2=b"2", _3=b"3", _4=b'{"items":2}')
    with pytest.raises(NotKnown) as missing:
        fill(step, b'{"one":null,"many":null,"all":null}', there)
    ids = item_ids(FAMILY.id(4), b'{"items":2}')
    assert missing.value.ids == ids
    there |= {ids[0]: b'"x"', ids[1]: b'"y"'}
    filled = fill(step, b'{"one":null,"many":null,"all":null}', there)
    assert filled is not None
    assert json.loads(filled) == {"one": 1, "many": [2, 3, 1], "all": ["x", "y"]}


def test_what_is_not_known_yet_is_asked_for() -> None:
    with pytest.raises(NotKnown) as missing:
        fill(info(Input(("a",), ((1, 2),), "many"), when=Condition(at(3))), b"{}", known(_1=b"1"))
    assert missing.value.ids == [FAMILY.id(2), FAMILY.id(3)]


def test_a_result_that_is_gone_is_an_error_unless_success_was_not_asked_for() -> None:
    with pytest.raises(UnknownParent, match="not there any more"):
        fill(info(Input(("a",), ((1, 1),))), b'{"a":null}', known(_1=None))
    assert fill(info(Input(("a",), ((1, 1),)), needs=EdgePolicy.DONE), b'{"a":null}', known(_1=None)) == b'{"a":null}'


def test_what_has_not_finished_is_waited_for_unless_a_failure_was_enough() -> None:
    for needs in (EdgePolicy.SUCCEEDED, EdgePolicy.DONE):
        with pytest.raises(TooEarly):
            fill(info(Input(("a",), ((1, 1),)), needs=needs), b'{"a":null}', known(_1=UNFINISHED))
    failed = info(Input(("a",), ((1, 1),)), needs=EdgePolicy.FAILED)
    assert fill(failed, b'{"a":null}', known(_1=UNFINISHED)) == b'{"a":null}'


def test_results_have_a_limit_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("windlass.core.steps.MAX_INPUTS", 10)
    step = info(Input(("a",), ((1, 2),), "many"))
    assert fill(step, b'{"a":null}', known(_1=b"12345", _2=b"12345")) is not None
    with pytest.raises(PayloadTooLarge, match="exceed 10 bytes together"):
        fill(step, b'{"a":null}', known(_1=b"12345", _2=b"123456"))


@pytest.mark.parametrize(
    ("condition", "result", "runs"),
    [
        (Condition(at(1)), b"true", True),
        (Condition(at(1)), b"0", False),
        (Condition(at(1)), b"[]", False),
        (Condition(at(1)), b'"no"', True),
        (Condition(at(1), negated=True), b"null", True),
        (Condition(at(1), negated=True), b"3", False),
        (Condition(at(1), '"a"'), b'"a"', True),
        (Condition(at(1), '{"a": 1}'), b'{"a":1}', True),
        (Condition(at(1), '"a"', negated=True), b'"a"', False),
        (Condition(at(1)), OMITTED, False),
        (Condition(at(1), negated=True), OMITTED, False),
    ],
)
def test_conditions(condition: Condition, result: bytes | None, runs: bool) -> None:
    assert (fill(info(when=condition), b"{}", known(_1=result)) is not None) is runs


@pytest.mark.parametrize(("count", "runs"), [(0, False), (2, True)])
def test_a_condition_on_a_map_is_one_on_the_list_of_its_results(count: int, runs: bool) -> None:
    there = known(_1=b'{"items":%d}' % count)
    there |= dict.fromkeys(item_ids(FAMILY.id(1), there[FAMILY.id(1)]), b"0")
    assert (fill(info(when=Condition(at(1, "items"))), b"{}", there) is not None) is runs
    same = Condition(at(1, "items"), "[0,0]")
    assert (fill(info(when=same), b"{}", there) is not None) is runs


def test_a_condition_on_what_failed_does_not_hold() -> None:
    assert fill(info(when=Condition(at(1)), needs=EdgePolicy.DONE), b"{}", known(_1=None)) is None
    with pytest.raises(UnknownParent):
        fill(info(when=Condition(at(1))), b"{}", known(_1=None))


def test_what_takes_the_result_of_an_omitted_step_is_omitted_unless_it_asks_for_the_end_only() -> None:
    place = Input(("a",), ((1, 1),))
    assert fill(info(place), b'{"a":null}', known(_1=OMITTED)) is None
    filled = fill(info(place, needs=EdgePolicy.DONE), b'{"a":null}', known(_1=OMITTED))
    assert filled is not None
    assert json.loads(filled) == {"a": None}
    items = Input(("a",), ((1, 1),), "items")
    assert fill(info(items), b'{"a":null}', known(_1=OMITTED)) is None


def test_no_encoder_writes_what_stands_for_an_omitted_result() -> None:
    assert msgspec.json.encode(None) != OMITTED
    assert msgspec.json.decode(OMITTED) is None


# --------------------------------------------------------------------------------------------------------- travel


def test_a_step_travels_with_the_options_of_its_job() -> None:
    step = info(Input(("a", 0), ((1, 3),), "many"), when=Condition(at(2), "1"))
    encoded = encode_options(JobOptions(step=step))
    assert is_step(encoded)
    assert decode_options(encoded).step == step


def test_nothing_else_in_options_looks_like_a_step() -> None:
    assert not is_step(None)
    assert not is_step(encode_options(JobOptions(headers={"step": '"step":{', "x": "y"})))
