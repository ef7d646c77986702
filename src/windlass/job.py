"""A stored job, as its producer sees it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Generic, Literal, NamedTuple, NoReturn, TypeAlias, TypeVar, cast
from uuid import UUID

import msgspec

from windlass import blocking
from windlass.choices import Seconds
from windlass.client import Client, Opened
from windlass.core.clock import Instant, instant, span, to_datetime
from windlass.core.errors import InvalidOption, JobCancelled, JobFailed, JobLost, JobNotFound, UsageError
from windlass.core.lifecycle import State
from windlass.core.records import CancelAnswer, JobRecord, JobResult, Reason, ReplayAnswer
from windlass.core.remote import decode_error, rebuild_error
from windlass.core.task import TaskSpec

R_co = TypeVar("R_co", covariant=True)

Status: TypeAlias = Literal["waiting", "scheduled", "ready", "running", "succeeded", "dead", "cancelled"]


class JobProgress(NamedTuple):
    """What the running, or else the last, attempt said of itself."""

    fraction: float | None
    """0 to 1; ``None``: nothing was said yet."""
    message: str | None


class JobInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What the store knows of a job, at one moment. Times are aware, in UTC, by the store's clock."""

    id: str
    task: str
    queue: str
    priority: int
    status: Status
    reason: str | None
    """Why it is dead or cancelled, beyond its errors: ``"expired"``, ``"lost"``, ..."""
    attempt: int
    failures: int
    losses: int
    """How often a worker died while it ran the job."""
    snoozes: int
    errors: tuple[str, ...]
    """Of its last failed attempts, oldest first: type and message."""
    progress: float | None
    message: str | None
    log: str
    enqueued_at: datetime
    due_at: datetime | None
    expires_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None


class Job(Generic[R_co]):
    """A job in the store. Its methods ask the store; each has a blocking twin whose name ends in ``_sync``."""

    __slots__ = ("_client", "_id", "_spec", "duplicate")

    def __init__(self, client: Client, id: bytes, spec: TaskSpec | None = None, duplicate: bool = False) -> None:
        self._client = client
        self._id = id
        self._spec = spec
        self.duplicate = duplicate
        """Nothing was stored: this is the unfinished job that holds the unique key."""

    @property
    def id(self) -> str:
        """The job's id, as text: ``0198c5a6-...``."""
        return str(UUID(bytes=self._id))

    @property
    def task(self) -> str | None:
        """The task's name; ``None`` if the job was made from an id alone."""
        return None if self._spec is None else self._spec.name

    def __repr__(self) -> str:
        task = "" if self._spec is None else f" of {self._spec.name}"
        return f"<Job {self.id}{task}{' (duplicate)' if self.duplicate else ''}>"

    def __eq__(self, other: object) -> bool:
        return self._id == other._id if isinstance(other, Job) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._id)

    # ------------------------------------------------------------------------------------------ the end

    async def result(self, timeout: float | None = None) -> R_co:
        """Wait until the job has finished, and return what the task returned.

        Args:
            timeout: seconds; ``None``: for as long as it takes.

        Raises:
            ResultTimeout: it had not finished by then; it goes on.
            RemoteError: its last attempt raised; the error is also an instance of what was raised, where that is a
                common built-in or named in ``@app.task(errors=[...])``.
            JobLost: its workers died while they ran it.
            JobCancelled: it was cancelled, or it expired.
            JobNotFound: the store does not have it (any more).
            InvalidResult: the stored result does not fit the task's return hint.
        """
        if timeout is not None and not timeout >= 0:
            raise InvalidOption(f"result(timeout={timeout!r}): expected seconds, 0 or more, or None")
        opened = await self._client.opened()
        outcome = await opened.results.wait(self._id, timeout)
        spec = self._spec or await self._find_spec(opened)
        if outcome.state is not State.SUCCEEDED:
            self._raise(outcome, spec)
        data = b"null" if outcome.result is None else outcome.result
        return cast("R_co", msgspec.json.decode(data) if spec is None else spec.signature.decode_result(data))

    def result_sync(self, timeout: float | None = None) -> R_co:
        """As `result`, blocking."""
        self._client.check_may_wait()
        return blocking.run(lambda: self.result(timeout))

    def _raise(self, outcome: JobResult, spec: TaskSpec | None) -> NoReturn:
        if outcome.state is State.CANCELLED:
            reason = outcome.reason.name.lower()
            raise JobCancelled(
                f"{self._named(spec)} was cancelled: {_WHY_CANCELLED.get(reason, reason)}", reason=reason
            )
        if outcome.reason is Reason.LOST:
            raise JobLost(f"{self._named(spec)} is dead: its workers died while they ran it")
        if outcome.error is None:
            raise JobFailed(f"{self._named(spec)} is dead, and no error was recorded")
        raise rebuild_error(decode_error(outcome.error), spec.errors if spec is not None else ())

    def _named(self, spec: TaskSpec | None) -> str:
        return f"job {self.id}" + ("" if spec is None else f" of task {spec.name!r}")

    # ------------------------------------------------------------------------------------------ looking

    async def status(self) -> Status:
        """Where the job is in its life. Raises `JobNotFound`."""
        return _status((await self._record()).state)

    def status_sync(self) -> Status:
        """As `status`, blocking."""
        return blocking.run(self.status)

    async def progress(self) -> JobProgress:
        """What the task said with ``current().progress(...)``. Raises `JobNotFound`."""
        record = await self._record()
        return JobProgress(record.progress, record.message)

    def progress_sync(self) -> JobProgress:
        """As `progress`, blocking."""
        return blocking.run(self.progress)

    async def info(self) -> JobInfo:
        """Everything the store knows, but for arguments and result. Raises `JobNotFound`."""
        return _info(await self._record())

    def info_sync(self) -> JobInfo:
        """As `info`, blocking."""
        return blocking.run(self.info)

    async def _record(self) -> JobRecord:
        opened = await self._client.opened()
        record = (await opened.store.get_jobs([self._id]))[0]
        if record is None:
            raise self._not_found()
        return record

    async def _find_spec(self, opened: Opened) -> TaskSpec | None:
        record = (await opened.store.get_jobs([self._id]))[0]
        return None if record is None else self._client.tasks.get(record.task)

    def _not_found(self) -> JobNotFound:
        return JobNotFound(f"the store has no job {self.id}: it never had it, or it was purged after its retention")

    # ------------------------------------------------------------------------------------------- acting

    async def cancel(self) -> bool:
        """Cancel the job, or ask its worker to stop it. A job that is running may still succeed.

        Returns whether there was something to cancel: ``False`` if the job had finished. Raises `JobNotFound`.
        """
        opened = await self._client.opened()
        answer = (await opened.store.cancel([self._id]))[0]
        if answer is CancelAnswer.UNKNOWN:
            raise self._not_found()
        return answer is not CancelAnswer.FINISHED

    def cancel_sync(self) -> bool:
        """As `cancel`, blocking."""
        return blocking.run(self.cancel)

    async def replay(self) -> None:
        """Make a dead or cancelled job ready again: same id, a fresh budget of failures.

        Raises `JobNotFound`, or `UsageError` if the job is neither, or another one holds its unique key.
        """
        opened = await self._client.opened()
        answer = (await opened.store.replay([self._id]))[0]
        if answer is ReplayAnswer.UNKNOWN:
            raise self._not_found()
        if answer is ReplayAnswer.NOT_DEAD:
            raise UsageError(f"{self._named(self._spec)} cannot be replayed: it is neither dead nor cancelled")
        if answer is ReplayAnswer.KEY_HELD:
            raise UsageError(f"{self._named(self._spec)} cannot be replayed: another job holds its unique key")

    async def reschedule(self, delay: Seconds | None = None, *, at: datetime | None = None) -> None:
        """Have the job, which waits for its time (because of a delay, or to be tried again), be due ``delay`` from now,
        or at ``at`` (aware); with neither: now.

        Raises `JobNotFound`, `InvalidOption`, or `UsageError` if the job does not wait for a time.
        """
        if delay is not None and at is not None:
            raise InvalidOption("delay and at: give one of the two")
        store = (await self._client.opened()).store
        after = 0 if delay is None else span(delay, "delay")
        due_at = await store.now() + after if at is None else instant(at, "at")
        if not (await store.reschedule([self._id], due_at))[0]:
            status = _status((await self._record()).state)
            raise UsageError(f"{self._named(self._spec)} cannot be rescheduled: it is {status}, and waits for no time")

    def reschedule_sync(self, delay: Seconds | None = None, *, at: datetime | None = None) -> None:
        """As `reschedule`, blocking."""
        blocking.run(lambda: self.reschedule(delay, at=at))

    def replay_sync(self) -> None:
        """As `replay`, blocking."""
        blocking.run(self.replay)


_WHY_CANCELLED = {
    "cancelled": "somebody asked for it",
    "expired": "it had not started when it expired",
    "parent": "a job that it depends on did not succeed",
    "replaced": "a newer job took its unique key",
}


def to_states(status: str | Iterable[str], option: str = "status") -> tuple[State, ...]:
    """Read one status or several, that were given as ``option``. Raises `InvalidOption`."""
    words = (status,) if isinstance(status, str) else tuple(status)
    known = {state.word: state for state in State}
    for word in words:
        if word not in known:
            raise InvalidOption(f"{option}={word!r}: expected one of {', '.join(known)}")
    return tuple(known[word] for word in words)


def _status(state: State) -> Status:
    return cast("Status", state.word)


def _when(moment: Instant | None) -> datetime | None:
    return None if moment is None else to_datetime(moment)


def _error_line(data: bytes) -> str:
    record = decode_error(data)
    return f"{record.type}: {record.message}" if record.message else record.type


def _info(record: JobRecord) -> JobInfo:
    return JobInfo(
        id=str(UUID(bytes=record.id)),
        task=record.task,
        queue=record.queue,
        priority=record.priority,
        status=_status(record.state),
        reason=record.reason.name.lower() if record.reason else None,
        attempt=record.attempt,
        failures=record.failures,
        losses=record.losses,
        snoozes=record.snoozes,
        errors=tuple(_error_line(error) for error in record.errors),
        progress=record.progress,
        message=record.message,
        log=record.log,
        enqueued_at=to_datetime(record.enqueued_at),
        due_at=_when(record.due_at),
        expires_at=_when(record.expires_at),
        started_at=_when(record.started_at),
        finished_at=_when(record.finished_at),
    )
