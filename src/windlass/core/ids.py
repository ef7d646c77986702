"""Ids: UUIDv7, whose order is that of their making, so that every store appends to its indexes."""

from __future__ import annotations

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


def to_text(id: bytes) -> str:
    """Write an id as people see it: ``0198c5a6-...``."""
    return str(UUID(bytes=id))


def from_text(text: str) -> bytes:
    """Read an id as people write it. Raises `UsageError`."""
    try:
        return UUID(text).bytes
    except (ValueError, AttributeError, TypeError):
        raise UsageError(f"job id {ascii(text)[:60]}: expected something like {to_text(bytes(16))}") from None
