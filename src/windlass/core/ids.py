"""Ids: UUIDv7, whose order is that of their making, so that every store appends to its indexes."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from uuid import UUID

from uuid_utils import uuid7

from windlass.core.clock import MILLISECOND, Instant
from windlass.core.errors import UsageError


def new_id() -> bytes:
    """Make an id of 16 bytes."""
    return uuid7().bytes


def id_from(when: Instant, seed: bytes) -> bytes:
    """Make the id of something that is always the same, from an instant and 16 bytes that look random."""
    number = (max(0, when // MILLISECOND) & (1 << 48) - 1) << 80 | int.from_bytes(seed, "big") & (1 << 80) - 1
    number = number & ~(0xF << 76) | 7 << 76
    return (number & ~(0x3 << 62) | 0x2 << 62).to_bytes(16, "big")


_RUN = 1 << 127
FIRST_RUN_ID = _RUN.to_bytes(16, "big")
"""No run has a lower id, and no other job a higher one."""
MAX_FAMILY = 1 << 24
"""How many jobs may be numbered under one."""


def new_run_id() -> bytes:
    """Make the id of a run. In the order of ids runs stand behind all other jobs, by the time of their making, so that
    a store lists them without looking at a job."""
    return run_id_of(new_id())


def run_id_of(job: bytes) -> bytes:
    """The id of the run that a plain job starts: always the same, and of no other job."""
    return bytes((job[0] | 0x80,)) + job[1:]


def is_run_id(id: bytes) -> bool:
    """Whether it is the id of a run. (Times leave the first bit of a UUIDv7 open until the year 6429.)"""
    return id >= FIRST_RUN_ID


class Family:
    """Ids for jobs that are numbered under another one: the same for the same number, whoever asks, and one behind the
    other in the order of ids, so that stores append them."""

    __slots__ = ("_first", "_low", "_room", "_time")

    def __init__(self, parent: bytes) -> None:
        seed = int.from_bytes(hashlib.blake2b(parent, digest_size=16).digest(), "big")
        self._low = seed & (1 << 73) - 1  # of 74 bits: so that what is added never carries into the time
        self._time = int.from_bytes(parent[:6], "big") & (1 << 47) - 1
        self._first = self._whole(0)
        self._room = (1 << 62) - (self._low & (1 << 62) - 1)
        """Numbers below this only count up the last 62 bits."""

    def id(self, number: int) -> bytes:
        """The id with this number, from 0."""
        whole = self._first + number if number < self._room else self._whole(number)
        return whole.to_bytes(16, "big")

    def _whole(self, number: int) -> int:
        low = self._low + number
        head = self._time << 16 | 0x7000 | low >> 62
        return head << 64 | 1 << 63 | low & (1 << 62) - 1

    def number(self, id: bytes) -> int:
        """The number that an id of the family has."""
        whole = int.from_bytes(id, "big")
        return ((whole >> 64 & 0xFFF) << 62 | whole & (1 << 62) - 1) - self._low


@lru_cache(maxsize=128)
def family(parent: bytes) -> Family:
    """The same as `Family`, for those that are asked for again and again."""
    return Family(parent)


def to_text(id: bytes) -> str:
    """Write an id as people see it: ``0198c5a6-...``."""
    return str(UUID(bytes=id))


def from_text(text: str) -> bytes:
    """Read an id as people write it. Raises `UsageError`."""
    try:
        return UUID(text).bytes
    except (ValueError, AttributeError, TypeError):
        raise UsageError(f"job id {ascii(text)[:60]}: expected something like {to_text(bytes(16))}") from None
