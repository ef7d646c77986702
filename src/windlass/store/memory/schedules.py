"""Schedules, and their steps from one fire time to the next."""

from __future__ import annotations

from collections.abc import Sequence
from heapq import nsmallest

from windlass.core.clock import Instant
from windlass.core.model import Enqueued
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
from windlass.store.memory.cascade import Cascade
from windlass.store.memory.data import Data, Step
from windlass.store.memory.enqueue import store_job
from windlass.store.memory.records import Schedule

_STORED = PutAnswer(PutStatus.STORED)
_CHANGED = PutAnswer(PutStatus.CHANGED)
_STALE = FireAnswer(FireStatus.STALE)


def put_schedules(step: Step, schedules: Sequence[NewSchedule]) -> list[PutAnswer]:
    """See `ScheduleStore.put_schedules`."""
    return [_put(step, new) for new in schedules]


def _put(step: Step, new: NewSchedule) -> PutAnswer:
    data = step.data
    schedule = data.schedules.get(new.name) or Schedule(name=new.name, number=data.numbers)
    there = schedule.deleted_at is None
    if new.version != (schedule.version if there else 0):
        same = there and (schedule.definition, schedule.paused) == (new.definition, new.paused)
        return _STORED if same else _CHANGED
    if schedule.last is not None and new.next is not None and new.next <= schedule.last:
        return PutAnswer(PutStatus.FIRED, schedule.last)
    if not there:
        data.numbers += 1
        data.deleted.discard(schedule)
        schedule.fired, schedule.skipped, schedule.last_job, schedule.deleted_at = 0, 0, None, None
    schedule.version += 1
    schedule.definition, schedule.paused, schedule.changed_at = new.definition, new.paused, step.now
    data.schedules[new.name] = schedule
    first = data.due.first()
    _aim(data, schedule, new.next)
    if new.next is not None and (first is None or new.next < first[0][0]):
        step.hints.add("schedules")
    return _STORED


def _aim(data: Data, schedule: Schedule, at: Instant | None) -> None:
    schedule.next = at
    if at is None or schedule.paused:
        data.due.discard(schedule)
    else:
        data.due.put(schedule, (at, schedule.number))


def delete_schedules(step: Step, names: Sequence[str]) -> int:
    """See `ScheduleStore.delete_schedules`."""
    found = {schedule for name in names if (schedule := _find(step.data, name)) is not None}
    for schedule in found:
        step.data.due.discard(schedule)
        step.data.deleted.put(schedule, (step.now, schedule.number))
        schedule.deleted_at, schedule.definition, schedule.next = step.now, b"", None
    return len(found)


def forget_deleted(step: Step, limit: int) -> bool:
    """Forget what is left of schedules that were deleted long ago; says whether there is more."""
    deleted, until = step.data.deleted, step.now - KEEP_DELETED
    while limit and (schedule := deleted.first_up_to(until)) is not None:
        deleted.discard(schedule)
        del step.data.schedules[schedule.name]
        limit -= 1
    return deleted.first_up_to(until) is not None


def _find(data: Data, name: str) -> Schedule | None:
    schedule = data.schedules.get(name)
    return None if schedule is None or schedule.deleted_at is not None else schedule


def get_schedules(data: Data, names: Sequence[str]) -> list[ScheduleRecord | None]:
    """See `ScheduleStore.get_schedules`."""
    return [None if (schedule := _find(data, name)) is None else _record(schedule) for name in names]


def list_schedules(data: Data, limit: int, cursor: str | None) -> SchedulePage:
    """See `ScheduleStore.list_schedules`."""
    after = "" if cursor is None else cursor
    names = (name for name, one in data.schedules.items() if name > after and one.deleted_at is None)
    page = nsmallest(limit + 1, names, key=str.encode)
    return SchedulePage(
        [_record(data.schedules[name]) for name in page[:limit]], page[limit - 1] if page[limit:] else None
    )


def due_schedules(step: Step, limit: int) -> DueSchedules:
    """See `ScheduleStore.due_schedules`."""
    line = step.data.due
    found: list[Schedule] = []
    while len(found) < limit and (schedule := line.first_up_to(step.now)) is not None:
        found.append(schedule)
        line.discard(schedule)
    first = line.first()
    for schedule in found:
        _aim(step.data, schedule, schedule.next)
    return DueSchedules([_record(schedule) for schedule in found], None if first is None else first[0][0], step.now)


def fire(step: Step, firings: Sequence[Firing]) -> list[FireAnswer]:
    """See `ScheduleStore.fire`."""
    cascade = Cascade(step)
    answers = [_fire(step, firing, cascade) for firing in firings]
    cascade.run()
    return answers


def _fire(step: Step, firing: Firing, cascade: Cascade) -> FireAnswer:
    schedule = _find(step.data, firing.name)
    if (
        schedule is None
        or schedule.paused
        or (schedule.version, schedule.next) != (firing.version, firing.due)
        or firing.due > step.now
    ):
        return _STALE
    answers = tuple(store_job(step, job, cascade) for job in firing.jobs)
    stored = [job.id for job, answer in zip(firing.jobs, answers, strict=True) if answer.status is Enqueued.STORED]
    schedule.fired += len(stored)
    schedule.skipped += firing.skipped + len(answers) - len(stored)
    schedule.last_job = stored[-1] if stored else schedule.last_job
    schedule.last = firing.last
    _aim(step.data, schedule, firing.next)
    return FireAnswer(FireStatus.FIRED, answers)


def _record(schedule: Schedule) -> ScheduleRecord:
    return ScheduleRecord(
        name=schedule.name,
        version=schedule.version,
        definition=schedule.definition,
        paused=schedule.paused,
        next=schedule.next,
        last=schedule.last,
        fired=schedule.fired,
        skipped=schedule.skipped,
        last_job=schedule.last_job,
        changed_at=schedule.changed_at,
    )
