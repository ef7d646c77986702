"""Limit keys that come from arguments: which parameters may make them, and what text they get."""

import enum
import uuid
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import PurePosixPath
from typing import Any, Literal

import msgspec
import pytest

from windlass import App, InvalidArguments, InvalidOption
from windlass.core.errors import InvalidName
from windlass.core.names import MAX_KEY, check_limit_key

UUID = uuid.UUID("0198c5a6-0000-7000-8000-000000000001")


class Plan(enum.Enum):
    FREE = "free"
    PAID = "paid"


class Level(enum.IntEnum):
    LOW = 1


class Point(msgspec.Struct):
    x: int


def key_of(hint: Any, value: Any, **task: Any) -> str | None:
    """The limit key of a job whose argument ``who`` has this hint and this value."""

    def work(who, other=None): ...

    work.__annotations__["who"] = hint
    call = App("memory://").task(limit_by="who", **task)(work).bind(value)
    job = call.recipe.new_job(call.payload, call.limit_key)
    assert job.limit_key == call.limit_key
    return job.limit_key


@pytest.mark.parametrize(
    ("hint", "value", "text"),
    [
        (str, "acme", "acme"),
        (str, "a:b", "a:b"),
        (str, "Grüße an alle", "Grüße an alle"),
        (int, 42, "42"),
        (int, -1, "-1"),
        (int, 10**30, str(10**30)),
        (int | str, "42", "42"),
        (int | None, 7, "7"),
        (Any, "x", "x"),
        (Any, 7, "7"),
        (uuid.UUID, UUID, str(UUID)),
        (Plan, Plan.PAID, "paid"),
        (Level, Level.LOW, "1"),
        (Literal["a", "b"], "b", "b"),
        (date, date(2026, 1, 31), "2026-01-31"),
        (datetime, datetime(2026, 1, 31, tzinfo=UTC), "2026-01-31T00:00:00Z"),
        (Decimal, Decimal("1.50"), "1.50"),
        (PurePosixPath, PurePosixPath("/a/b"), "/a/b"),
    ],
    ids=str,
)
def test_an_argument_makes_a_key(hint: Any, value: Any, text: str) -> None:
    assert key_of(hint, value) == f"who:{text}"


def test_without_a_hint_json_decides() -> None:
    def work(who): ...

    task = App("memory://").task(limit_by="who")(work)
    assert task.bind(5).limit_key == "who:5"
    with pytest.raises(InvalidArguments, match="got list"):
        task.bind([5])


def test_none_is_no_key() -> None:
    assert key_of(int | None, None) is None


def test_the_same_person_is_the_same_key_however_they_are_named() -> None:
    assert key_of(int, 42) == key_of(str, "42") == "who:42"
    assert key_of(uuid.UUID, UUID) == key_of(str, str(UUID))


@pytest.mark.parametrize(
    ("hint", "value", "said"),
    [
        (int | float, 1.5, "expected text or a whole number, got float"),
        (Any, 1.5, "expected text or a whole number, got float"),
        (Any, True, "expected text or a whole number, got bool"),
        (Any, {"a": 1}, "expected text or a whole number, got dict"),
        (str | Point, Point(1), "expected text or a whole number, got Point"),
        (str, "", "limit key 'who:': expected group or group:value, neither of them empty"),
        (str, "a\nb", "printable characters"),
        (str, "\u202eevil", "printable characters"),
        (str, "x" * (MAX_KEY - 3), f"1 to {MAX_KEY} printable characters"),
    ],
)
def test_what_has_no_clear_text_is_refused(hint: Any, value: Any, said: str) -> None:
    with pytest.raises(InvalidArguments) as refused:
        key_of(hint, value, name="shop.work")
    assert said in str(refused.value)
    assert "task 'shop.work', argument `who`, by which it is limited" in str(refused.value)


def test_the_longest_key_is_allowed() -> None:
    assert key_of(str, "x" * (MAX_KEY - 4)) == "who:" + "x" * (MAX_KEY - 4)


@pytest.mark.parametrize("hint", [bool, float, list[int], set[str], dict[str, int], tuple[int, int], Point, None])
def test_a_parameter_that_is_never_a_key_is_refused_when_the_task_is_registered(hint: Any) -> None:
    def work(who): ...

    work.__annotations__["who"] = hint
    with pytest.raises(InvalidOption, match="a limit key is text or a whole number, which `who` never is"):
        App("memory://").task(limit_by="who")(work)
    if hint is not None:
        work.__annotations__["who"] = hint | str if hint is not Point else str | Point
        App("memory://").task(limit_by="who")(work)


@pytest.mark.parametrize("limit_by", ["", "whom", "who:1", "rest", "more", 5, True, ["who"]])
def test_limit_by_names_a_parameter(limit_by: Any) -> None:
    def work(who: str, *rest: int, other: int = 0, **more: int) -> None: ...

    with pytest.raises(InvalidOption) as refused:
        App("memory://").task(limit_by=limit_by, name="shop.work")(work)
    assert str(refused.value) == (
        f"task 'shop.work': limit_by={limit_by!r}: expected the name of one of its parameters; there are who, other "
        "(a key of your own: task.options(limit_by='group:value'))"
    )


def test_a_task_without_parameters_has_none_to_limit_by() -> None:
    with pytest.raises(InvalidOption, match="it has none"):
        App("memory://").task(limit_by="who")(lambda: None)


def test_a_hint_that_is_defined_later_is_judged_by_its_values() -> None:
    def work(who) -> None: ...

    work.__annotations__["who"] = "Later"
    task = App("memory://").task(limit_by="who")(work)
    globals()["Later"] = int
    try:
        assert task.bind(5).limit_key == "who:5"
    finally:
        del globals()["Later"]


def test_any_kind_of_parameter_can_be_one_and_a_default_counts() -> None:
    app = App("memory://")

    @app.task(name="a", limit_by="who")
    def only_positional(who: str = "nobody", /, *rest: int) -> None: ...

    @app.task(name="b", limit_by="plan")
    def only_by_name(*, plan: Plan = Plan.FREE) -> None: ...

    assert only_positional.bind().limit_key == "who:nobody"
    assert only_positional.bind("me", 1, 2).limit_key == "who:me"
    assert only_by_name.bind().limit_key == "plan:free"
    assert only_by_name.bind(plan=Plan.PAID).limit_key == "plan:paid"


def test_options_put_a_key_of_their_own_in_its_place() -> None:
    app = App("memory://")

    @app.task(limit_by="who", name="work")
    def work(who: float | str) -> None: ...

    fixed = work.options(limit_by="vip")
    call = fixed.bind(1.5)
    assert call.limit_key is None, "the argument is not looked at"
    assert call.recipe.new_job(call.payload, call.limit_key).limit_key == "vip"
    call = fixed.options(priority=9).bind("me")
    assert call.recipe.new_job(call.payload, call.limit_key).limit_key == "vip"
    assert work.options(priority=9).bind("me").limit_key == "who:me"


def test_a_task_without_limit_by_makes_no_key() -> None:
    @App("memory://").task
    def work(who: str) -> None: ...

    assert work.bind("me").limit_key is None


@pytest.mark.parametrize("key", ["g", "g:1", "g:a:b", "g: ", "Grüße:ß", "x" * MAX_KEY])
def test_limit_keys_have_a_group_and_perhaps_a_value(key: str) -> None:
    assert check_limit_key(key) == key


@pytest.mark.parametrize("key", ["", ":", ":1", "g:", "g\n", "x" * (MAX_KEY + 1), 5, None])
def test_what_is_no_limit_key_is_refused(key: object) -> None:
    with pytest.raises(InvalidName, match="limit key"):
        check_limit_key(key)
