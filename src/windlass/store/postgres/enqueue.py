"""Storing jobs: batches as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any, NamedTuple

from asyncpg.pgproto.pgproto import UUID

from windlass.core.model import MAX_PRIORITY, STORED, Edge, EnqueueAnswer, Enqueued, NewJob
from windlass.store.postgres.names import lane_number, number_of

BUSY = 3
"""Another transaction, which has not ended, holds the lock on the unique key."""
_IS_PARENT, _HAS_PARENTS = 1, 2
_MOST_ONE_BY_ONE = 100
"""Jobs that are stored one by one in one transaction: each unique key is a lock of the server's, which has not many."""


class Part(NamedTuple):
    """Some jobs of a call that are stored in one transaction: all of them with a unique key, or none."""

    unique: bool
    jobs: Sequence[NewJob]


def parts(jobs: Sequence[NewJob]) -> list[Part]:
    """Cut a call into its transactions, in order."""
    found: list[Part] = []
    for unique, some in groupby(jobs, lambda job: job.unique is not None):
        alike = list(some)
        step = _MOST_ONE_BY_ONE if unique else len(alike)
        found += [Part(unique, alike[start : start + step]) for start in range(0, len(alike), step)]
    return found


def is_plain(job: NewJob) -> bool:
    """Whether a job can be stored together with others in one go: nothing but its id can be said against it."""
    return job.unique is None and not job.parents


def columns(jobs: Sequence[NewJob]) -> list[Any]:
    """What every job has, as the functions want it: an array for each column."""
    return [
        [UUID(job.id) for job in jobs],
        [job.task for job in jobs],
        [job.queue for job in jobs],
        [job.requires for job in jobs],
        [number_of(job.task) for job in jobs],
        [number_of(job.queue) for job in jobs],
        [lane_number(job.queue, job.requires) for job in jobs],
        [MAX_PRIORITY - job.priority for job in jobs],
        [job.payload for job in jobs],
        _or_none([job.options for job in jobs]),
        _or_none([job.limit_key for job in jobs]),
        _or_none([due_of(job) for job in jobs]),
        _or_none([expiry_of(job) for job in jobs]),
    ]


def due_of(job: NewJob) -> int | None:
    """An instant; a span from now with its sign turned."""
    return -job.delay if job.delay else job.at


def expiry_of(job: NewJob) -> int | None:
    """As `due_of`; 0 is now."""
    return job.expires_at if job.expires_in is None else -job.expires_in


def _or_none(column: list[Any]) -> list[Any] | None:
    return column if any(value is not None for value in column) else None


def more_columns(jobs: Sequence[NewJob]) -> list[Any]:
    """What jobs have that are stored one by one."""
    uniques = [job.unique for job in jobs]
    return [
        [None if unique is None else unique.key for unique in uniques],
        [None if unique is None else int(unique.until) for unique in uniques],
        [unique is not None and unique.replace for unique in uniques],
        *_parent_columns(jobs),
    ]


def link_columns(jobs: Sequence[NewJob]) -> list[Any]:
    """What jobs have that are stored together with their parents."""
    places = {job.id: place for place, job in enumerate(jobs, 1)}
    linked = [_HAS_PARENTS if job.parents else 0 for job in jobs]
    parent_at: list[int | None] = []
    for place, job in enumerate(jobs, 1):
        for parent in job.parents:
            at = places.get(parent.id, place)
            parent_at.append(at if at < place else None)
            if at < place and not linked[at - 1]:
                linked[at - 1] = _IS_PARENT
    return [linked, *_parent_columns(jobs), parent_at]


def _parent_columns(jobs: Sequence[NewJob]) -> list[Any]:
    """The parents of all, and for each the place of its dependant in the call."""
    flat = [(place, parent) for place, job in enumerate(jobs, 1) for parent in job.parents]
    return [
        [place for place, _ in flat],
        [UUID(parent.id) for _, parent in flat],
        [int(parent.policy) for _, parent in flat],
    ]


def answer_of(row: tuple[int, UUID | None]) -> EnqueueAnswer | None:
    """What became of one job; ``None``: nothing yet, its unique key is busy."""
    status, holder = row
    if status == BUSY:
        return None
    return (
        STORED
        if status == Enqueued.STORED
        else EnqueueAnswer(Enqueued(status), None if holder is None else holder.bytes)
    )


def edge_columns(edges: Sequence[Edge]) -> list[Any]:
    """Edges to stored jobs."""
    return [
        [UUID(edge.parent) for edge in edges],
        [UUID(edge.dependant) for edge in edges],
        [int(edge.policy) for edge in edges],
    ]
