"""Documents, by kind and key."""

from __future__ import annotations

from collections.abc import Sequence

from windlass.core.clock import Instant
from windlass.core.documents import Document, NewDocument
from windlass.store.memory.data import Step


def put_documents(step: Step, documents: Sequence[NewDocument]) -> list[int | None]:
    """See `DocumentStore.put_documents`."""
    return [_put(step, new) for new in documents]


def _put(step: Step, new: NewDocument) -> int | None:
    found = _find(step, new.kind, new.key)
    version = 0 if found is None else found.version
    if new.expected is not None and new.expected != version:
        repeated = found is not None and (found.version, found.body) == (new.expected + 1, new.body)
        return version if repeated else None
    data, name = step.data, (new.kind, new.key)
    expires_at = None if new.keep is None else step.now + new.keep
    data.documents[name] = Document(
        kind=new.kind, key=new.key, body=new.body, version=version + 1, expires_at=expires_at
    )
    if expires_at is None:
        data.expiring_documents.discard(name)
    else:
        data.numbers += 1
        data.expiring_documents.put(name, (expires_at, data.numbers))
    return version + 1


def get_documents(step: Step, kind: str, keys: Sequence[str]) -> list[Document | None]:
    """See `DocumentStore.get_documents`."""
    return [_find(step, kind, key) for key in keys]


def list_documents(  # noqa: PLR0917 - as the port has them
    step: Step, kind: str, above: str, below: str, limit: int, descending: bool
) -> list[Document]:
    """See `DocumentStore.list_documents`. Code points are in the order of the bytes of UTF-8."""
    keys = sorted((key for of, key in step.data.documents if of == kind and above < key < below), reverse=descending)
    return [found for key in keys if (found := _find(step, kind, key)) is not None][:limit]


def delete_documents(step: Step, kind: str, keys: Sequence[str]) -> int:
    """See `DocumentStore.delete_documents`."""
    found = {key for key in keys if _find(step, kind, key) is not None}
    for key in found:
        _forget(step, (kind, key))
    return len(found)


def forget_expired(step: Step, limit: int) -> bool:
    """Forget documents that are there no more; says whether there is more to forget."""
    expiring = step.data.expiring_documents
    for _ in range(limit):
        name = expiring.first_up_to(step.now)
        if name is None:
            return False
        _forget(step, name)
    return expiring.first_up_to(step.now) is not None


def _find(step: Step, kind: str, key: str) -> Document | None:
    found = step.data.documents.get((kind, key))
    return None if found is None or _is_over(found, step.now) else found


def _is_over(document: Document, now: Instant) -> bool:
    return document.expires_at is not None and document.expires_at <= now


def _forget(step: Step, name: tuple[str, str]) -> None:
    del step.data.documents[name]
    step.data.expiring_documents.discard(name)
