"""What every store refuses before it begins: calls larger than the port allows."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence, Sized
from typing import Any

from windlass.core.clock import Instant
from windlass.core.documents import MAX_BODY, MAX_KEY, PAST_ALL_KEYS, NewDocument
from windlass.core.errors import StoreError, UsageError
from windlass.core.model import (
    MAX_BATCH,
    MAX_LANES,
    MAX_PRIORITY,
    ClaimRequest,
    Edge,
    NewJob,
    Parent,
    Settlement,
    Unique,
)
from windlass.core.records import Limit
from windlass.core.schedules import MAX_FIRED, Firing, NewSchedule

UNFIT = (StoreError, TypeError, ValueError, ArithmeticError, AttributeError)
"""What stores and drivers raise for records that cannot be."""


def check_batch(verb: str, records: Sized) -> None:
    """Raise `UsageError` for a batch of more than `MAX_BATCH` records."""
    if len(records) > MAX_BATCH:
        raise UsageError(f"{verb}: {len(records)} records in one call; at most {MAX_BATCH} are allowed")


def check_instant(verb: str, at: Instant) -> None:
    """Raise `UsageError` for an instant that no store can keep."""
    if not 0 <= at < 2**53:
        raise UsageError(f"{verb}: {at} is no instant from 1970 to 2255, in microseconds")


def check_places(jobs: Sequence[NewJob]) -> None:
    """Raise `UsageError` for an id or a priority that cannot be: what a store may take without noticing."""
    for job in jobs:
        if len(job.id) != 16 or not 0 <= job.priority <= MAX_PRIORITY:
            check_jobs([job])


def check_jobs(jobs: Sequence[NewJob]) -> None:
    """Raise `UsageError` for what is no job, naming field and value. It costs more than storing jobs does: to be asked
    where a store has failed, to find out why."""
    for job in jobs:
        for name, good, expected in _FIELDS:
            value = getattr(job, name)
            if not good(value):
                raise UsageError(f"enqueue: job with {name}={value!r:.100}: expected {expected}")


def _is_id(value: object) -> bool:
    return isinstance(value, bytes) and len(value) == 16


def _is_number(value: object) -> bool:
    return isinstance(value, int) and -(2**62) < value < 2**62


def _is_text(value: object) -> bool:
    try:
        return isinstance(value, str) and "\0" not in value and value.encode() is not None
    except UnicodeEncodeError:
        return False


_FIELDS: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
    ("id", _is_id, "16 bytes"),
    ("priority", lambda value: _is_number(value) and 0 <= value <= MAX_PRIORITY, f"0 to {MAX_PRIORITY}"),
    *((name, _is_text, "text without NUL and lone surrogates") for name in ("task", "queue", "requires")),
    ("limit_key", lambda value: value is None or _is_text(value), "text without NUL and lone surrogates, or None"),
    ("unique", lambda value: value is None or (isinstance(value, Unique) and _is_text(value.key)), "a Unique or None"),
    ("payload", lambda value: isinstance(value, bytes), "bytes"),
    ("options", lambda value: value is None or isinstance(value, bytes), "bytes or None"),
    ("delay", _is_number, "an integer of microseconds"),
    *(
        (name, lambda value: value is None or _is_number(value), "an integer of microseconds, or None")
        for name in ("at", "expires_in", "expires_at")
    ),
    ("parents", lambda value: all(isinstance(one, Parent) and _is_id(one.id) for one in value), "Parents with ids"),
)


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
    """Raise `UsageError` for a claim of more than `MAX_LANES` lanes, or of no bytes."""
    if request.max_bytes < 1:
        raise UsageError(f"claim: max_bytes={request.max_bytes}; expected at least 1")
    if len(request.lanes) > MAX_LANES:
        raise UsageError(f"claim: {len(request.lanes)} lanes in one call; at most {MAX_LANES} are allowed")


def check_distinct(settlements: Sequence[Settlement]) -> None:
    """Raise `UsageError` if a job is named twice."""
    if len({settlement.id for settlement in settlements}) != len(settlements):
        raise UsageError("settle: a job is named twice; ids within one call must be distinct")


def check_schedules(verb: str, schedules: Sequence[NewSchedule] | Sequence[Firing]) -> None:
    """Raise `UsageError` for too many, or if a schedule is named twice."""
    check_batch(verb, schedules)
    if len({schedule.name for schedule in schedules}) != len(schedules):
        raise UsageError(f"{verb}: a schedule is named twice; names within one call must be distinct")


_KIND = re.compile(r"[a-z][a-z0-9_-]{0,39}")


def check_documents(documents: Sequence[NewDocument]) -> None:
    """Raise `UsageError` for too many, and for what is no document."""
    check_batch("put_documents", documents)
    for new in documents:
        check_keys("put_documents", new.kind, [new.key])
        if not isinstance(new.body, bytes) or len(new.body) > MAX_BODY:
            raise UsageError(f"put_documents: {new.key!r}: expected a body of at most {MAX_BODY} bytes")
        if not all(number is None or (_is_number(number) and number >= 0) for number in (new.expected, new.keep)):
            raise UsageError(f"put_documents: {new.key!r}: expected a version and a time to keep of 0 or more, or None")


def check_keys(verb: str, kind: str, keys: Sequence[str]) -> None:
    """Raise `UsageError` for too many keys, and for what is no kind, and no key."""
    check_batch(verb, keys)
    if not isinstance(kind, str) or not _KIND.fullmatch(kind):
        raise UsageError(f"{verb}: kind {kind!r:.100}: expected 1 to 40 of a-z, 0-9, _ and -, beginning with a letter")
    for key in keys:
        if not _is_text(key) or not 1 <= len(key.encode()) <= MAX_KEY:
            raise UsageError(f"{verb}: key {key!r:.100}: expected 1 to {MAX_KEY} bytes of UTF-8, without NUL")


def check_range(kind: str, above: str, below: str | None, limit: int) -> str:
    """Raise `UsageError` for what `DocumentStore.list_documents` does not take; answers below which key to list."""
    check_limit("list_documents", limit)
    check_keys("list_documents", kind, [key for key in (above or None, below) if key is not None])
    return PAST_ALL_KEYS if below is None else below


def check_firings(firings: Sequence[Firing]) -> None:
    """Raise `UsageError` for firings that the port does not allow."""
    check_schedules("fire", firings)
    for firing in firings:
        if not firing.due <= firing.last or (firing.next is not None and firing.next <= firing.last):
            raise UsageError(f"fire: {firing.name!r}: expected due <= last < next")
        if len(firing.jobs) > MAX_FIRED:
            raise UsageError(f"fire: {firing.name!r}: {len(firing.jobs)} jobs; at most {MAX_FIRED} are allowed")
    jobs = sum(len(firing.jobs) for firing in firings)
    if jobs > MAX_BATCH:
        raise UsageError(f"fire: {jobs} jobs in one call; at most {MAX_BATCH} are allowed")
