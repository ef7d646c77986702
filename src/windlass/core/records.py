"""What operators ask for, and the records that they and the insights read: limits, jobs, queues, sessions.

The store port's other verbs take and give the records of `windlass.core.model`; its rules for times and ids hold here.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Literal, TypeAlias

import msgspec

from windlass.core.clock import DAY, SECOND, Instant, Span
from windlass.core.errors import InvalidOption
from windlass.core.graph import EdgePolicy
from windlass.core.lifecycle import State
from windlass.core.model import DRAIN, STOP, Session


class LimitScope(IntEnum):
    """What a limit record governs. The numbers are part of the stored layout."""

    QUEUE = 0
    TASK = 1
    KEY = 2
    """Each limit key: the record named ``group:value``, or else the one named ``group`` for every key of the group."""


MOST_AT_ONCE = 1_000_000
"""The highest limit: what is higher is a mistake, or no limit."""
LONGEST_PER: Span = 30 * DAY
"""With `MOST_AT_ONCE` it keeps what a bucket owes within 63 bits."""


class Rate(msgspec.Struct, frozen=True):
    """A token bucket: at most `count` starts per `per`, with bursts of at most `burst`. People write it as
    `windlass.core.rates` says. Raises `InvalidOption` for what no bucket can be."""

    count: int
    per: Span = SECOND
    burst: int = 1

    def __post_init__(self) -> None:
        for what, value, most in (
            ("starts", self.count, MOST_AT_ONCE),
            ("microseconds", self.per, LONGEST_PER),
            ("starts in a burst", self.burst, MOST_AT_ONCE),
        ):
            if not 1 <= value <= most:
                raise InvalidOption(f"rate: {value} {what}: expected 1 to {most:_}")

    def wait(self, debt: int, since: Span) -> Span:
        """Time until one more may start, for a bucket from which ``debt`` was missing ``since`` ago, in tokens times
        `per`; 0: now."""
        left = max(0, debt - max(0, since) * self.count)
        excess = min(left, self.burst * self.per) - (self.burst - 1) * self.per
        return max(0, -(-excess // self.count))


class Limit(msgspec.Struct, frozen=True, kw_only=True):
    """A queue record, or the limits of a task or of limit keys. For all workers together, enforced by `claim`."""

    scope: LimitScope
    name: str
    paused: bool = False
    """Nothing is claimed. Queues and tasks only. Set by `JobStore.pause`, and by nothing else."""
    concurrency: int | None = None
    """At most so many running at once; ``None``: no limit."""
    rate: Rate | None = None


class CancelAnswer(IntEnum):
    """What became of a request to cancel."""

    CANCELLED = 0
    REQUESTED = 1
    """It runs; the worker will learn of it."""
    FINISHED = 2
    """It was finished already."""
    UNKNOWN = 3


class ReplayAnswer(IntEnum):
    """What became of a replay."""

    REPLAYED = 0
    NOT_DEAD = 1
    """Only dead and cancelled jobs can be replayed."""
    KEY_HELD = 2
    """Another unfinished job holds its unique key."""
    UNKNOWN = 3


class SkipAnswer(IntEnum):
    """What became of a skip."""

    SKIPPED = 0
    STARTED = 1
    """Only waiting, scheduled and ready jobs can be skipped."""
    UNKNOWN = 2


class Reason(IntEnum):
    """Why a job is cancelled or dead, beyond what its errors say. The numbers are part of the stored layout."""

    NONE = 0
    CANCELLED = 1
    """Somebody asked."""
    EXPIRED = 2
    PARENT = 3
    """A parent did not end as an edge demands."""
    REPLACED = 4
    """A newer job took its unique key."""
    LOST = 5
    """Its workers died while they ran it alone."""
    SKIPPED = 6
    """An operator declared it succeeded."""


MAX_LOOK = 10_000
"""Jobs that one `list_jobs` looks at, at most."""


class JobRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the store knows of a job. `list_jobs` leaves out what may be large: payload, options, result, errors
    and log are empty there."""

    id: bytes
    task: str
    queue: str
    requires: str
    priority: int
    state: State
    reason: Reason = Reason.NONE
    payload: bytes
    options: bytes | None
    result: bytes | None = None
    errors: list[bytes] = []
    """Encoded `ErrorRecord` s of the last `MAX_ERRORS` failed or undeliverable attempts, oldest first."""
    token: int = 0
    attempt: int = 0
    failures: int = 0
    losses: int = 0
    snoozes: int = 0
    suspect: bool = False
    cancel_requested: bool = False
    unique_key: str | None = None
    limit_key: str | None = None
    session: bytes | None = None
    """Of the running, or else of the last, attempt."""
    enqueued_at: Instant = 0
    due_at: Instant | None = None
    expires_at: Instant | None = None
    started_at: Instant | None = None
    """When the last claim took it."""
    finished_at: Instant | None = None
    purge_at: Instant | None = None
    """End of its retention; ``None`` while unfinished or while dependants are unfinished."""
    sequence: int | None = None
    """Its place within its priority, given when it became ready."""
    undeliverable_since: Instant | None = None
    """When a worker first could not run it, if none has since."""
    parents_open: int = 0
    """Edges to parents that have not been marked yet."""
    progress: float | None = None
    message: str | None = None
    log: str = ""


class JobResult(msgspec.Struct, frozen=True):
    """How a job ended."""

    id: bytes
    state: State
    reason: Reason
    result: bytes | None
    error: bytes | None
    """The last error, if there is one."""


class JobFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which jobs are meant; ``None`` matches all."""

    states: tuple[State, ...] | None = None
    queue: str | None = None
    task: str | None = None
    error: str | None = None
    """Name of the class of the last error, or of a base of it: qualified, or its last part. See
    `windlass.core.remote.is_named`."""
    enqueued_before: Instant | None = None
    enqueued_from: Instant | None = None
    """Enqueued then or later."""


class JobPage(msgspec.Struct, frozen=True):
    """Some jobs, in the order of their ids."""

    jobs: list[JobRecord]
    cursor: bytes | None
    """Pass it to `list_jobs` to go on behind the last job that was looked at; ``None``: there is nothing behind it. A
    page may be short, or empty, and the walk go on all the same."""


class QueueRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a queue: its record, if it has one, and what waits and runs in it."""

    name: str
    limit: Limit | None = None
    waiting: int = 0
    scheduled: int = 0
    ready: int = 0
    running: int = 0
    suspects: int = 0
    """Part of `ready`: jobs that wait to be run alone."""
    oldest_ready_at: Instant | None = None
    """When the oldest of the ready jobs, the one stored first, was enqueued."""


SessionState: TypeAlias = Literal["live", "draining", "stopping", "silent", "revoked"]
"""``silent``: its lease is over; it is revoked once somebody reaps it."""


class SessionRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a session."""

    session: Session
    opened_at: Instant
    lease_until: Instant
    renewals: int
    revoked: bool
    running: int
    commands: list[str] = []

    def state_at(self, now: Instant) -> SessionState:
        """How it is, by the store's clock."""
        if self.revoked:
            return "revoked"
        if self.lease_until <= now:
            return "silent"
        return "stopping" if STOP in self.commands else "draining" if DRAIN in self.commands else "live"


class ParentRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A parent for which a job waits."""

    id: bytes
    policy: EdgePolicy
    state: State | None = None
    """``None``: the store does not have it."""


class LaneRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A lane in which jobs are ready."""

    queue: str
    requires: str
    ready: int
    suspects: int = 0
    """Part of `ready`."""
    first: list[JobRecord]
    """Some of them, as `list_jobs` shows them: those next in line, suspects last."""


class Backlog(msgspec.Struct, frozen=True, kw_only=True):
    """What has not started, and which of it is next. Jobs are as `list_jobs` shows them."""

    lanes: list[LaneRecord]
    """By name."""
    scheduled: list[JobRecord]
    """Those due first."""
    last_scheduled: JobRecord | None
    """The one due last."""
    waiting: list[JobRecord]
    """Some of those that wait for parents."""
