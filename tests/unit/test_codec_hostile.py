"""Bytes from a hostile or broken producer: two named errors, never another one, and nothing is built or imported."""

import json
import sys
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from windlass.core.codec import Signature
from windlass.core.errors import InvalidArguments, UndecodablePayload
from windlass.core.options import NO_OPTIONS, decode_options, encode_options
from windlass.core.retry import Retry
from windlass.core.task import JobOptions


def plain(a: int, b: str = "x") -> None: ...


def loose(a: Any, *more: Any, **rest: Any) -> None: ...


PLAIN = Signature("demo.plain", plain)
LOOSE = Signature("demo.loose", loose)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"[]",
        b"42",
        b"null",
        b'"x"',
        b"true",
        b"\x80\x04\x95\x10\x00\x00\x00\x8c\x02os\x8c\x06system",  # pickle
        b"!!python/object/apply:os.system ['id']",  # YAML
        b"\x1f\x8b\x08\x00\x00\x00\x00\x00",  # gzip
        b"{",
        b'{"a":1',
        b'{"a":1}}',
        b'{"a":1}\n{"a":2}',
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":01}',
        b'{"a":1,}',
        b"{'a':1}",
        b'{"a":' + b"9" * 5_000 + b"}",
        b'{"a":1e999}',
        b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"a":' * 30_000,
        b'{"a":1,"b":"\\ud800"}',
        b'{"a":1,"b":"\xff"}',
        b'{"a":1,"b":"\xed\xa0\x80"}',
        b"\xef\xbb\xbf{}",
        b"\x00",
    ],
    ids=lambda payload: ascii(payload[:24]),
)
@pytest.mark.parametrize("sign", [PLAIN, LOOSE], ids=["plain", "loose"])
def test_bytes_that_are_no_json_object_are_undecodable(sign: Signature, payload: bytes) -> None:
    with pytest.raises(UndecodablePayload, match=sign.task) as caught:
        sign.decode(payload)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        (b"{}", "argument `a`: it is missing"),
        (b'{"a":"1"}', "argument `a`: expected `int`, got `str`"),
        (b'{"a":1,"c":2}', "argument `c`: this version of the task has no such parameter"),
        (b'{"a":null}', "argument `a`: expected `int`, got `null`"),
        (b'{"a":{"__class__":"os.system","args":["id"]}}', "argument `a`: expected `int`, got `object`"),
        (b'{"a":{"$type":"datetime"}}', "argument `a`: expected `int`, got `object`"),
        (b'{"a":true}', "argument `a`: expected `int`, got `bool`"),
    ],
)
def test_what_another_version_might_accept_is_told_apart(payload: bytes, said: str) -> None:
    with pytest.raises(InvalidArguments, match=said):
        PLAIN.decode(payload)


def test_of_doubled_keys_the_last_one_counts() -> None:
    assert PLAIN.decode(b'{"a":1,"a":2}') == ((2, "x"), {})


def test_a_tagged_object_is_just_a_dict() -> None:
    before = set(sys.modules)
    tagged = b'{"a":{"py/object":"antigravity.fly","py/reduce":[{"py/function":"os.system"},["id"]]}}'
    (value,), _ = LOOSE.decode(tagged)
    assert type(value) is dict
    assert set(sys.modules) == before


MANGLED = st.builds(
    lambda good, at, new: good[: at % len(good)] + new + good[at % len(good) :],
    st.dictionaries(st.sampled_from(["a", "b", "c"]), st.integers() | st.text(), min_size=1).map(
        lambda found: json.dumps(found).encode()
    ),
    st.integers(0, 200),
    st.binary(max_size=5),
)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(max_size=200) | MANGLED)
@example(b'{"a":1,"b":"\\u0000"}')
def test_any_bytes_decode_or_end_in_one_of_two_errors(payload: bytes) -> None:
    for sign in (PLAIN, LOOSE):
        try:
            args, kwargs = sign.decode(payload)
        except (InvalidArguments, UndecodablePayload):
            continue
        assert isinstance(args, tuple)
        assert isinstance(kwargs, dict)


# --------------------------------------------------------------------------------------------------- options


OPTIONS = st.builds(
    JobOptions,
    retry=st.none() | st.builds(Retry, attempts=st.integers(1, 9), delay=st.floats(0, 60)),
    timeout=st.none() | st.integers(1, 10**12),
    keep=st.none() | st.integers(0, 10**12),
    headers=st.none() | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), st.just("v"), max_size=3),
)


@given(OPTIONS)
def test_options_come_back(options: JobOptions) -> None:
    assert decode_options(encode_options(options)) == options


def test_no_options_cost_nothing() -> None:
    assert encode_options(JobOptions()) is None
    assert decode_options(None) == JobOptions()


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(max_size=100) | MANGLED)
def test_options_that_do_not_decode_are_no_reason_to_fail(data: bytes) -> None:
    assert isinstance(decode_options(data), JobOptions)


def test_what_a_newer_producer_says_is_left_out_and_the_rest_holds() -> None:
    newer = b'{"retry":{"attempts":7,"mood":"good"},"timeout":"soon","keep":5,"colour":"red"}'
    assert decode_options(newer) == JobOptions(retry=Retry(attempts=7), keep=5)
    assert decode_options(b'{"retry":{"attempts":-7},"keep":5}') == JobOptions(keep=5)
    assert decode_options(b"[" * 100_000) == NO_OPTIONS


@pytest.mark.parametrize("span", [b"-1", b"9" * 18, b"1e3", b"true"])
def test_impossible_spans_are_left_out(span: bytes) -> None:
    options = decode_options(b'{"timeout":%s,"keep":%s,"headers":{"a":"b"}}' % (span, span))
    assert options == JobOptions(headers={"a": "b"})
    assert decode_options(b'{"timeout":0,"keep":0}') == JobOptions(keep=0)


@pytest.mark.parametrize("sign", [PLAIN, LOOSE], ids=["plain", "loose"])
def test_a_payload_beyond_this_workers_limit_may_be_right_for_another(sign: Signature) -> None:
    with pytest.raises(InvalidArguments, match="300014 bytes exceed the limit"):
        sign.decode(b'{"a":1,"b":"' + b"x" * 300_000 + b'"}')
