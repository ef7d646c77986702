"""Schedules, and their steps from one fire time to the next."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from itertools import islice
from typing import Any

from windlass.core.clock import Instant
from windlass.core.model import EnqueueAnswer, Enqueued
from windlass.core.schedules import (
    KEEP_DELETED,
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
from windlass.store.sqlite.edges import Cascade
from windlass.store.sqlite.enqueue import store_jobs
from windlass.store.sqlite.transaction import Transaction
from windlass.store.statements import statements

_SQL = statements("sqlite")
_STORED = PutAnswer(PutStatus.STORED)
_CHANGED = PutAnswer(PutStatus.CHANGED)
_STALE = FireAnswer(FireStatus.STALE)
_NONE = (0, b"", 0, None, None, 0)
"""What is read where there was never such a schedule: as if it had been deleted."""


def put_schedules(tx: Transaction, schedules: Sequence[NewSchedule]) -> list[PutAnswer]:
    """See `ScheduleStore.put_schedules`."""
    return [_put(tx, new) for new in schedules]


def _put(tx: Transaction, new: NewSchedule) -> PutAnswer:
    found = tx.execute(_SQL["find_schedule"], (new.name,)).fetchone() or _NONE
    version, definition, paused, _, last, deleted_at = found
    there = deleted_at is None
    if new.version != (version if there else 0):
        return _STORED if there and (definition, paused) == (new.definition, new.paused) else _CHANGED
    if last is not None and new.next is not None and new.next <= last:
        return PutAnswer(PutStatus.FIRED, last)
    first = tx.execute(_SQL["next_schedule"]).fetchone()
    tx.execute(_SQL["put_schedule"], (new.name, version + 1, new.definition, new.paused, new.next, tx.now))
    if new.next is not None and not new.paused and (first is None or new.next < first[0]):
        tx.hints.schedules = True
    return _STORED


def delete_schedules(tx: Transaction, names: Sequence[str]) -> int:
    """See `ScheduleStore.delete_schedules`."""
    return sum(tx.execute(_SQL["delete_schedule"], (tx.now, name)).rowcount for name in names)


def forget_deleted(tx: Transaction, limit: int) -> bool:
    """Forget what is left of schedules that were deleted long ago; says whether there is more."""
    until = tx.now - KEEP_DELETED
    tx.execute(_SQL["forget_schedules"], (until, limit))
    return tx.execute(_SQL["has_forgettable_schedule"], (until,)).fetchone() is not None


def fire(tx: Transaction, firings: Sequence[Firing]) -> list[FireAnswer]:
    """See `ScheduleStore.fire`."""
    fresh = [_is_fresh(tx, firing) for firing in firings]
    cascade = Cascade(tx)
    jobs = [job for firing, good in zip(firings, fresh, strict=True) if good for job in firing.jobs]
    said = iter(store_jobs(tx, jobs, cascade))
    answers = [
        _step(tx, firing, tuple(islice(said, len(firing.jobs)))) if good else _STALE
        for firing, good in zip(firings, fresh, strict=True)
    ]
    cascade.run()
    return answers


def _is_fresh(tx: Transaction, firing: Firing) -> bool:
    version, _, paused, at, _, deleted_at = tx.execute(_SQL["find_schedule"], (firing.name,)).fetchone() or _NONE
    good = deleted_at is None and not paused and (version, at) == (firing.version, firing.due)
    return good and firing.due <= tx.now


def _step(tx: Transaction, firing: Firing, answers: tuple[EnqueueAnswer, ...]) -> FireAnswer:
    stored = [job.id for job, answer in zip(firing.jobs, answers, strict=True) if answer.status is Enqueued.STORED]
    skipped = firing.skipped + len(answers) - len(stored)
    last_job = stored[-1] if stored else None
    tx.execute(_SQL["step_schedule"], (firing.last, firing.next, len(stored), skipped, last_job, firing.name))
    return FireAnswer(FireStatus.FIRED, answers)


# --------------------------------------------------------------------------------------------------- reading


def get_schedules(db: sqlite3.Connection, names: Sequence[str]) -> list[ScheduleRecord | None]:
    """See `ScheduleStore.get_schedules`."""
    rows = [db.execute(_SQL["read_schedule"], (name,)).fetchone() for name in names]
    return [None if row is None else _record(row) for row in rows]


def list_schedules(db: sqlite3.Connection, limit: int, cursor: str | None) -> SchedulePage:
    """See `ScheduleStore.list_schedules`."""
    rows = db.execute(_SQL["list_schedules"], (cursor or "", limit + 1)).fetchall()
    return SchedulePage([_record(row) for row in rows[:limit]], rows[limit - 1][0] if rows[limit:] else None)


def due_schedules(db: sqlite3.Connection, limit: int, now: Instant) -> DueSchedules:
    """See `ScheduleStore.due_schedules`."""
    records = [_record(row) for row in db.execute(_SQL["due_schedules"], (limit + 1,))]
    due = [record for record in records[:limit] if record.next is not None and record.next <= now]
    return DueSchedules(due, records[len(due)].next if records[len(due) :] else None, now)


def _record(row: tuple[Any, ...]) -> ScheduleRecord:
    name, version, definition, paused, at, last, fired, skipped, last_job, changed_at = row
    return ScheduleRecord(
        name=name,
        version=version,
        definition=definition,
        paused=bool(paused),
        next=at,
        last=last,
        fired=fired,
        skipped=skipped,
        last_job=last_job,
        changed_at=changed_at,
    )
