"""The store port: what every store promises. Each docstring is a contract, and the conformance suite checks it.

General rules, which the contracts do not repeat:

* **Atomic per record.** What a verb does to one job (with the edges that it moves for it) happens wholly or not at all,
  whoever dies when; a store may cut a batch into several atomic parts. If the answer is lost, or the verb raises
  `StoreUnavailable`, all or some of it may have happened; every contract says what a repeated call does.
* **Bounded.** One call does work in proportion to its arguments and to at most `MAX_EDGES_PER_CALL` edges, plus
  `EDGES_PER_SETTLEMENT` for each settlement (so that steps of workflows do not wait for a janitor), each step O(log n)
  in what is stored. Batches carry at most `MAX_BATCH` records, and a ``limit`` is 1 to `MAX_BATCH`; anything else
  raises `UsageError`.
* **The store's clock decides.** Instants are of its clock, callers pass spans where they can. An instant is past, due
  or over as soon as it is not after the store's now.
* **One trip.** A verb costs one round trip to the store, unless its contract says otherwise.
* **Transitions** are those of `windlass.core.lifecycle`; a verb that meets a job in another state than it needs
  answers so and changes nothing.
* **Finishing.** Whenever a job finishes, in whatever verb: its unique key is free; its edges to dependants are marked
  and dependants released or cancelled, at most `MAX_EDGES_PER_CALL` in the same atomic step, and the rest stay behind
  a durable cursor for `release_edges`; its own edges to parents are closed the same way; and it enters the purge index
  (``purge_at = now + keep``, where ``keep`` is at least `KEEP_AT_LEAST`) once no dependant of it is unfinished.
* **Loop.** A store object belongs to the event loop on which it was opened; `twin` gives another for another loop.
* **Errors.** `StoreUnavailable`, `StoreFull`, `StoreReadOnly`, `SchemaMismatch` (of any verb: another version may
  migrate the store while it is open); never a driver's own exception.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from enum import Flag, auto
from typing import Protocol, runtime_checkable

from windlass.core.clock import Instant, Span
from windlass.core.documents import Document, NewDocument
from windlass.core.model import (
    ClaimAnswer,
    ClaimRequest,
    Edge,
    EnqueueAnswer,
    EnqueueResult,
    NewJob,
    Note,
    Progress,
    Renewal,
    Session,
    SessionSign,
    Settings,
    Settlement,
    SettleResult,
)
from windlass.core.records import (
    Backlog,
    CancelAnswer,
    JobFilter,
    JobPage,
    JobRecord,
    JobResult,
    Limit,
    LimitScope,
    ParentRecord,
    QueueRecord,
    ReplayAnswer,
    SessionRecord,
    SkipAnswer,
)
from windlass.core.schedules import (
    DueSchedules,
    FireAnswer,
    Firing,
    NewSchedule,
    PutAnswer,
    SchedulePage,
    ScheduleRecord,
)


class Capability(Flag):
    """What a store may or may not promise beyond the contracts. Asked for and missing: `CapabilityMissing`."""

    NONE = 0
    DURABLE = auto()
    """Jobs survive the death of the processes that use the store."""
    SHARED = auto()
    """Several processes can use it at once."""
    NETWORKED = auto()
    """Several machines can use it at once."""
    WAKE_UPS = auto()
    """Hints of `Notifier` reach other processes."""
    TRANSACTIONAL = auto()
    """Jobs can be enqueued inside a transaction of the user's own."""


class JobStore(Protocol):
    """What producers, workers and janitors need."""

    async def enqueue(
        self, jobs: Sequence[NewJob], edges: Sequence[Edge] = (), *, first_sent: Instant
    ) -> EnqueueResult:
        """Store jobs, and add edges to stored jobs that are still waiting.

        Each job goes to ``waiting`` (it has edges that are not satisfied), ``scheduled`` (due later) or ``ready``; one
        whose edges already say that it can never run is stored as ``cancelled(parent)``, and one whose expiry is past
        as ``cancelled(expired)``. Jobs of the call may be parents of later ones. Parents are locked: one that is
        finished counts at once. Per job all or nothing; jobs do not depend on each other's success.

        New jobs cannot wait for each other in a circle; with edges that are added they can, and then wait for ever. A
        store refuses an edge from a job to itself (`UsageError`), and does not look for longer circles: that is for
        whoever adds edges (and the doctor finds them).

        With a unique key that an unfinished job of the same task holds, nothing is stored (``DUPLICATE``), or, with
        ``replace`` and a holder that is waiting, scheduled or ready, that one becomes ``cancelled(replaced)``.

        Idempotent by id: a job whose id is stored answers ``STORED``, whatever it says; an edge that is stored answers
        ``ADDED``. ``first_sent`` is when the call was first sent, in the store's clock as the caller knows it from
        `now`; more than `STALE_AFTER` ago, the call raises `StaleEnqueue` and stores nothing.

        What is no job raises `UsageError`: ids of other than 16 bytes, priorities beyond 0 to 9, text that UTF-8 cannot
        say, numbers beyond 62 bits, payload and options that are not bytes. Other jobs of the call may be stored then.
        """

    async def claim(self, session: bytes, request: ClaimRequest) -> ClaimAnswer:
        """Take ready jobs for the session; never blocks.

        Jobs leave their lanes by (priority, sequence), lanes are tried in the given order, `Lane.until` bounds each,
        `ClaimRequest.max_bytes` all of them together. Jobs with a limit key stand in lines, one for each (priority,
        task, key), by sequence; at one priority lines are served in turn, a job each. A line that has had its turn goes
        behind all others; until its first turn it stands by the sequence of its first job. It is there as long as it
        has jobs, and one that comes again begins anew.

        Where a job without a key and a line could both be next, at the same priority, they take turns. The store
        remembers for each lane which of the two had the last one, whoever claimed, and also while the lane is empty; a
        line has the first.

        Paused queues and tasks give nothing; concurrency and rate limits hold for all workers together. Jobs whose
        expiry is past are not given. How many such jobs, or jobs that a limit holds back, one claim passes over in a
        lane is bounded: one that met more takes nothing from behind them, and says ``more``; one that met expired jobs
        hints ``scheduled``, so that janitors cancel them.

        A job taken is ``running``: token + 1, attempt + 1, the session and the request number recorded, its key given
        up if held until ``STARTED``.

        Without ``alone`` suspects are never given; with it, one suspect at most and nothing else.

        The session is locked against reaping meanwhile. Refused as a whole (see `Refusal`) if it is unknown or
        revoked, if the request number was seen before, or for the rule of being alone. Not to be repeated: after a
        lost answer call `unclaim`.
        """

    async def settle(
        self, session: bytes, settlements: Sequence[Settlement], claim: ClaimRequest | None = None
    ) -> SettleResult:
        """End attempts, and claim in the same trip.

        Ids within a call are distinct (`UsageError`). Each settlement is judged alone: ``APPLIED`` if the job runs
        under the same (session, token); ``ALREADY`` if this proof settled it before with the same outcome and nobody
        has claimed it since; else ``LOST``. A session that is revoked may still settle what was not yet taken from it.

        ``SUCCEEDED``, ``DEAD`` and ``CANCELLED`` finish the job. ``RETRY`` counts a failure, ``SNOOZED`` a snooze,
        ``UNDELIVERABLE`` takes the attempt number back and notes since when; all three go to ``scheduled``, or with no
        delay to ``ready``, at a *new* position. ``RELEASED`` goes to ``ready`` at its *old* position. A job that was
        started could be run: since when nobody could is forgotten. If somebody asked to cancel the job, everything but
        ``SUCCEEDED`` becomes ``cancelled(cancelled)``; the answer is ``APPLIED``. What an outcome counts is counted
        even then. An ``error`` is appended to the job's errors.

        The claim is carried out after the settlements; or beside them, where all that they may change for it is that
        dependants become ready: if some may have, it says ``more``. It is refused or answered on its own; settlements
        are applied whatever becomes of it. A repeated settle must not carry a claim.
        """

    async def unclaim(self, session: bytes, request: int) -> None:
        """Give back what the request took and nobody started: for a claim whose answer was lost.

        Running jobs of (session, request) go to ``ready`` at their old positions, attempt - 1; the token stays. From
        then on a claim with this number is refused. Repeating it, or calling it for a claim that never arrived, changes
        nothing else. An unknown session changes nothing.
        """

    async def renew(self, session: bytes, held: Sequence[tuple[bytes, int]], answered: int) -> Renewal:
        """Renew the lease on all that the session holds, with one write.

        ``held`` are (id, token) of all that the worker holds, what it is settling included, however many; ``answered``
        is the highest request number whose answer it has. Running jobs of the session with a request number up to
        ``answered`` that ``held`` does not name are given back as by `unclaim`. A session that is unknown or revoked
        answers ``revoked=True``, and nothing changes. Repeating is harmless: it is one more sign of life."""

    async def annotate(self, session: bytes, notes: Sequence[Note]) -> None:
        """Record progress and log lines of running attempts; a note without a good proof is dropped silently.

        Not idempotent: a repeated call appends its log lines twice.
        """

    # ------------------------------------------------------------------------------------------- sessions

    async def open(self, session: Session) -> None:
        """Make a session known, with a full lease. Must come before the first claim. Repeating it with the same id
        replaces what it says of itself, and nothing else: it renews no lease, and a revoked session stays revoked."""

    async def close(self, session: bytes) -> None:
        """End a session. What it still holds is given back as by `unclaim`, at most `MAX_BATCH` jobs; if there was more
        it is left revoked, for `reap`. Claims and renewals of it are refused afterwards. Idempotent."""

    async def observe(self) -> list[SessionSign]:
        """List the sessions that a reaper should watch: less than 5/9 of a lease left (5 of 9 s), none left, or revoked
        and not yet forgotten. Running jobs whose session is not known show up as a revoked one. A
        lease that ends further ahead than one lease (the clock was stepped back) is clamped, and stored so."""

    async def reap(self, signs: Sequence[SessionSign], limit: int = 200) -> Progress:
        """Take back the jobs of sessions that are dead.

        A session of ``signs`` is revoked if its lease is over by the store's clock and its renewal counter is still the
        one of the sign; one that is revoked already needs no proof. (That the counter stood still for long enough on a
        monotonic clock is for the caller to have seen; only reaping revokes.) Then at most ``limit`` running jobs of
        such sessions move: losses + 1; from the second loss on the job is suspect; while it ran alone, the loss counts
        towards `Settings.max_lost`, and when those are spent the job is ``dead(lost)``; a job somebody asked to cancel
        is ``cancelled``; else it is ``ready`` at its old position, and undeliverable no longer. The session is
        forgotten once it holds nothing. Safe to repeat, and for several callers at once.
        """

    # -------------------------------------------------------------------------------------------- janitor

    async def promote(self, limit: int = 1000) -> Progress:
        """Move scheduled jobs that are due to ``ready``, each at a new position in the order of their due times, and
        cancel unstarted jobs (attempt 0) whose expiry is past; at most ``limit`` of each. Safe to repeat, and for
        several callers at once. Answers when the next scheduled job is due."""

    async def release_edges(self, limit: int = 256) -> Progress:
        """Go on behind the durable cursors: mark edges, release or cancel dependants, close edges of finished
        dependants, at most ``limit`` edges. Safe to repeat, and for several callers at once."""

    async def purge(self, limit: int = 1000) -> Progress:
        """Delete finished jobs whose retention is over, at most ``limit``, what is left of as many schedules that were
        deleted, and as many documents that are over. Safe to repeat, and for several callers at once."""

    # ------------------------------------------------------------------------------------------ operators

    async def cancel(self, ids: Sequence[bytes]) -> list[CancelAnswer]:
        """Cancel jobs that have not started; flag those that run (the flag travels with `renew`). Idempotent."""

    async def replay(self, ids: Sequence[bytes]) -> list[ReplayAnswer]:
        """Make dead and cancelled jobs ready again, or waiting: same id, token and attempt number go on, failures,
        losses and snoozes from 0; cancel flag, expiry, suspect mark, undeliverable-since, due time, result, progress,
        log and reason cleared; errors stay. Its edges are armed anew: one that asks for success is open where its
        parent has not succeeded, any other where its parent is unfinished, and it waits if those that are open leave it
        undecided. Open edges of it to dependants that are still waiting are unmarked. Refused while another job holds
        its unique key, unless it has given that up by starting. A repeated call answers ``NOT_DEAD``.

        The one verb whose work the edges of a job do not bound: all of them are armed in the step that makes it ready,
        so that nobody ever sees half of them armed (decision 0021). A batch is cut between jobs."""

    async def skip(self, id: bytes, result: bytes) -> SkipAnswer:
        """Declare a waiting, scheduled or ready job succeeded with this result: JSON that fits the task, which the
        caller sees to. A repeated call answers ``STARTED``."""

    async def reschedule(self, ids: Sequence[bytes], at: Instant) -> list[bool]:
        """Have scheduled jobs be due at an instant, in place of when they were: now, if that is past. Says of each
        whether it was scheduled; the others stay as they are. Repeating it changes nothing."""

    async def delete(self, ids: Sequence[bytes]) -> int:
        """Purge finished jobs by hand, before their retention is over, but not within `KEEP_AT_LEAST` of finishing and
        not while dependants are unfinished. Answers how many were deleted; the others stay. Idempotent."""

    async def put_limit(self, limit: Limit) -> None:
        """Set the concurrency and the rate of a queue, a task or limit keys to what the record says, in place of what
        they were. In force for every later claim. Repeating it changes nothing.

        Whether the queue or task is paused stays as it is, whoever changes that meanwhile; a record that says
        ``paused`` raises `UsageError`. A stored record that limits nothing and is not paused is deleted."""

    async def pause(self, scope: LimitScope, name: str, *, paused: bool) -> None:
        """Pause a queue or a task, or let it go on. In force for every later claim. Repeating it changes nothing.

        Concurrency and rate stay as they are, whoever changes them meanwhile; otherwise as `put_limit`."""

    async def command(self, session: bytes, command: str) -> bool:
        """Send a command to a session; answers whether the session is known and alive (its lease is not over).
        Idempotent."""


class ScheduleStore(Protocol):
    """Schedules: records that are due at their next fire time, and step to a later one when they fire.

    The store does not know what a definition says; it sees to it that each step is made once. A schedule that was
    deleted leaves its version and its last fire time behind, which `purge` removes `KEEP_DELETED` later."""

    async def put_schedules(self, schedules: Sequence[NewSchedule]) -> list[PutAnswer]:
        """Make or change schedules. Each is judged alone, against the version that it names and against the last fire
        time. Counts go on when a schedule is changed, and begin at 0 when it is made. Repeating a call answers
        ``STORED`` as long as nobody has changed the schedule again. Names are given once in a call (`UsageError`).
        Hints ``schedules`` if one is due earlier than any that was."""

    async def delete_schedules(self, names: Sequence[str]) -> int:
        """Delete schedules; answers how many there were. Their jobs stay. Idempotent."""

    async def get_schedules(self, names: Sequence[str]) -> list[ScheduleRecord | None]:
        """Read schedules, in the order of the call; ``None`` for one that there is not."""

    async def list_schedules(self, *, limit: int = 100, cursor: str | None = None) -> SchedulePage:
        """List schedules by name, in the order of its UTF-8 bytes."""

    async def due_schedules(self, limit: int = 100) -> DueSchedules:
        """List schedules whose next fire time is not after the store's now, at most ``limit``. Changes nothing, and
        several callers may get the same."""

    async def fire(self, firings: Sequence[Firing]) -> list[FireAnswer]:
        """Step schedules from one fire time to a later one, and store the jobs of the fire times between.

        Each firing happens wholly or not at all: if the schedule has this version, is not paused, and its next fire
        time is ``due`` and not after the store's now, then its jobs are stored as by `enqueue` (idempotent by id; one
        that is not stored, because of a unique key or an unknown parent, counts as skipped), ``last`` and ``next`` are
        as the firing says, and the counts go on. Otherwise it answers ``STALE``. So a repeated call answers ``STALE``,
        and of several callers one fires. Schedules are named once in a call; ``due <= last < next``; the jobs of all
        firings together are at most `MAX_BATCH` (`UsageError`)."""


class DocumentStore(Protocol):
    """Documents: small records by kind and key that surfaces keep, and a store does not look into. One that is over is
    as if it were not there, whether `purge` has deleted it yet or not."""

    async def put_documents(self, documents: Sequence[NewDocument]) -> list[int | None]:
        """Store documents; answers the version of each, in order, or ``None`` where another version was there than was
        expected, and nothing changed. Each is judged alone. Of two with the same key in a call, one comes after the
        other.

        Repeating a call that names versions answers the same as long as nobody has changed the documents again, and
        changes nothing; one that does not stores them once more. What is no document raises `UsageError`."""

    async def get_documents(self, kind: str, keys: Sequence[str]) -> list[Document | None]:
        """Read documents, in the order of the call; ``None`` for one that there is not."""

    async def list_documents(
        self, kind: str, *, above: str = "", below: str | None = None, limit: int = 100, descending: bool = False
    ) -> list[Document]:
        """List the documents of a kind whose keys are above the one and below the other, the first ``limit`` of them in
        the order of the bytes of UTF-8, or the last ones first. The key of the last one says where to go on. Costs in
        proportion to what is listed, and to what is over and lies between."""

    async def delete_documents(self, kind: str, keys: Sequence[str]) -> int:
        """Delete documents; answers how many there were. Idempotent."""


class Insights(Protocol):
    """What the CLI, the UI and waiting callers need. Reads only; each sees one consistent moment."""

    async def now(self) -> Instant:
        """The store's clock."""

    async def get_jobs(self, ids: Sequence[bytes]) -> list[JobRecord | None]:
        """Everything about these jobs, in the order of the call; ``None`` for an unknown one."""

    async def results(self, ids: Sequence[bytes]) -> list[JobResult | None]:
        """How these jobs ended, in the order of the call; ``None`` for one that is unknown or unfinished."""

    async def list_jobs(
        self, filter: JobFilter, *, limit: int = 50, cursor: bytes | None = None, oldest_first: bool = False
    ) -> JobPage:
        """List the jobs that the filter means, newest id first, or the other way round, without what may be large (see
        `JobRecord`). ``limit`` is at most `MAX_BATCH`.

        One call looks at `MAX_LOOK` jobs at most, whether they are meant or not, and `JobPage.cursor` says where to go
        on; a walk from page to page meets each job once that is there all the while, and ends."""

    async def counts(self) -> dict[tuple[str, int], int]:
        """Count jobs by (queue, state). May cost in proportion to what is stored."""

    async def queues(self) -> list[QueueRecord]:
        """List the queues that have a record or unfinished jobs, by name. Counting may cost in proportion to what is
        unfinished."""

    async def backlog(self, limit: int = 100) -> Backlog:
        """Show what has not started: at most ``limit`` lanes with at most ``limit`` jobs each, and as many jobs that
        are scheduled, and that wait. Which jobs of a lane are shown a store may choose, but those without a limit key
        begin with the first in line, and those with one are of as many keys as it finds. Counting costs as in
        `queues`."""

    async def lanes(self, queues: Sequence[str]) -> list[tuple[str, str]]:
        """List the lanes of some queues in which jobs are ready, as (queue, requirement signature), sorted; a store may
        list such too in which there were some. Workers ask this every few seconds: it costs in proportion to the lanes,
        not to the jobs. At most `MAX_BATCH` queues."""

    async def open_parents(self, id: bytes, limit: int = 20) -> list[ParentRecord]:
        """List parents for which a job waits, at most so many: those on whose edges there is no mark. Empty for a job
        that is unknown. One round trip for each thousand of its parents that have to be looked at."""

    async def limits(self, scope: LimitScope | None = None) -> list[Limit]:
        """List limit records, by scope and name."""

    async def running(self) -> dict[tuple[LimitScope, str], int]:
        """Count what runs by all that limits count it under: queue, task and limit key. Costs in proportion to what
        runs."""

    async def rate_waits(self, names: Sequence[tuple[LimitScope, str]]) -> list[Span]:
        """Say how long the rates of the records that govern these queues, tasks and limit keys make the next job wait;
        0: not at all. In the order of the call."""

    async def sessions(self) -> list[SessionRecord]:
        """List the sessions known, oldest first."""


class Subscription(Protocol):
    """Somebody who wants hints."""

    def arm(self) -> None:
        """Ask for hints from now on. Call it *before* the last look at the store, so that nothing falls between."""

    def disarm(self) -> None:
        """Say that hints may be skipped until `arm`, so that busy workers cost nobody anything."""

    def close(self) -> None:
        """End the subscription. Idempotent."""


class Notifier(Protocol):
    """Hints that something has happened. A hint, never the truth: it may be late, doubled or lost; poll as well.

    Channels: ``ready/<queue>`` (a job became claimable, or a limit may allow more; where sessions have claimed in vain,
    it may be told to as many of them as there are jobs, and one more), ``limits`` (a limit record was put: something
    may be paused that was not), ``scheduled`` (a job became due earlier than any before, or some are expired),
    ``schedules`` (a schedule is due earlier than any before), ``finished/<job id in hex>``, ``session/<session id in
    hex>`` (a cancel request or a command waits in `renew`)."""

    def subscribe(self, channels: Collection[str], wake: Callable[[], None]) -> Subscription:
        """Have ``wake`` called on the store's event loop after hints on any of these channels. Starts armed."""


@runtime_checkable
class Transactional(Protocol):
    """What a store with `Capability.TRANSACTIONAL` can do in addition: through a connection of the user's own, to the
    same database, inside a transaction that the user has begun, and ends.

    It need not be opened. Nothing is retried, and what the user's driver raises is raised as it is."""

    async def enqueue_in(self, connection: object, jobs: Sequence[NewJob]) -> list[EnqueueAnswer]:
        """Store jobs without parents as `JobStore.enqueue` does, if the transaction is committed; workers hear of it
        then. Waits for other transactions that hold one of the unique keys. Raises `UsageError` for a connection of
        an unknown kind, and for one without a transaction."""

    def enqueue_in_sync(self, connection: object, jobs: Sequence[NewJob]) -> list[EnqueueAnswer]:
        """As `enqueue_in`, for connections that block."""


class Store(JobStore, ScheduleStore, DocumentStore, Insights, Notifier, Protocol):
    """A whole store, and its life."""

    @property
    def capabilities(self) -> Capability:
        """What it promises beyond the contracts."""

    @property
    def url(self) -> str:
        """Where it is, without secrets: fit for logs."""

    @property
    def settings(self) -> Settings:
        """What it was opened with."""

    async def connect(self) -> None:
        """Open it on the running event loop, and create or check the stored layout. Idempotent. Every verb calls it
        when needed, so that stores are opened lazily. Raises `SchemaMismatch`, `StoreUnavailable`, ..."""

    async def aclose(self) -> None:
        """Let go of everything. Idempotent; a later verb raises `StoreUnavailable`."""

    async def migrate(self, *, finish: bool = False) -> list[str]:
        """Bring the stored layout up to this version; answers what was done, a sentence each, nothing if it was up to
        date. ``finish``: also stop writing the layout of the version before. Safe to repeat and for several at once.
        Raises `SchemaMismatch`, and changes nothing, while sessions of an older layout are alive that cannot go on."""

    def twin(self) -> Store:
        """Make another, unopened store object on the same data, for another event loop (the heartbeat's thread)."""
