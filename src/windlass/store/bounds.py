"""What every store refuses before it begins: calls larger than the port allows."""

from __future__ import annotations

from collections.abc import Sequence, Sized

from windlass.core.errors import UsageError
from windlass.core.model import MAX_BATCH, MAX_LANES, ClaimRequest, Edge, Settlement
from windlass.core.records import Limit


def check_batch(verb: str, records: Sized) -> None:
    """Raise `UsageError` for a batch of more than `MAX_BATCH` records."""
    if len(records) > MAX_BATCH:
        raise UsageError(f"{verb}: {len(records)} records in one call; at most {MAX_BATCH} are allowed")


def check_edges(edges: Sequence[Edge]) -> None:
    """Raise `UsageError` for too many edges, and for one from a job to itself."""
    check_batch("enqueue", edges)
    for edge in edges:
        if edge.parent == edge.dependant:
            raise UsageError(f"enqueue: an edge from job {edge.parent.hex()} to itself: it would wait for ever")


def check_limit(verb: str, limit: int) -> None:
    """Raise `UsageError` for a limit outside of 1 to `MAX_BATCH`."""
    if not 1 <= limit <= MAX_BATCH:
        raise UsageError(f"{verb}: limit={limit}; expected 1 to {MAX_BATCH}")


def check_record(limit: Limit) -> None:
    """Raise `UsageError` for a limit record that says ``paused``."""
    if limit.paused:
        raise UsageError(f"put_limit(paused=True) of {limit.scope.name.lower()} {limit.name!r}: use pause for that")


def check_request(request: ClaimRequest) -> None:
    """Raise `UsageError` for a claim of more than `MAX_LANES` lanes."""
    if len(request.lanes) > MAX_LANES:
        raise UsageError(f"claim: {len(request.lanes)} lanes in one call; at most {MAX_LANES} are allowed")


def check_distinct(settlements: Sequence[Settlement]) -> None:
    """Raise `UsageError` if a job is named twice."""
    if len({settlement.id for settlement in settlements}) != len(settlements):
        raise UsageError("settle: a job is named twice; ids within one call must be distinct")
