"""The audit that ends each crash test: what was acknowledged ended once, as it should; what ran again had a reason."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Self
from uuid import UUID

from windlass.core.lifecycle import State
from windlass.testing.invariants import violations
from windlass.testing.snapshot import Snapshot


class Mark(NamedTuple):
    """A line that a task wrote: it started, or it ended."""

    what: str
    job: bytes
    attempt: int
    pid: int

    @classmethod
    def read(cls, line: str) -> Self:
        what, job, attempt, pid = line.split()
        return cls(what, UUID(job).bytes, int(attempt), int(pid))


def read_log(path: Path) -> list[Mark]:
    """All marks, in the order in which they were written. What is being written may be seen in part: where a line goes
    over the end of a page of memory."""
    lines = path.read_text().split("\n")[:-1] if path.exists() else []
    return [Mark.read(line) for line in lines]


@dataclass(slots=True)
class Books:
    """What a test knows, to be held against what the store says and the tasks wrote."""

    expected: dict[bytes, State] = field(default_factory=dict)
    """Every job that was acknowledged, and how it should end."""
    interrupted: int = 0
    """Jobs that the store counted as running under a session at the moment when that was killed, stopped for longer
    than its lease, or otherwise kept from renewing it."""
    exact: bool = True
    """`interrupted` was read before anybody can have reaped; else the losses that the store counted take its place."""


def findings(
    books: Books, snapshot: Snapshot, marks: Sequence[Mark], *, doubtful: Collection[bytes] = ()
) -> Iterator[str]:
    """Say what is wrong; nothing, if the store kept its promises.

    ``doubtful``: jobs that were sent and never acknowledged: they may be there, and are then held to the same rules.
    """
    yield from violations(snapshot)
    expected = {**dict.fromkeys(snapshot.jobs.keys() & set(doubtful), State.SUCCEEDED), **books.expected}
    yield from _ends(expected, snapshot)
    yield from _nothing_left(snapshot)
    yield from _executions(books, snapshot, marks)
    yield from _winners(expected, snapshot, marks)


def _ends(expected: Mapping[bytes, State], snapshot: Snapshot) -> Iterator[str]:
    for job_id in snapshot.jobs.keys() - expected.keys():
        yield f"{job_id.hex()} is stored, and nobody enqueued it"
    for job_id, state in expected.items():
        job = snapshot.jobs.get(job_id)
        if job is None:
            yield f"{job_id.hex()} was acknowledged, and is lost"
        elif job.state is not state:
            yield f"{job_id.hex()} ({job.task}) is {job.state.word}, not {state.word}: {job}"


def _nothing_left(snapshot: Snapshot) -> Iterator[str]:
    for (queue, state), count in snapshot.counts.items():
        if count and not State(state).is_finished:
            yield f"queue {queue} still counts {count} {State(state).word}"
    for record in snapshot.sessions.values():
        if record.running:
            yield f"session {record.session.id.hex()} of process {record.session.pid} still holds {record.running} jobs"


def _executions(books: Books, snapshot: Snapshot, marks: Sequence[Mark]) -> Iterator[str]:
    starts = Counter((mark.job, mark.attempt) for mark in marks if mark.what == "start")
    for (job_id, attempt), count in starts.items():
        if count > 1:
            yield f"{job_id.hex()}: {count} executions of attempt {attempt}"
    losses = sum(job.losses for job in snapshot.jobs.values())
    allowed = books.interrupted if books.exact else losses
    extra = starts.total() - len({job_id for job_id, _ in starts})
    if extra > allowed:
        yield f"{extra} extra executions, where {allowed} jobs were interrupted"
    if losses > allowed:
        yield f"{losses} losses counted, where {allowed} jobs were interrupted"


def _winners(expected: Mapping[bytes, State], snapshot: Snapshot, marks: Sequence[Mark]) -> Iterator[str]:
    """The attempt that the record shows has ended, and the result is its own."""
    started = {(mark.job, mark.attempt, mark.pid) for mark in marks if mark.what == "start"}
    ended = {(mark.job, mark.attempt, mark.pid) for mark in marks if mark.what == "end"}
    for job_id, attempt, pid in ended - started:
        yield f"{job_id.hex()}: attempt {attempt} ended in process {pid}, where it never started"
    attempts = {(job_id, attempt) for job_id, attempt, _ in ended}
    for job_id, state in expected.items():
        job = snapshot.jobs.get(job_id)
        if job is None or state is not State.SUCCEEDED:
            continue
        if (job_id, job.attempt) not in attempts:
            yield f"{job_id.hex()}: attempt {job.attempt} is said to have succeeded, and never ended"
        if job.result != b"%d" % job.attempt:
            yield f"{job_id.hex()}: attempt {job.attempt} is said to have succeeded with {job.result!r}"
