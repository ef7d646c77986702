"""Schedules as the store port takes and gives them. What a definition says is for `windlass.engine.scheduler`.

All times are instants of the store's clock. A *fire time* is an instant at which a schedule is due.
"""

from __future__ import annotations

from enum import IntEnum

import msgspec

from windlass.core.clock import DAY, Instant, Span
from windlass.core.model import EnqueueAnswer, NewJob

MAX_FIRED = 100
"""Jobs that one firing may store."""
KEEP_DELETED: Span = 7 * DAY
"""How long a deleted schedule's last fire time is remembered, at least."""


class NewSchedule(msgspec.Struct, frozen=True, kw_only=True):
    """What `put_schedules` stores."""

    name: str
    definition: bytes
    """JSON for the scheduler: trigger, call and policies. Stores keep it and never read it."""
    version: int
    """The version that is changed by this, and becomes version + 1; 0: there is none, or it was deleted."""
    next: Instant | None
    """The next fire time; ``None``: it never fires again, or not while it is paused."""
    paused: bool = False


class PutStatus(IntEnum):
    """What became of one record of a `put_schedules`."""

    STORED = 0
    """It is stored: now, or by an earlier call that said the same."""
    CHANGED = 1
    """Its version is another: somebody else has changed, made or deleted it. Nothing changed."""
    FIRED = 2
    """It has fired at, or after, what would be its next fire time. Nothing changed."""


class PutAnswer(msgspec.Struct, frozen=True):
    """Per record, in the order of the call."""

    status: PutStatus
    last: Instant | None = None
    """Its last fire time, if `status` is ``FIRED``."""


class ScheduleRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A stored schedule."""

    name: str
    version: int
    """1 for the first. Grows by one with every change, not with firing; what is made again goes on from there."""
    definition: bytes
    paused: bool
    next: Instant | None
    last: Instant | None = None
    """The last fire time that was met, with a job or without. Survives changes and deletion, and `next` is always
    later: so nothing fires twice, whoever makes it again."""
    fired: int = 0
    """Jobs that it has stored, since it was made."""
    skipped: int = 0
    """Fire times that were met without a job, since it was made."""
    last_job: bytes | None = None
    """The job that it stored last."""
    changed_at: Instant = 0


class Firing(msgspec.Struct, frozen=True, kw_only=True):
    """One schedule's step from its next fire time to a later one."""

    name: str
    version: int
    """Of the record that was read."""
    due: Instant
    """`ScheduleRecord.next` of the record that was read."""
    last: Instant
    """The last of the fire times that are met by this: ``due``, or a later one."""
    next: Instant | None
    """The first fire time after ``last``; ``None``: there is none."""
    jobs: tuple[NewJob, ...] = ()
    """What it stores, at most `MAX_FIRED`; none if these fire times are met without a job."""
    skipped: int = 0
    """Fire times that are met without a job. Jobs that cannot be stored are counted in addition."""


class FireStatus(IntEnum):
    """What became of a firing."""

    FIRED = 0
    STALE = 1
    """Somebody else has fired it, changed it, paused it or deleted it. Nothing changed."""


class FireAnswer(msgspec.Struct, frozen=True):
    """Per firing, in the order of the call."""

    status: FireStatus
    jobs: tuple[EnqueueAnswer, ...] = ()
    """As `enqueue` answers."""


class DueSchedules(msgspec.Struct, frozen=True):
    """What is due."""

    schedules: list[ScheduleRecord]
    """The earliest first."""
    next_at: Instant | None
    """When the first of the others is due; that may be past."""
    now: Instant
    """The store's clock at the call."""


class SchedulePage(msgspec.Struct, frozen=True):
    """Some schedules, by name."""

    schedules: list[ScheduleRecord]
    cursor: str | None = None
    """Where the next page begins; ``None``: this was the last."""
