"""Writes down which jobs may be about to die, before they do, where somebody wants to be told of each.

A death and the telling cannot be one step in the store. So the worker keeps a document of each job before it settles it
as dead, and before it runs a suspect, which dies of its worker's death. Who tells looks at the documents later, and at
what became of the jobs: a process that is killed at any point between leaves at most a document too many.
"""

from __future__ import annotations

from collections.abc import Iterable

from windlass.core.clock import DAY, Span
from windlass.core.documents import NewDocument
from windlass.core.lifecycle import Outcome
from windlass.core.model import MAX_BATCH, ClaimedJob, Settlement
from windlass.store.port import DocumentStore

KIND = "dying"
KEEP: Span = 7 * DAY
"""How long a document waits for somebody who tells."""


async def note_settlements(store: DocumentStore, settlements: Iterable[Settlement]) -> None:
    """Write down those after which a job is dead."""
    await _note(store, ((one.id, one.token) for one in settlements if one.outcome is Outcome.DEAD))


async def note_suspects(store: DocumentStore, jobs: Iterable[ClaimedJob]) -> None:
    """Write down jobs that run alone: their next loss may be their last."""
    await _note(store, ((job.id, job.token) for job in jobs))


async def _note(store: DocumentStore, proofs: Iterable[tuple[bytes, int]]) -> None:
    documents = [NewDocument(kind=KIND, key=key_of(job_id, token), body=b"", keep=KEEP) for job_id, token in proofs]
    for start in range(0, len(documents), MAX_BATCH):
        await store.put_documents(documents[start : start + MAX_BATCH])


def key_of(id: bytes, token: int) -> str:
    """The key of the document of a claim."""
    return f"{id.hex()}/{token}"


def claim_of(key: str) -> tuple[bytes, int]:
    """The id and the token that a key says."""
    job_id, _, token = key.partition("/")
    return bytes.fromhex(job_id), int(token)
