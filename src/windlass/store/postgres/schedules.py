"""Schedules: batches as arrays, and rows as records."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from windlass.core.model import STORED, EnqueueAnswer, Enqueued, NewJob
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
from windlass.store.postgres import enqueue

_STALE = FireAnswer(FireStatus.STALE)


def columns(schedules: Sequence[NewSchedule]) -> list[Any]:
    """Schedules to put."""
    return [
        [new.name for new in schedules],
        [new.definition for new in schedules],
        [new.version for new in schedules],
        [new.next for new in schedules],
        [new.paused for new in schedules],
    ]


def put(rows: Sequence[tuple[int, int | None]]) -> list[PutAnswer]:
    """What became of them."""
    return [PutAnswer(PutStatus(answer), last) for answer, last in rows]


def parts(firings: Sequence[Firing]) -> list[list[Firing]]:
    """Cut firings into transactions, in order: those of which all jobs are plain, and those of others."""
    return [list(some) for _, some in groupby(firings, _is_plain)]


def _is_plain(firing: Firing) -> bool:
    return all(map(enqueue.is_plain, firing.jobs))


def firing_columns(firings: Sequence[Firing]) -> list[Any]:
    """Firings, and the jobs of all of them."""
    jobs: list[NewJob] = [job for firing in firings for job in firing.jobs]
    return [
        [firing.name for firing in firings],
        [firing.version for firing in firings],
        [firing.due for firing in firings],
        [firing.last for firing in firings],
        [firing.next for firing in firings],
        [firing.skipped for firing in firings],
        [place for place, firing in enumerate(firings, 1) for _ in firing.jobs],
        all(map(_is_plain, firings)),
        *enqueue.columns(jobs),
        *enqueue.more_columns(jobs),
    ]


def fired(firings: Sequence[Firing], rows: Sequence[tuple[int, int | None, int, Any]]) -> list[FireAnswer]:
    """What became of them. Jobs of which the store says nothing are stored."""
    stale = {firing for firing, job, answer, _ in rows if job is None and answer}
    said = {
        job: STORED if not answer else EnqueueAnswer(Enqueued(answer), None if holder is None else holder.bytes)
        for _, job, answer, holder in rows
        if job is not None
    }
    answers, first = [], 1
    for place, firing in enumerate(firings, 1):
        jobs = tuple(said.get(first + offset, STORED) for offset in range(len(firing.jobs)))
        answers.append(_STALE if place in stale else FireAnswer(FireStatus.FIRED, jobs))
        first += len(firing.jobs)
    return answers


def page(rows: Sequence[Any], limit: int) -> SchedulePage:
    """Some schedules, by name."""
    return SchedulePage([_record(row) for row in rows[:limit]], rows[limit - 1][0] if rows[limit:] else None)


def due(rows: Sequence[Any], limit: int) -> DueSchedules:
    """Those that are due."""
    now = next(row[4] for row in rows if row[0] is None)
    records = sorted((_record(row) for row in rows if row[0] is not None), key=lambda record: record.next or 0)
    found = [record for record in records[:limit] if record.next is not None and record.next <= now]
    return DueSchedules(found, records[len(found)].next if records[len(found) :] else None, now)


def record_of(row: Any) -> ScheduleRecord | None:
    """A schedule, if there is one."""
    return None if row[0] is None else _record(row)


def _record(row: Any) -> ScheduleRecord:
    name, version, definition, paused, at, last, jobs, skipped, last_job, changed_at = row
    return ScheduleRecord(
        name=name,
        version=version,
        definition=definition,
        paused=paused,
        next=at,
        last=last,
        fired=jobs,
        skipped=skipped,
        last_job=None if last_job is None else last_job.bytes,
        changed_at=changed_at,
    )
