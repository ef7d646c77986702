"""Signatures of function calls: what is signed, and that nothing of it can be changed."""

import copy
import hmac
import pickle
from typing import Any

import pytest

from windlass import App, InvalidOption
from windlass.core.errors import InvalidSignature
from windlass.core.ids import new_id
from windlass.core.signing import Direction, Purpose, Sealed, SigningKey, namespace_of

TEXT = "correct-horse-battery-staple-0123456789"
KEY = SigningKey(TEXT, "signing_key")
PURPOSE = Purpose("sqlite/jobs.db", new_id(), "windlass.call")
SEALED = KEY.seal("to the worker", PURPOSE, 1000, b"body")


def opened(
    sealed: Sealed = SEALED, *, key: SigningKey = KEY, direction: Direction = "to the worker", **other: Any
) -> bytes:
    return key.open(direction, PURPOSE._replace(**other), sealed, 999.9)


def altered(**changes: Any) -> Sealed:
    fields = {"body": SEALED.body, "expires": SEALED.expires, "signature": SEALED.signature}
    return Sealed(**(fields | changes))


def test_what_was_signed_is_given_back() -> None:
    assert opened() == b"body"
    assert opened(key=SigningKey(TEXT.encode(), "a file")) == b"body"
    assert opened(key=SigningKey(f"{TEXT}\n", "a file")) == b"body"
    back = KEY.seal("to the caller", PURPOSE, 1000, b"")
    assert opened(back, direction="to the caller") == b""


@pytest.mark.parametrize(
    "change",
    [
        {"direction": "to the caller"},
        {"namespace": "sqlite/other.db"},
        {"job_id": new_id()},
        {"task": "windlass.call-in-thread"},
        {"key": SigningKey(TEXT + "x", "signing_key")},
        {"sealed": altered(body=b"Body")},
        {"sealed": altered(body=b"bod")},
        {"sealed": altered(body=b"")},
        {"sealed": altered(expires=1001)},
        {"sealed": altered(expires=-1000)},
        {"sealed": altered(expires=2**63 - 1)},
        {"sealed": altered(signature=SEALED.signature[:-1])},
        {"sealed": altered(signature=SEALED.signature[:-1] + bytes([SEALED.signature[-1] ^ 1]))},
        {"sealed": altered(signature=b"")},
        {"sealed": altered(signature=SEALED.signature * 2)},
        {"sealed": KEY.seal("to the caller", PURPOSE, 1000, b"body")},
    ],
    ids=lambda change: next(iter(change)),
)
def test_whatever_is_changed_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(InvalidSignature, match="does not fit"):
        opened(**change)


def test_fields_cannot_be_moved_into_each_other() -> None:
    one = KEY.seal("to the worker", Purpose("ab", b"c", "d"), 1, b"2")
    two = KEY.seal("to the worker", Purpose("a", b"bc", "d"), 1, b"2")
    three = KEY.seal("to the worker", Purpose("ab", b"c", "d"), 12, b"")
    assert len({one.signature, two.signature, three.signature}) == 3


def test_each_direction_has_a_key_of_its_own() -> None:
    assert len(set(KEY._keys.values())) == 2
    assert TEXT.encode() not in KEY._keys.values()


def test_what_has_expired_is_refused_from_its_very_second_on() -> None:
    with pytest.raises(InvalidSignature, match="expired 0 s ago"):
        KEY.open("to the worker", PURPOSE, SEALED, 1000)
    with pytest.raises(InvalidSignature, match="does not fit"):  # an expiry that nobody signed is not talked about
        KEY.open("to the worker", PURPOSE, altered(body=b"x"), 1000)


def test_signatures_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[object, object]] = []
    compare = hmac.compare_digest

    def listen(one: Any, other: Any) -> bool:
        compared.append((one, other))
        return compare(one, other)

    monkeypatch.setattr(hmac, "compare_digest", listen)
    opened()
    assert compared == [(SEALED.signature, SEALED.signature)]


@pytest.mark.parametrize("key", ["", "short-key-of-mine", "    " * 20, b"k" * 31, 12345, ["k"] * 40])
def test_what_is_no_key_is_refused_and_not_shown(key: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidOption, match=r"signing_key: (.* too short|expected str or bytes)") as refused:
        App("memory://", signing_key=key)
    assert "short-key-of-mine" not in str(refused.value)
    app = App("memory://")
    monkeypatch.setenv("WINDLASS_SIGNING_KEY", "short-key-of-mine")
    with pytest.raises(InvalidOption, match=r"WINDLASS_SIGNING_KEY: 17 bytes .*token_urlsafe") as refused:
        app.executor()
    assert "short-key-of-mine" not in str(refused.value)


def test_a_key_shows_itself_nowhere_and_does_not_travel() -> None:
    app = App("memory://", signing_key=TEXT)
    for shown in (repr(KEY), str(KEY), repr(app), repr(vars(app)), repr(app._client)):
        assert TEXT not in shown
    with pytest.raises(TypeError, match="does not travel"):
        pickle.dumps(KEY)
    with pytest.raises(TypeError, match="does not travel"):
        copy.copy(KEY)


@pytest.mark.parametrize(
    ("here", "there", "elsewhere"),
    [
        ("sqlite:////srv/a/jobs.db", "sqlite:////mnt/jobs.db", "sqlite:////srv/a/other.db"),
        ("redis://one:6379/0", "unix:///run/redis.sock", "redis://one:6379/1"),
        ("rediss://one:1/2?namespace=x", "unix:///r.sock?namespace=x&db=2", "rediss://one:1/2?namespace=y"),
        ("postgresql://me:***@db/app", "postgresql://you@10.0.0.1:6432/app", "postgresql://me:***@db/app?schema=b"),
        ("postgresql:///app?host=/run", "postgresql://h/?dbname=app", "postgresql://db/other"),
        ("memory://a", "memory://a", "memory://b"),
    ],
)
def test_who_meets_at_a_store_calls_it_the_same(here: str, there: str, elsewhere: str) -> None:
    assert namespace_of(here) == namespace_of(there) != namespace_of(elsewhere)
