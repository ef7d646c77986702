"""Documents: batches as arrays, and rows as documents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from windlass.core.documents import Document, NewDocument


def columns(documents: Sequence[NewDocument]) -> list[Any]:
    """Documents to put."""
    return [
        [new.kind for new in documents],
        [new.key for new in documents],
        [new.body for new in documents],
        [new.expected for new in documents],
        [new.keep for new in documents],
    ]


def document_of(row: Any) -> Document | None:
    """A document, if there is one."""
    return None if row[0] is None else listed(row)


def listed(row: Any) -> Document:
    """A document that is there."""
    kind, key, version, expires_at, body = row
    return Document(kind=kind, key=key, body=body, version=version, expires_at=expires_at)
