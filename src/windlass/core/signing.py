"""Signatures of function calls that travel as pickles: whoever holds the key may have code run, and nobody else.

A body is signed together with all that says what it is for, so that it is good for one job in one place, in one
direction, for a while. It is looked at only after its signature was found right.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Literal, NamedTuple, NoReturn, TypeAlias

import msgspec

from windlass.core.errors import InvalidOption, InvalidSignature

CALLS = {"async": "windlass.call", "thread": "windlass.call-in-thread"}
"""The tasks that run functions, by what runs them."""
SHORTEST_KEY = 32
"""Bytes."""
GENERATE = 'python -c "import secrets; print(secrets.token_urlsafe(32))"'
HOW = "App(signing_key=...) or WINDLASS_SIGNING_KEY, the same on both sides"

Direction: TypeAlias = Literal["to the worker", "to the caller"]


class Sealed(msgspec.Struct, frozen=True):
    """What travels."""

    body: bytes
    expires: int
    """Unix time, seconds."""
    signature: bytes


class Purpose(NamedTuple):
    """What a body is good for."""

    namespace: str
    """Of the store: see `namespace_of`."""
    job_id: bytes
    task: str


class SigningKey:
    """A key that signs and verifies. It shows itself nowhere, and does not travel.

    Args:
        key: at least 32 bytes; of text the white space around it (a file's last newline) does not count.
        source: where it is from, for messages.

    Raises `InvalidOption`, which does not show it.
    """

    __slots__ = ("_keys",)

    def __init__(self, key: object, source: str) -> None:
        if isinstance(key, str):
            key = key.strip().encode("utf-8", "surrogatepass")
        if not isinstance(key, bytes):
            raise InvalidOption(f"{source}: expected str or bytes, got {type(key).__name__}")
        if len(key) < SHORTEST_KEY:
            raise InvalidOption(
                f"{source}: {len(key)} bytes are too short for a key, it takes {SHORTEST_KEY}; make one: {GENERATE}"
            )
        # One for each direction, so that nobody can be sent back what he has signed himself.
        directions: tuple[Direction, Direction] = ("to the worker", "to the caller")
        self._keys = {one: _mac(key, b"windlass function calls 1", one.encode()) for one in directions}

    def __repr__(self) -> str:
        return "<SigningKey>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a signing key does not travel")

    def seal(self, direction: Direction, purpose: Purpose, expires: int, body: bytes) -> Sealed:
        """Sign a body."""
        return Sealed(body, expires, self._sign(direction, purpose, expires, body))

    def open(self, direction: Direction, purpose: Purpose, sealed: Sealed, now: float) -> bytes:
        """Give the body, if its signature is right and it has not expired by ``now``, Unix time. Raises
        `InvalidSignature`."""
        wanted = self._sign(direction, purpose, sealed.expires, sealed.body)
        if not hmac.compare_digest(wanted, sealed.signature):
            raise InvalidSignature(
                "the signature does not fit: it was made with another key, for another store or job, or what it signs "
                "was altered; nothing of it was unpickled"
            )
        if now >= sealed.expires:
            raise InvalidSignature(f"the signature expired {now - sealed.expires:.0f} s ago; nothing was unpickled")
        return sealed.body

    def _sign(self, direction: Direction, purpose: Purpose, expires: int, body: bytes) -> bytes:
        return _mac(
            self._keys[direction],
            direction.encode(),
            purpose.namespace.encode("utf-8", "surrogatepass"),
            purpose.job_id,
            purpose.task.encode("utf-8", "surrogatepass"),
            b"%d" % expires,
            body,
        )


def _mac(key: bytes, *fields: bytes) -> bytes:
    """HMAC-SHA256 over fields, each behind its length, so that no two lists of fields read the same."""
    mac = hmac.new(key, digestmod=hashlib.sha256)
    for field in fields:
        mac.update(len(field).to_bytes(8, "big"))
        mac.update(field)
    return mac.digest()


def namespace_of(url: str) -> str:
    """What all who meet at a store call it, however they reach it: hosts have several names, and files several paths.

    That is the database and the schema on PostgreSQL, the number of the database and the namespace on Redis, the
    file's name on SQLite; of other stores the URL.
    """
    from urllib.parse import parse_qsl, urlsplit

    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query))
    if parts.scheme in ("postgresql", "postgres"):
        database = parts.path.strip("/") or options.get("dbname", "")
        return f"postgresql/{database}/{options.get('schema', 'windlass')}"
    if parts.scheme in ("redis", "rediss", "unix"):
        number = options.get("db", "0") if parts.scheme == "unix" else parts.path.strip("/") or "0"
        return f"redis/{number}/{options.get('namespace', 'windlass')}"
    if parts.scheme == "sqlite":
        return f"sqlite/{url.rpartition('/')[2]}"
    return url
