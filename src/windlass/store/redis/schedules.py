"""Arguments and answers of the verbs of schedules."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from windlass.core.clock import Instant
from windlass.core.schedules import (
    DueSchedules,
    FireAnswer,
    FireStatus,
    Firing,
    NewSchedule,
    PutAnswer,
    PutStatus,
    SchedulePage,
    ScheduleRecord,
)
from windlass.store.redis.batches import PART, answer_of, jobs_to_store
from windlass.store.redis.connections import Argument

_STORED = PutAnswer(PutStatus.STORED)
_CHANGED = PutAnswer(PutStatus.CHANGED)
_STALE = FireAnswer(FireStatus.STALE)


def to_put(schedules: Sequence[NewSchedule]) -> list[Argument]:
    """Schedules as ``put_schedules.lua`` reads them."""
    found: list[Argument] = []
    for new in schedules:
        found += (new.name, new.definition, new.version, _or_empty(new.next), int(new.paused))
    return found


def put(answers: Sequence[Any]) -> list[PutAnswer]:
    """What became of all parts of a put."""
    return [_put(one) for found in answers for one in found]


def _put(answer: bytes) -> PutAnswer:
    if answer == b"0":
        return _STORED
    return _CHANGED if answer == b"1" else PutAnswer(PutStatus.FIRED, int(answer[1:]))


def to_fire(firings: Sequence[Firing]) -> list[Argument]:
    """Firings as ``fire.lua`` reads them."""
    found: list[Argument] = [len(firings)]
    for one in firings:
        found += (one.name, one.version, one.due, one.last, _or_empty(one.next), one.skipped)
        found += jobs_to_store(one.jobs)
    return found


def parts(firings: Sequence[Firing]) -> Iterator[list[Firing]]:
    """Cut firings into what one script carries."""
    part: list[Firing] = []
    weight = 0
    for firing in firings:
        if part and weight + 1 + len(firing.jobs) > PART:
            yield part
            part, weight = [], 0
        part.append(firing)
        weight += 1 + len(firing.jobs)
    if part:
        yield part


def fired(answers: Sequence[Any]) -> list[FireAnswer]:
    """What became of all parts of a fire."""
    return [
        _STALE if found == 0 else FireAnswer(FireStatus.FIRED, tuple(map(answer_of, found)))
        for part in answers
        for found in part
    ]


def page(answer: Sequence[Any]) -> SchedulePage:
    """Some schedules, by name."""
    rows, more = answer
    records = [record for row in rows if (record := record_of(row)) is not None]
    return SchedulePage(records, records[-1].name if more else None)


def due(answer: Sequence[Any]) -> DueSchedules:
    """Those that are due."""
    rows, next_at, now = answer
    records = [record for row in rows if (record := record_of(row)) is not None]
    return DueSchedules(records, None if next_at < 0 else next_at, now)


def record_of(row: Sequence[bytes] | None) -> ScheduleRecord | None:
    """A schedule as ``_schedule.lua`` reads it."""
    if not row:
        return None
    name, version, definition, paused, at, last, jobs, skipped, last_job, changed_at = row
    return ScheduleRecord(
        name=name.decode(),
        version=int(version),
        definition=definition,
        paused=paused == b"1",
        next=_or_none(at),
        last=_or_none(last),
        fired=int(jobs),
        skipped=int(skipped),
        last_job=last_job or None,
        changed_at=int(changed_at),
    )


def _or_empty(at: Instant | None) -> Argument:
    return "" if at is None else at


def _or_none(at: bytes) -> Instant | None:
    return int(at) if at else None
