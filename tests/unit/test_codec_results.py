"""Results: by the return hint, or what JSON can say; and pydantic models on both ways."""

import dataclasses
import datetime as dt
import math
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import skip_or_fail
from windlass.core.codec import Signature
from windlass.core.errors import InvalidArguments, InvalidResult, PayloadTooLarge

try:
    import pydantic
except ImportError:
    pydantic = None  # type: ignore[assignment]

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def returning(hint: Any, **limits: int) -> Signature:
    def task() -> None: ...

    task.__annotations__.clear()
    if hint is not ...:
        task.__annotations__["return"] = hint
    return Signature("demo.task", task, **limits)


@dataclasses.dataclass
class Part:
    name: str
    made: dt.date


@given(st.builds(Part, st.text(st.characters(exclude_categories=["Cs"])), st.dates()))
def test_a_result_comes_back_as_the_hint_says(part: Part) -> None:
    sign = returning(list[Part])
    assert sign.decode_result(sign.encode_result([part])) == [part]


def test_without_a_hint_json_decides() -> None:
    sign = returning(...)
    for value in (None, 1, 1.5, "x", [1, {"a": None}]):
        assert sign.decode_result(sign.encode_result(value)) == value
    assert sign.decode_result(sign.encode_result((1, 2))) == [1, 2]


@pytest.mark.parametrize(
    ("hint", "value", "said"),
    [
        (int, "x", "result: expected `int`, got `str`"),
        (int, None, "result: expected `int`, got `null`"),
        (None, 3, "result: expected `null`, got `int`"),
        (list[Part], [{"name": 1}], r"result at `\[0\].name`: expected `str`, got `int`"),
        (..., NOW, "`datetime` would arrive as `str`; annotate"),
        (..., {"a": object()}, "JSON cannot say a `object`"),
        (..., math.nan, "NaN"),
        (float, math.inf, "NaN"),
        (dict[str, float | None], {"a": math.nan}, "NaN"),
        (..., "\ud800", "lone surrogates"),
    ],
)
def test_a_result_that_does_not_fit_says_why(hint: Any, value: object, said: str) -> None:
    with pytest.raises(InvalidResult, match=said.replace("result at", "result, at")):
        returning(hint).encode_result(value)


def test_a_result_beyond_the_limit_is_refused() -> None:
    with pytest.raises(PayloadTooLarge, match="result of 102 bytes exceed the limit of 100"):
        returning(str, max_result=100).encode_result("x" * 100)


@pytest.mark.parametrize("data", [b"", b"\xff", b'"x"', b"[" * 100_000, b"9" * 5000, b"NaN"])
def test_a_stored_result_that_does_not_decode_is_one_named_error(data: bytes) -> None:
    with pytest.raises(InvalidResult, match=r"demo\.task.*stored result"):
        returning(int).decode_result(data)


# -------------------------------------------------------------------------------------------------- pydantic


if pydantic is not None:

    class Address(pydantic.BaseModel):
        model_config = pydantic.ConfigDict(strict=True)
        street: str
        since: dt.datetime

    class Person(pydantic.BaseModel):
        name: str = pydantic.Field(alias="fullName")
        homes: list[Address] = pydantic.Field(default_factory=list)
        score: float = 0.0

    @dataclasses.dataclass
    class Holder:
        person: Person

    def move(person: Person, others: list[Person], holder: Holder | None = None) -> Person: ...  # type: ignore[empty-body]


def person(name: str = "Ann", score: float = 1.5) -> Any:
    if pydantic is None:
        skip_or_fail("pydantic is not installed")
    return Person(fullName=name, homes=[Address(street="s", since=NOW)], score=score)


def test_pydantic_models_travel_at_any_depth() -> None:
    ann = person()
    sign = Signature("demo.move", move)
    args = (ann, [person("Bob")], Holder(person("Eve")))
    assert sign.decode(sign.encode(args, {})) == (args, {})
    assert sign.decode_result(sign.encode_result(ann)) == ann


def test_pydantic_refusals_name_task_and_argument() -> None:
    ann = person()
    sign = Signature("demo.move", move)
    with pytest.raises(InvalidArguments, match=r"demo\.move.*`person`.*NaN"):
        sign.encode((person(score=math.nan), []), {})
    with pytest.raises(InvalidArguments, match=r"demo\.move.*fullName"):
        sign.encode(({"nope": 1}, []), {})
    with pytest.raises(InvalidArguments, match=r"demo\.move.*`others\[0\]`"):
        sign.decode(b'{"person":' + ann.model_dump_json(by_alias=True).encode() + b',"others":[{"homes":1}]}')

    def untyped(value): ...  # type: ignore[no-untyped-def]

    with pytest.raises(InvalidArguments, match="annotate `value: Person`"):
        Signature("demo.untyped", untyped).encode((ann,), {})


def test_the_codec_never_imports_pydantic() -> None:
    code = """
import sys
from windlass.core.codec import Signature
def f(a: int) -> int: ...
s = Signature("f", f); s.decode(s.encode((1,), {})); s.encode_result(1)
assert "pydantic" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)
