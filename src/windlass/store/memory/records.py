"""The rows: a job, an edge, a session."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from windlass.core.clock import Instant, Span
from windlass.core.graph import EdgePolicy
from windlass.core.lifecycle import Outcome, State
from windlass.core.model import Session, Unique
from windlass.core.records import Reason

LaneName: TypeAlias = tuple[str, str]
"""(queue, requires)."""


@dataclass(slots=True, eq=False)
class Link:
    """One edge. It stays until its dependant is purged, so that a replay can arm it anew."""

    parent: bytes
    dependant: bytes
    policy: EdgePolicy
    mark: State | None = None
    """How the parent ended; set once for each end of the parent."""


@dataclass(slots=True, eq=False, kw_only=True)
class Job:
    """One job. The fields that `JobRecord` has too are explained there."""

    number: int
    """In the order in which jobs were stored."""
    id: bytes
    task: str
    queue: str
    requires: str
    priority: int
    payload: bytes
    options: bytes | None
    unique: Unique | None
    limit_key: str | None
    enqueued_at: Instant
    due_at: Instant | None
    expires_at: Instant | None
    state: State = State.WAITING
    reason: Reason = Reason.NONE
    result: bytes | None = None
    errors: list[bytes] = field(default_factory=list)
    token: int = 0
    attempt: int = 0
    failures: int = 0
    losses: int = 0
    snoozes: int = 0
    suspect: bool = False
    cancel_requested: bool = False
    session: bytes | None = None
    request: int = 0
    """The number of the claim that took it last."""
    settled: Outcome | None = None
    """How (session, token) settled it; ``None`` if they did not."""
    undeliverable_since: Instant | None = None
    started_at: Instant | None = None
    finished_at: Instant | None = None
    purge_at: Instant | None = None
    keep: Span = 0
    """Retention, once it is finished."""
    sequence: int | None = None
    progress: float | None = None
    message: str | None = None
    log: str = ""
    gave_up_key: bool = False
    """It has started, and held its unique key only until then."""

    # Its edges to parents, by parent, and how many of them have each (policy, mark).
    parents: dict[bytes, Link] = field(default_factory=dict)
    tally: dict[tuple[EdgePolicy, State | None], int] = field(default_factory=dict)
    unclosed: dict[bytes, Link] = field(default_factory=dict)
    """Edges for which the parent is kept."""
    # Its edges to dependants, by dependant: to be marked when it finishes; being marked; marked.
    armed: dict[bytes, Link] = field(default_factory=dict)
    marking: dict[bytes, Link] = field(default_factory=dict)
    marked: dict[bytes, Link] = field(default_factory=dict)
    kept_for: set[bytes] = field(default_factory=set)
    """Dependants that are unfinished."""

    @property
    def lane(self) -> LaneName:
        return self.queue, self.requires

    @property
    def position(self) -> tuple[int, int]:
        """Where it stands in its lane: first priority, then sequence."""
        assert self.sequence is not None
        return -self.priority, self.sequence

    @property
    def parents_open(self) -> int:
        """How many of its edges to parents are not marked."""
        return sum(count for (_, mark), count in self.tally.items() if mark is None)

    def is_expired(self, now: Instant) -> bool:
        """Whether it should have started before now."""
        return self.attempt == 0 and self.expires_at is not None and self.expires_at <= now


@dataclass(slots=True, eq=False)
class Life:
    """One session."""

    session: Session
    opened_at: Instant
    lease: Span
    """The one with which it was opened; others may have another."""
    lease_until: Instant
    renewals: int = 0
    revoked: bool = False
    request: int = 0
    """The highest request number seen."""
    commands: set[str] = field(default_factory=set)

    def is_alive(self, now: Instant) -> bool:
        """Whether it may be expected to renew again."""
        return not self.revoked and self.lease_until > now


@dataclass(slots=True, eq=False, kw_only=True)
class Schedule:
    """One schedule. The fields that `ScheduleRecord` has too are explained there."""

    name: str
    number: int
    """No two have the same."""
    version: int = 0
    definition: bytes = b""
    paused: bool = False
    next: Instant | None = None
    last: Instant | None = None
    fired: int = 0
    skipped: int = 0
    last_job: bytes | None = None
    changed_at: Instant = 0
    deleted_at: Instant | None = 0
    """``None``: it is there. What is new begins as if it had been deleted."""
