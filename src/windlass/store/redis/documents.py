"""Arguments and answers of the verbs of documents."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from windlass.core.documents import Document, NewDocument
from windlass.store.redis.batches import PART
from windlass.store.redis.connections import Argument

_PART_BYTES = 1_000_000


def parts(documents: Sequence[NewDocument]) -> Iterator[list[NewDocument]]:
    """Cut documents into what one script carries."""
    part: list[NewDocument] = []
    weight = 0
    for new in documents:
        if part and (len(part) == PART or weight + len(new.body) > _PART_BYTES):
            yield part
            part, weight = [], 0
        part.append(new)
        weight += len(new.body)
    if part:
        yield part


def to_put(documents: Sequence[NewDocument]) -> list[Argument]:
    """Documents as ``put_documents.lua`` reads them."""
    found: list[Argument] = []
    for new in documents:
        found += (new.kind, new.key, new.body, _or_empty(new.expected), _or_empty(new.keep))
    return found


def got(kind: str, keys: Sequence[str], answers: Sequence[Any]) -> list[Document | None]:
    """Documents, in the order of the keys."""
    rows = [row for found in answers for row in found]
    return [None if row is None else _document(kind, key, row) for key, row in zip(keys, rows, strict=True)]


def listed(kind: str, answer: Sequence[Any]) -> list[Document]:
    """Documents with their keys."""
    return [_document(kind, key.decode(), row) for key, row in zip(answer[::2], answer[1::2], strict=True)]


def _document(kind: str, key: str, row: Sequence[bytes]) -> Document:
    version, expires_at, body = row
    return Document(
        kind=kind, key=key, body=body, version=int(version), expires_at=int(expires_at) if expires_at else None
    )


def _or_empty(number: int | None) -> Argument:
    return "" if number is None else number
