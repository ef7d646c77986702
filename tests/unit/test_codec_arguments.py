"""Arguments: what is bound, what travels and comes back as it was, and what is refused where it enters."""

import dataclasses
import datetime as dt
import enum
import math
import sys
import uuid
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, NewType, TypedDict

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from windlass.core.codec import Signature
from windlass.core.errors import InvalidArguments, InvalidOption, PayloadTooLarge


def signature(function: Callable[..., Any], **limits: int) -> Signature:
    return Signature("demo.task", function, **limits)


def there_and_back(function: Callable[..., Any], *args: Any, **kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    sign = signature(function)
    return sign.decode(sign.encode(args, kwargs))


def refusal(function: Callable[..., Any], *args: Any, **kwargs: Any) -> str:
    with pytest.raises(InvalidArguments) as caught:
        signature(function).encode(args, kwargs)
    assert "demo.task" in str(caught.value)
    return str(caught.value)


# --------------------------------------------------------------------------------------------------- binding


def add(a: int, b: int = 2) -> int: ...  # type: ignore[empty-body]


def test_the_payload_is_an_object_of_names_and_values() -> None:
    assert signature(add).encode((1, 3), {}) == b'{"a":1,"b":3}'


def test_position_and_name_bind_alike() -> None:
    assert there_and_back(add, 1, 3) == there_and_back(add, b=3, a=1) == ((1, 3), {})


def test_a_default_is_left_to_the_worker() -> None:
    assert signature(add).encode((1,), {}) == b'{"a":1}'
    assert there_and_back(add, 1) == ((1, 2), {})


def test_what_is_passed_travels_also_where_it_says_what_the_default_says() -> None:
    """The worker's version of the task may have another default."""

    def add(a: int, b: int = 3) -> int: ...  # type: ignore[empty-body]

    def name(*, a: int, b: str | None = None, c: list[int] = []) -> int: ...  # type: ignore[empty-body]  # noqa: B006

    payload = signature(add).encode((1, 3), {})
    assert payload == b'{"a":1,"b":3}'
    assert signature(globals()["add"]).decode(payload) == ((1, 3), {})
    assert signature(name).encode((), {"a": 1, "b": None, "c": []}) in (
        b'{"a":1,"b":null,"c":[]}',
        b'{"b":null,"c":[],"a":1}',
    )


@pytest.mark.parametrize(
    ("args", "kwargs", "said"),
    [
        ((), {}, "missing a required argument: 'a'"),
        ((1, 2, 3), {}, "too many positional arguments"),
        ((1,), {"c": 3}, "unexpected keyword argument 'c'"),
        ((1,), {"a": 1}, "multiple values for argument 'a'"),
        (("x",), {}, "argument `a`: expected `int`, got `str`"),
        ((True,), {}, "argument `a`: expected `int`, got `bool`"),
        ((1.5,), {}, "argument `a`: expected `int`, got `float`"),
        ((1, None), {}, "argument `b`: expected `int`, got `null`"),
    ],
)
def test_a_misfit_says_what_was_wrong_and_what_would_be_right(args: Any, kwargs: Any, said: str) -> None:
    message = refusal(add, *args, **kwargs)
    assert said in message
    assert "add(a: int, b: int = ...) -> int" in message


def everything(a: int, /, b: float, *rest: int, c: str, d: list[int] = [7], **more: str) -> None: ...  # noqa: B006


def test_every_kind_of_parameter() -> None:
    assert there_and_back(everything, 1, 2.5, 3, 4, c="x", a="own", z="y") == (
        (1, 2.5, 3, 4),
        {"c": "x", "d": [7], "a": "own", "z": "y"},
    )
    assert there_and_back(everything, 1, 2.5, c="x", d=[1]) == ((1, 2.5), {"c": "x", "d": [1]})
    assert "positional" in refusal(everything, a=1, b=2.0, c="x")
    assert "`rest[0]`" in refusal(everything, 1, 2.0, "no", c="x")
    assert "NaN" in refusal(everything, 1, math.nan, c="x")


def by_name(a: int, *, b: int = 1, c: int) -> None: ...


def test_keyword_only_parameters_come_back_by_name() -> None:
    assert there_and_back(by_name, 1, c=3) == ((1,), {"b": 1, "c": 3})
    assert "too many positional" in refusal(by_name, 1, 2, 3)


def only_first(a: int, /) -> None: ...


def test_positional_only_is_refused_by_name() -> None:
    assert there_and_back(only_first, 1) == ((1,), {})
    assert "positional" in refusal(only_first, a=1)


SENTINEL = object()


def odd_defaults(a: Any = SENTINEL, b: list[int] = [], c: dt.date = dt.date(2026, 1, 1)) -> None: ...  # noqa: B006


def test_defaults_that_json_cannot_say_stay_the_functions_own() -> None:
    assert signature(odd_defaults).encode((), {}) == b"{}"
    (a, b, c), _ = there_and_back(odd_defaults)
    assert (a, c) == (SENTINEL, dt.date(2026, 1, 1))
    assert b is odd_defaults.__defaults__[1]  # type: ignore[index]


def test_a_default_may_contradict_its_hint_as_python_allows() -> None:
    def task(a: int = None) -> None: ...  # type: ignore[assignment]  # noqa: RUF013

    assert there_and_back(task) == there_and_back(task, None) == ((None,), {})


def no_parameters() -> None: ...


def test_no_parameters() -> None:
    assert there_and_back(no_parameters) == ((), {})
    assert "too many" in refusal(no_parameters, 1)


# ----------------------------------------------------------------------------------------------------- types


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1


@dataclasses.dataclass
class Point:
    x: int
    y: float = 0.0
    tags: set[str] = dataclasses.field(default_factory=set)


@dataclasses.dataclass(eq=False)
class Bare:
    when: dt.datetime
    note: Any = None


class Part(msgspec.Struct):
    name: str
    at: Point


class Movie(TypedDict):
    title: str
    year: int


class Pair(NamedTuple):
    left: int
    right: str


UserId = NewType("UserId", int)
Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]
UTC_TIMES = st.datetimes(timezones=st.just(dt.UTC))
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
FINITE = st.floats(allow_nan=False, allow_infinity=False)
POINTS = st.builds(Point, st.integers(), FINITE, st.sets(TEXT))

TYPES: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (int, st.integers()),
    (float, FINITE),
    (bool, st.booleans()),
    (str, TEXT),
    (bytes, st.binary()),
    (None, st.none()),
    (dt.datetime, UTC_TIMES),
    (dt.datetime, st.datetimes()),
    (dt.date, st.dates()),
    (dt.time, st.times()),
    (dt.timedelta, st.timedeltas(dt.timedelta(days=-9999), dt.timedelta(days=9999))),
    (uuid.UUID, st.uuids()),
    (Decimal, st.decimals(allow_nan=False, allow_infinity=False)),
    (Colour, st.sampled_from(Colour)),
    (Level, st.sampled_from(Level)),
    (Literal["a", 3], st.sampled_from(["a", 3])),
    (UserId, st.integers()),
    (Path, st.just(Path("/tmp/a b"))),
    (list[int], st.lists(st.integers())),
    (set[str], st.sets(TEXT)),
    (frozenset[int], st.frozensets(st.integers())),
    (tuple[int, str], st.tuples(st.integers(), TEXT)),
    (tuple[dt.date, ...], st.lists(st.dates()).map(tuple)),
    (dict[str, float], st.dictionaries(TEXT, FINITE)),
    (dict[int, dt.date], st.dictionaries(st.integers(-(2**60), 2**60), st.dates())),
    (dict[uuid.UUID, Colour], st.dictionaries(st.uuids(), st.sampled_from(Colour))),
    (Point, POINTS),
    (Part, st.builds(Part, TEXT, POINTS)),
    (list[Part | None], st.lists(st.none() | st.builds(Part, TEXT, POINTS))),
    (Movie, st.fixed_dictionaries({"title": TEXT, "year": st.integers()})),
    (Pair, st.builds(Pair, st.integers(), TEXT)),
    (int | str | None, st.integers() | TEXT | st.none()),
]


@pytest.mark.parametrize(("hint", "values"), TYPES, ids=lambda one: str(one)[:40])
def test_what_msgspec_knows_comes_back_equal_and_of_its_type(hint: Any, values: st.SearchStrategy[Any]) -> None:
    def task(value: Any) -> None: ...

    task.__annotations__["value"] = hint
    sign = signature(task)

    @given(values)
    def check(value: object) -> None:
        (back,), _ = sign.decode(sign.encode((value,), {}))
        assert back == value
        assert type(back) is type(value)

    check()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | FINITE | TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner),
    max_leaves=10,
)


def untyped(value, other=None): ...  # type: ignore[no-untyped-def]


@given(JSON)
def test_without_a_hint_json_comes_back_as_it_was(value: object) -> None:
    assert there_and_back(untyped, value) == ((value, None), {})


@given(st.recursive(JSON | st.dates() | st.uuids() | st.binary(), lambda inner: st.lists(inner) | st.tuples(inner)))
def test_without_a_hint_a_value_comes_back_equal_or_is_refused(value: object) -> None:
    sign = signature(untyped)
    try:
        payload = sign.encode((value,), {})
    except InvalidArguments:
        return
    assert sign.decode(payload) == ((value, None), {})


def loose(value: list[dict[str, Any]]) -> None: ...


def anything(value: Any) -> None: ...


def sequence(value: Sequence[Any]) -> None: ...


def text(value: str) -> None: ...


def number(value: int) -> None: ...


def names(value: list[str]) -> None: ...


def table(value: dict[str, int]) -> None: ...


def fraction(value: float | None) -> None: ...


def point(value: Point) -> None: ...


def bare(value: Bare) -> None: ...


NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("task", "value", "said"),
    [
        (untyped, NOW, "annotate `value: datetime`"),
        (untyped, (1, 2), "annotate `value: tuple`"),
        (untyped, {1: 2}, "key of type `int`"),
        (untyped, [uuid.UUID(int=1)], "`value[0]`: `UUID` would arrive as `str`"),
        (untyped, Point(1), "annotate `value: Point`"),
        (untyped, Colour.RED, "annotate `value: Colour`"),
        (untyped, {"a": {1}}, "`value['a']`: `set` would arrive as `list`"),
        (anything, NOW, "annotate `value: datetime`"),
        (loose, [{"a": NOW}], "`value[0]['a']`: `datetime` would arrive as `str`"),
        (loose, [{"a": (1,)}], "`value[0]['a']`: `tuple` would arrive as `list`"),
        (text, NOW, "`datetime` would arrive as `str`"),
        (text, uuid.UUID(int=1), "`UUID` would arrive as `str`"),
        (text, b"x", "`bytes` would arrive as `str`"),
        (names, [Path("/x")], "would arrive as `str`"),
        (table, Point(1), "expected `int`"),
        (bare, Bare(NOW, NOW), "`value.note`: `datetime` would arrive as `str`"),
        (untyped, object(), "JSON cannot say a `object`"),
        (untyped, lambda: None, "JSON cannot say a `"),
        (untyped, 1j, "JSON cannot say a `complex`"),
        (number, math.nan, "NaN"),
        (untyped, math.inf, "NaN or infinity"),
        (untyped, [None, {"a": -math.inf}], "NaN or infinity"),
        (fraction, math.nan, "NaN or infinity"),
        (point, Point(1, math.inf), "NaN or infinity"),
        (untyped, {math.nan: 1}, "`value`: the key of type `float`"),
        (untyped, "\ud800", "lone surrogates"),
        (text, "a\udcff", "lone surrogates"),
        (names, ["a\udcff"], "lone surrogates"),
        (point, Point("no"), "argument `value.x`: expected `int`, got `str`"),  # type: ignore[arg-type]
    ],
)
def test_what_would_not_arrive_is_refused(task: Callable[..., Any], value: object, said: str) -> None:
    assert said in refusal(task, value)


def test_what_the_hint_asks_for_is_no_loss() -> None:
    assert there_and_back(sequence, (1, "a")) == (([1, "a"],), {})
    assert there_and_back(names, ("a", "b")) == ((["a", "b"],), {})
    assert there_and_back(point, {"x": 1}) == ((Point(1),), {})
    assert there_and_back(fraction, 1) == ((1.0,), {})
    (back,), _ = there_and_back(bare, Bare(NOW, {"a": [1]}))
    assert (back.when, back.note) == (NOW, {"a": [1]})


def test_what_contains_itself_is_refused() -> None:
    loop: list[Any] = []
    loop.append(loop)
    assert "nested too deeply" in refusal(untyped, loop)
    deep: list[Any] = []
    for _ in range(sys.getrecursionlimit() * 2):
        deep = [deep]
    assert "nested too deeply" in refusal(untyped, deep)


def test_constraints_of_the_hint_hold() -> None:
    def listen(port: Port) -> None: ...

    listen.__annotations__["port"] = Port
    assert there_and_back(listen, 80) == ((80,), {})
    assert "argument `port`: expected `int` >= 1" in refusal(listen, 0)


class Touchy:
    """Equality that raises, and an encoder that cannot take it."""

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("do not compare me")


@dataclasses.dataclass(eq=False)
class Prickly:
    a: int

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("do not compare me")


@dataclasses.dataclass
class Fussy:
    a: int

    def __post_init__(self) -> None:
        if self.a < 0:
            raise KeyError("negative")


def test_hostile_types_of_the_users_own_cannot_get_out() -> None:
    def prickly(value: Prickly) -> None: ...

    def fussy(value: Fussy) -> None: ...

    prickly.__annotations__["value"] = Prickly
    fussy.__annotations__["value"] = Fussy
    (back,), _ = there_and_back(prickly, Prickly(1))
    assert back.a == 1
    assert "JSON cannot say a `Touchy`" in refusal(untyped, Touchy())
    bad = Fussy(1)
    bad.a = -1
    assert "negative" in refusal(fussy, bad)
    with pytest.raises(InvalidArguments, match="KeyError"):
        signature(fussy).decode(b'{"value":{"a":-1}}')


def test_too_large_says_how_large_and_how_large_it_may_be() -> None:
    with pytest.raises(PayloadTooLarge, match=r"demo.task.* arguments of 113 bytes exceed the limit of 100"):
        signature(text, max_payload=100).encode(("x" * 101,), {})
    assert signature(text, max_payload=113).encode(("x" * 101,), {})


# -------------------------------------------------------------------------------------------- what may be a task


class Service:
    def method(self, a: int) -> None: ...

    @classmethod
    def build(cls, a: int) -> None: ...

    @staticmethod
    def static(a: int) -> None: ...


class Callable_:  # noqa: N801
    def __call__(self, a: int) -> None: ...


@pytest.mark.parametrize(
    ("thing", "said"),
    [
        (Service.method, "is a method"),
        (Service().method, "methods cannot be tasks"),
        (Service.build, "methods cannot be tasks"),
        (Service.__dict__["static"], "methods cannot be tasks"),
        (Service.__dict__["build"], "methods cannot be tasks"),
        (Service, "expected a function, got type"),
        (Callable_(), "expected a function, got Callable_"),
        (print, "expected a function"),
        (None, "expected a function, got NoneType"),
        ((i for i in ()), "expected a function, got generator"),
    ],
)
def test_only_plain_functions_are_tasks(thing: Any, said: str) -> None:
    with pytest.raises(InvalidOption, match=said):
        signature(thing)


def test_generators_are_no_tasks() -> None:
    def counts():  # type: ignore[no-untyped-def]
        yield 1

    async def streams():  # type: ignore[no-untyped-def]
        yield 1

    for thing in (counts, streams):
        with pytest.raises(InvalidOption, match="generators cannot be tasks"):
            signature(thing)


def test_a_static_function_of_a_class_may_be_a_task() -> None:
    assert there_and_back(Service.static, 1) == ((1,), {})


class Connection:
    pass


@pytest.mark.parametrize(
    ("hint", "said"),
    [
        (Connection, "a `Connection` cannot travel as JSON"),
        (list[dict[str, Connection | None]], "a `Connection` cannot travel as JSON"),
        (str | dt.datetime, "more than one str-like type"),
        (Connection | int, "custom type"),
    ],
)
def test_a_hint_that_cannot_travel_is_refused_at_registration(hint: Any, said: str) -> None:
    def task(good: int, value: Any) -> None: ...

    task.__annotations__["value"] = hint
    with pytest.raises(InvalidOption, match=rf"demo.task.*`value`.*{said}"):
        signature(task)

    def returning() -> None: ...

    returning.__annotations__["return"] = hint
    with pytest.raises(InvalidOption, match=rf"demo.task.*return hint.*{said}"):
        signature(returning)


def test_a_hint_that_is_defined_later_is_resolved_at_first_use() -> None:
    def task(value: "LaterHere") -> None: ...  # type: ignore[name-defined]  # noqa: F821

    sign = signature(task)
    with pytest.raises(InvalidOption, match="LaterHere"):
        sign.resolve()
    task.__globals__["LaterHere"] = Point
    try:
        assert sign.decode(sign.encode((Point(1),), {})) == ((Point(1),), {})
    finally:
        del task.__globals__["LaterHere"]


def test_defaults_do_not_show_in_messages() -> None:
    def task(a: int, password: str = "s3cret") -> None: ...

    assert "s3cret" not in refusal(task)
