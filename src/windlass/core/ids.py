"""Ids: UUIDv7, whose order is that of their making, so that every store appends to its indexes."""

from __future__ import annotations

from uuid import UUID

from uuid_utils import uuid7

from windlass.core.errors import UsageError


def new_id() -> bytes:
    """Make an id of 16 bytes."""
    return uuid7().bytes


def to_text(id: bytes) -> str:
    """Write an id as people see it: ``0198c5a6-...``."""
    return str(UUID(bytes=id))


def from_text(text: str) -> bytes:
    """Read an id as people write it. Raises `UsageError`."""
    try:
        return UUID(text).bytes
    except (ValueError, AttributeError, TypeError):
        raise UsageError(f"job id {ascii(text)[:60]}: expected something like {to_text(bytes(16))}") from None
