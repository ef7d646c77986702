"""Which jobs a schedule that is due enqueues, and where it goes from there: a pure function."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from windlass.core.clock import SECOND, Instant, Span, instant, to_datetime
from windlass.core.definition import Definition
from windlass.core.schedules import MAX_FIRED, Firing, ScheduleRecord
from windlass.core.triggers import Trigger

LOOK = 1000
"""Missed fire times that are gone through one by one. Of more, the latest are found by other means, and the others are
counted as so many."""


def plan_firing(record: ScheduleRecord, definition: Definition, now: Instant, *, behind: bytes | None = None) -> Firing:
    """Plan the step of a schedule that is due. ``behind``: its last job, if that is unfinished and the new one has to
    wait for it."""
    assert record.next is not None
    policies = definition.policies
    met = _missed(definition.trigger, record.next, now, policies.catch_up if policies.coalesce == "all" else 1)
    grace = policies.misfire_grace
    first = record.next if grace is None else _first_in_time(definition.trigger, record.next, now, grace)
    chosen, last = _choose(definition, first, met.latest)
    in_time = [at for at in chosen if grace is None or now - at <= grace]
    if policies.max_jobs is not None:
        in_time = in_time[: max(0, policies.max_jobs - record.fired)]
    return Firing(
        name=record.name,
        version=record.version,
        due=record.next,
        last=last,
        next=None if _is_over(record, definition, len(in_time)) else met.after(definition.trigger, last),
        jobs=tuple(definition.new_job(record.name, at, behind=behind) for at in in_time),
        skipped=met.before + len(chosen) - len(in_time),
    )


class _Missed(NamedTuple):
    """Fire times from the one that is due until now."""

    latest: list[Instant]
    """The last ones, as many as are wanted."""
    before: int
    """How many there were before them."""
    following: Instant | None = None
    """The one after the last of them, if that is known."""

    def after(self, trigger: Trigger, last: Instant) -> Instant | None:
        """The one after ``last``."""
        if last == self.latest[-1] and self.following is not None:
            return self.following
        return following(trigger, last)


def following(trigger: Trigger, after: Instant) -> Instant | None:
    """The first fire time after this one."""
    found = trigger.next(to_datetime(after))
    return None if found is None else instant(found, "fire time")


def _first_in_time(trigger: Trigger, first: Instant, now: Instant, grace: Span) -> Instant:
    """The first fire time that is not too late; of those that all are, the first."""
    if now - first <= grace:
        return first
    found = following(trigger, now - grace - 1)
    return first if found is None or found > now else max(first, found)


def _choose(definition: Definition, first: Instant, met: list[Instant]) -> tuple[list[Instant], Instant]:
    """Which of the fire times that were met have a job, and the last one that is done with by that."""
    if definition.policies.coalesce == "one":
        return [first], met[-1]
    if definition.policies.overlap == "cancel":
        # All but the last would be cancelled by the one after it.
        return met[-1:], met[-1]
    return met[:MAX_FIRED], met[:MAX_FIRED][-1]


def _is_over(record: ScheduleRecord, definition: Definition, jobs: int) -> bool:
    """Whether it has had all its jobs. One whose jobs may be refused is asked again at its next fire time."""
    most = definition.policies.max_jobs
    if most is None:
        return False
    surely = jobs if definition.is_always_stored else 0
    return record.fired + surely >= most


def _missed(trigger: Trigger, first: Instant, now: Instant, wanted: int) -> _Missed:
    """Find the latest fire times from ``first`` to ``now``, at most ``wanted``."""
    found: list[Instant] = []
    at: Instant | None = first
    while at is not None and at <= now and len(found) <= LOOK:
        found.append(at)
        at = following(trigger, at)
    if len(found) <= LOOK:
        return _Missed(found[-wanted:], max(0, len(found) - wanted), at)
    back = SECOND
    while True:
        start = following(trigger, max(first, now - back) - 1)
        latest = deque(_times(trigger, start, now), maxlen=wanted)
        if len(latest) == wanted or now - back <= first:
            return _Missed(list(latest), LOOK)
        back *= 4


def _times(trigger: Trigger, first: Instant | None, until: Instant) -> Iterator[Instant]:
    while first is not None and first <= until:
        yield first
        first = following(trigger, first)
