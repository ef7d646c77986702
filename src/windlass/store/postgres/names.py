"""Names and ids as PostgreSQL has them: names as numbers of 64 bits in the hot rows, ids as uuids."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from hashlib import sha256

from asyncpg.pgproto.pgproto import UUID

MASK = (1 << 49) - 1
"""The part of a position that is the sequence; the rest is 9 - priority."""


@lru_cache(maxsize=10_000)
def number_of(name: str) -> int:
    """The number of a queue or a task, as the function of that name makes it in the server."""
    return int.from_bytes(sha256(name.encode()).digest()[:8], "big", signed=True)


@lru_cache(maxsize=10_000)
def lane_number(queue: str, requires: str) -> int:
    """The number of a lane."""
    return number_of(f"{queue}\n{requires}")


def uuids(ids: Iterable[bytes]) -> list[UUID]:
    """Ids as parameters."""
    return [UUID(key) for key in ids]
