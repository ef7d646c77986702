"""Documents, by kind and key."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

from windlass.core.clock import Instant
from windlass.core.documents import Document, NewDocument
from windlass.store.sqlite.transaction import Transaction
from windlass.store.statements import statements

_SQL = statements("sqlite")


def put_documents(tx: Transaction, documents: Sequence[NewDocument]) -> list[int | None]:
    """See `DocumentStore.put_documents`."""
    return [_put(tx, new) for new in documents]


def _put(tx: Transaction, new: NewDocument) -> int | None:
    row = tx.execute(_SQL["get_document"], (new.kind, new.key, tx.now)).fetchone()
    version = 0 if row is None else row[1]
    if new.expected is not None and new.expected != version:
        repeated = row is not None and (row[1], row[3]) == (new.expected + 1, new.body)
        return version if repeated else None
    expires_at = None if new.keep is None else tx.now + new.keep
    tx.execute(_SQL["put_document"], (new.kind, new.key, version + 1, expires_at, new.body))
    return version + 1


def delete_documents(tx: Transaction, kind: str, keys: Sequence[str]) -> int:
    """See `DocumentStore.delete_documents`."""
    return sum(tx.execute(_SQL["delete_document"], (kind, key, tx.now)).rowcount for key in keys)


def forget_expired(tx: Transaction, limit: int) -> bool:
    """Forget documents that are there no more; says whether there is more to forget."""
    tx.execute(_SQL["forget_documents"], (tx.now, limit))
    return tx.execute(_SQL["has_forgettable_document"], (tx.now,)).fetchone() is not None


def get_documents(db: sqlite3.Connection, kind: str, keys: Sequence[str], now: Instant) -> list[Document | None]:
    """See `DocumentStore.get_documents`."""
    rows = [db.execute(_SQL["get_document"], (kind, key, now)).fetchone() for key in keys]
    return [None if row is None else _document(kind, row) for row in rows]


def list_documents(  # noqa: PLR0917 - as the port has them
    db: sqlite3.Connection, kind: str, above: str, below: str, limit: int, descending: bool, now: Instant
) -> list[Document]:
    """See `DocumentStore.list_documents`."""
    statement = _SQL["list_documents_down" if descending else "list_documents_up"]
    return [_document(kind, row) for row in db.execute(statement, (kind, above, below, now, limit))]


def _document(kind: str, row: tuple[Any, ...]) -> Document:
    key, version, expires_at, body = row
    return Document(kind=kind, key=key, body=body, version=version, expires_at=expires_at)
