"""The records that pass through the store port. Those of operators and insights: `windlass.core.records`.

All times are instants of the store's clock, all durations spans (`windlass.core.clock`): integers, microseconds.
All ids are 16 bytes; a job id is a UUIDv7, so that keys arrive in order (random keys halve a B-tree store).
"""

from __future__ import annotations

from enum import IntEnum

import msgspec

from windlass.core.clock import DAY, MINUTE, SECOND, Instant, Span
from windlass.core.graph import EdgePolicy
from windlass.core.lifecycle import Outcome

MAX_PRIORITY = 9
DEFAULT_PRIORITY = 5
MAX_PAYLOAD = 256 * 1024
"""Bytes of encoded arguments, unless configured otherwise."""
MAX_RESULT = 1024 * 1024
"""Bytes of an encoded result, unless configured otherwise."""
MAX_LANES = 64
"""Lanes that one claim may name."""
MAX_BATCH = 1000
"""Jobs that one claim may ask for, and records that one call of a batch verb may carry."""
MAX_CALL_BYTES = 4 * 1024 * 1024
"""Payload, result and error bytes that one call carries at most, in either direction, unless one job alone is larger:
callers cut their batches, and a claim brings no more."""
MAX_ERRORS = 10
"""Errors that are kept of each job: those of its last failed attempts."""
MAX_LOG = 64 * 1024
"""Bytes of log text kept of each job: the last ones."""
KEEP: Span = DAY
"""Retention of a finished job, unless configured otherwise."""
KEEP_DEAD: Span = 7 * DAY
KEEP_AT_LEAST: Span = 5 * MINUTE
"""A finished id stays known so long, even if somebody purges by hand, so that a repeated enqueue finds it."""
STALE_AFTER: Span = 4 * MINUTE
"""An enqueue first sent longer ago than this is refused: its ids may have been purged meanwhile."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What a store must know beyond its URL. The same for all workers of an app."""

    lease: Span = 9 * SECOND
    """How long a session that is opened through this store object may go without renewing; each session keeps its
    own."""
    keep: Span = KEEP
    """Retention where the store itself finishes a job as cancelled (expiry, cancel, a parent that failed)."""
    keep_dead: Span = KEEP_DEAD
    """Retention where the store itself finishes a job as dead (losses spent)."""
    max_lost: int = 2
    """Losses while running alone after which a job is dead."""


# --------------------------------------------------------------------------------------------------- enqueue


class UniqueUntil(IntEnum):
    """How long a job holds its unique key. The numbers are part of the stored layout."""

    FINISHED = 1
    STARTED = 2
    """The first claim gives the key up for good."""


class Unique(msgspec.Struct, frozen=True):
    """At most one unfinished job per (task, key)."""

    key: str
    until: UniqueUntil = UniqueUntil.FINISHED
    replace: bool = False
    """On conflict cancel the holder if it is unstarted, and take its place; a running holder still conflicts."""


class Parent(msgspec.Struct, frozen=True):
    """One edge, seen from the dependant."""

    id: bytes
    policy: EdgePolicy = EdgePolicy.SUCCEEDED


class Edge(msgspec.Struct, frozen=True):
    """One edge to add to a dependant that is stored already and still waiting."""

    parent: bytes
    dependant: bytes
    policy: EdgePolicy = EdgePolicy.SUCCEEDED


class NewJob(msgspec.Struct, frozen=True, kw_only=True):
    """What `enqueue` stores."""

    id: bytes
    task: str
    payload: bytes
    """JSON object: parameter name to value."""
    queue: str = "default"
    requires: str = ""
    """Requirement signature, such as ``gpu=1``; with the queue it names the lane."""
    priority: int = DEFAULT_PRIORITY
    """9 is first, 0 last."""
    options: bytes | None = None
    """JSON for the worker (retry, timeout, trace context, ...). Stores keep it and never read it."""
    delay: Span = 0
    """Not before the store's now + delay. At most one of `delay` and `at` is set."""
    at: Instant | None = None
    expires_in: Span | None = None
    """Cancelled if not started by the store's now + this. At most one of `expires_in` and `expires_at` is set."""
    expires_at: Instant | None = None
    unique: Unique | None = None
    limit_key: str | None = None
    """``group`` or ``group:value``; limit records of scope ``KEY`` apply to it."""
    parents: tuple[Parent, ...] = ()


class Enqueued(IntEnum):
    """What became of one job of an `enqueue`."""

    STORED = 0
    """It is stored: now, or by an earlier call with the same id."""
    DUPLICATE = 1
    """Nothing was stored: `EnqueueAnswer.holder` has the unique key."""
    UNKNOWN_PARENT = 2
    """Nothing was stored: the store does not have a parent that it names."""


class EnqueueAnswer(msgspec.Struct, frozen=True):
    """Per job, in the order of the call."""

    status: Enqueued
    holder: bytes | None = None
    """Id of the job that holds the unique key, if `status` is ``DUPLICATE``."""


STORED = EnqueueAnswer(Enqueued.STORED)


class EdgeAnswer(IntEnum):
    """What became of one edge of an `enqueue`."""

    ADDED = 0
    """It is there: now, or by an earlier call."""
    UNKNOWN_PARENT = 1
    NOT_WAITING = 2
    """The dependant is unknown or has gone on already; nothing was added."""


class EnqueueResult(msgspec.Struct, frozen=True):
    """Answers, in the order of the call."""

    jobs: list[EnqueueAnswer]
    edges: list[EdgeAnswer] = []


# ----------------------------------------------------------------------------------------------------- claim


class Lane(msgspec.Struct, frozen=True):
    """One lane that a claim may take from."""

    queue: str
    requires: str = ""
    until: int = MAX_BATCH
    """Take from this lane while the call holds fewer than `until` jobs in all, so that one call can fill free slots
    from any lane and claim ahead only in fast ones."""


class ClaimRequest(msgspec.Struct, frozen=True):
    """What a session asks for."""

    number: int
    """1, 2, 3, ... within the session; one in flight at a time. A number that is not above the last one seen (claimed
    or unclaimed) is refused."""
    lanes: tuple[Lane, ...]
    """In the order in which they are tried; at most `MAX_LANES`."""
    alone: bool = False
    """Ask for one suspect job, to run with nothing beside it."""
    max_bytes: int = MAX_CALL_BYTES
    """Stop before the payloads together are larger than this; one job always comes. At least 1."""


class ClaimedJob(msgspec.Struct, frozen=True, gc=False):
    """A job that now belongs to the session. ``(session, token)`` is the proof."""

    id: bytes
    token: int
    """How often the job was claimed, this time included."""
    task: str
    payload: bytes
    options: bytes | None
    queue: str
    requires: str
    priority: int
    attempt: int
    """1 for the first; counts claims that were not given back unstarted."""
    failures: int
    snoozes: int
    enqueued_at: Instant
    undeliverable_for: Span
    """How long workers have been unable to run it; 0 if none ever was."""
    limit_key: str | None = None
    failed_span: str | None = None
    """The span of the last attempt that failed, as a ``traceparent``; empty if there is none, ``None`` if nobody has
    looked. Stores leave it out."""


class Refusal(IntEnum):
    """Why a claim was refused as a whole."""

    UNKNOWN_SESSION = 1
    REVOKED = 2
    """The session was reaped (or closed): open a new one."""
    STALE_REQUEST = 3
    """The request number was seen before."""
    NOT_ALONE = 4
    """``alone`` while the session holds a job, or any claim while it holds a suspect."""


class ClaimAnswer(msgspec.Struct, frozen=True):
    """What a claim brought."""

    jobs: list[ClaimedJob] = []
    """In the order in which they should start. Empty: nothing was claimable at that moment. Fewer than asked for says
    nothing: a store may bound its work."""
    more: bool = False
    """A store that bounds its work stopped at jobs that cannot start now (a limit, an expiry): ask again at once, even
    if `jobs` is empty."""
    refused: Refusal | None = None
    retry_in: Span | None = None
    """Rate limits held jobs back in lanes from which fewer came than were asked for: some may be claimable after this
    span."""


# ---------------------------------------------------------------------------------------------------- settle


class Settlement(msgspec.Struct, frozen=True, gc=False):
    """How one attempt ended."""

    id: bytes
    token: int
    outcome: Outcome
    result: bytes | None = None
    """JSON; ``SUCCEEDED`` only."""
    error: bytes | None = None
    """An encoded `ErrorRecord`; ``RETRY``, ``DEAD`` and ``UNDELIVERABLE``."""
    delay: Span = 0
    """``RETRY``, ``SNOOZED`` and ``UNDELIVERABLE``: not before the store's now + delay."""
    keep: Span = KEEP
    """Retention, if the outcome is final."""
    started: bool = True
    """``RELEASED``: False gives the attempt number back, too. (``UNDELIVERABLE`` never counts as started.)"""


class Settled(IntEnum):
    """What became of a settlement."""

    APPLIED = 0
    ALREADY = 1
    """The same proof settled it with the same outcome before: a repeated call. Nothing changed."""
    LOST = 2
    """The proof is no longer good: the session lost the job. Nothing changed."""


class SettleResult(msgspec.Struct, frozen=True):
    """Answers, in the order of the call."""

    answers: list[Settled]
    claim: ClaimAnswer | None = None
    """The answer to the claim that travelled along, if one did."""
    more_edges: bool = False
    """Edges were left behind a cursor: somebody should call `release_edges` soon."""


# -------------------------------------------------------------------------------------------------- sessions


DRAIN = "drain"
"""A command: claim nothing more, run what is held to its end, however long that takes, then end."""
STOP = "stop"
"""A command: as `DRAIN`, but what does not end within the worker's grace time is given back."""


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """One life of a worker, as it presents itself to `open`."""

    id: bytes
    node: str
    """Host name."""
    pid: int
    lanes: tuple[Lane, ...] = ()
    tasks: tuple[str, ...] = ()
    """Names (and aliases) that it can run."""
    version: str = ""
    """The application's."""
    slots: int = 0
    alone: bool = False
    """It claims suspects only, one at a time."""
    supervisor: int = 0
    """Process id of its supervisor; 0: it has none."""
    offer: str = ""
    """What it has for jobs that ask for more than a slot, such as ``cpu=8,gpu=1,memory=16GiB,@ssd``."""


class Renewal(msgspec.Struct, frozen=True):
    """What the store tells a worker that renews."""

    revoked: bool = False
    """The session is over: cancel everything, open a new one. The other fields are empty then."""
    lost: list[bytes] = []
    """Held jobs that are not the session's any more (or never were)."""
    cancel: list[bytes] = []
    """Held jobs that somebody asked to cancel."""
    commands: list[str] = []
    """Commands sent to this session (`DRAIN`, `STOP`), each delivered until the session closes."""
    duty: bool = False
    """This worker should run the janitor for all. A hint, given to one live session at a time."""
    suspects: bool = False
    """A suspect job is ready in one of the session's lanes."""


class SessionSign(msgspec.Struct, frozen=True):
    """What a reaper sees of a session that may be dying."""

    id: bytes
    renewals: int
    """Its renewal counter."""
    lease_left: Span
    """Until its lease ends; negative: over. Never more than one lease."""
    revoked: bool
    """It was revoked, or never opened and holds jobs: `reap` may go on with it at once."""
    lease: Span = 9 * SECOND
    """Its own lease, which need not be the reaper's."""


class Progress(msgspec.Struct, frozen=True):
    """What a bounded verb did."""

    done: int
    """Jobs (or edges) moved."""
    more: bool = False
    """There was more to do than the limit allowed: call again."""
    next_at: Instant | None = None
    """`promote`: when the next scheduled job, known now, is due."""
    now: Instant = 0
    """`promote`: the store's clock at the call."""


# -------------------------------------------------------------------------------------------------- attempts


class Note(msgspec.Struct, frozen=True, gc=False):
    """Progress and log lines of a running attempt."""

    id: bytes
    token: int
    progress: float | None = None
    """0 to 1; ``None``: unchanged."""
    message: str | None = None
    log: str = ""
    """Text to append; the store keeps the last `MAX_LOG` bytes."""


class ErrorRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An exception as data. Nothing is ever imported or built from its words."""

    type: str
    """Qualified name of the exception's class."""
    message: str = ""
    traceback: str = ""
    attempt: int = 0
    at: Instant = 0
    """The worker's clock."""
    names: tuple[str, ...] = ()
    """The qualified names of the class and its bases, most derived first."""
    span: str | None = None
    """The attempt's span, if it was traced: a ``traceparent``."""
