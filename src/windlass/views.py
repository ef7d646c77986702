"""What is in a store, as JSON values: what ``--json`` on the command line and the HTTP API show alike.

Times are text, in UTC, with milliseconds. Secret arguments are ``***``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import UNSET, UnsetType

from windlass.core.clock import Instant, to_datetime
from windlass.core.ids import to_text
from windlass.core.lifecycle import State
from windlass.core.model import ErrorRecord
from windlass.core.options import decode_options
from windlass.core.records import JobRecord, QueueRecord, Reason, SessionRecord
from windlass.core.traceparent import trace_id_of
from windlass.limits import limit_info

if TYPE_CHECKING:
    from windlass.core.drawing import DrawnStep
    from windlass.schedules import ScheduleInfo
    from windlass.workflows.plan import Plan
    from windlass.workflows.run import Run, StepStatus
    from windlass.workflows.runs import RunInfo

HIDDEN = "***"


def iso(when: Instant | None) -> str | None:
    """Write an instant as text: UTC, milliseconds."""
    return None if when is None else stamp(to_datetime(when))


def stamp(when: datetime) -> str:
    """As `iso`."""
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class JobSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A job as lists show it."""

    id: str
    task: str
    queue: str
    state: str
    priority: int
    attempt: int
    failures: int
    enqueued_at: str | None
    due_at: str | None
    finished_at: str | None


def job_summary(job: JobRecord) -> JobSummary:
    """A job as lists show it."""
    return JobSummary(
        id=to_text(job.id),
        task=job.task,
        queue=job.queue,
        state=job.state.word,
        priority=job.priority,
        attempt=job.attempt,
        failures=job.failures,
        enqueued_at=iso(job.enqueued_at),
        due_at=iso(job.due_at),
        finished_at=iso(job.finished_at),
    )


class ErrorView(msgspec.Struct, frozen=True, kw_only=True):
    """Why an attempt failed."""

    type: str
    """Of the exception; ``undecodable``: what the store has cannot be read."""
    message: str
    attempt: int | UnsetType = UNSET
    at: str | UnsetType | None = UNSET
    traceback: str = ""


class JobView(msgspec.Struct, frozen=True, kw_only=True):
    """Everything about a job."""

    id: str
    task: str
    queue: str
    requires: str
    state: str
    reason: str | None
    priority: int
    arguments: Any
    options: Any
    result: Any
    errors: list[ErrorView]
    attempt: int
    token: int
    failures: int
    losses: int
    snoozes: int
    suspect: bool
    cancel_requested: bool
    unique_key: str | None
    limit_key: str | None
    session: str | None
    trace_id: str | None
    parents_open: int
    progress: float | None
    message: str | None
    log: str
    enqueued_at: str | None
    due_at: str | None
    expires_at: str | None
    started_at: str | None
    finished_at: str | None
    purge_at: str | None


def job_view(job: JobRecord, hide: Callable[[str], bool] | None = None) -> JobView:
    """Everything about a job. ``hide``: says of each argument, by name, whether it is not to be shown, beside those
    that the task calls secret; and of each field within arguments."""
    return JobView(
        id=to_text(job.id),
        task=job.task,
        queue=job.queue,
        requires=job.requires,
        state=job.state.word,
        reason=None if job.reason is Reason.NONE else job.reason.name.lower(),
        priority=job.priority,
        arguments=json_value(shown_arguments(job, hide)),
        options=json_value(job.options),
        result=json_value(job.result),
        errors=[error_view(error) for error in job.errors],
        attempt=job.attempt,
        token=job.token,
        failures=job.failures,
        losses=job.losses,
        snoozes=job.snoozes,
        suspect=job.suspect,
        cancel_requested=job.cancel_requested,
        unique_key=shown_key(job),
        limit_key=job.limit_key,
        session=job.session.hex() if job.session and job.state >= State.RUNNING else None,
        trace_id=trace_id_of(decode_options(job.options).headers),
        parents_open=job.parents_open,
        progress=job.progress,
        message=job.message,
        log=job.log,
        enqueued_at=iso(job.enqueued_at),
        due_at=iso(job.due_at),
        expires_at=iso(job.expires_at),
        started_at=iso(job.started_at),
        finished_at=iso(job.finished_at),
        purge_at=iso(job.purge_at),
    )


def shown_key(job: JobRecord) -> str | None:
    """The unique key, unless it may have been made of secret arguments: whoever sees it could try what they are."""
    key = job.unique_key
    may_tell = key is not None and re.fullmatch(r"[0-9a-f]{32}", key) is not None
    return HIDDEN if may_tell and decode_options(job.options).secret else key


def shown_arguments(job: JobRecord, hide: Callable[[str], bool] | None = None) -> bytes:
    """The arguments, without those that are secret or to be hidden."""
    secret = decode_options(job.options).secret
    if not secret and hide is None:
        return job.payload
    try:
        arguments = json.loads(job.payload)
        shown = {name: HIDDEN if name in secret else value for name, value in arguments.items()}
        if hide is not None:
            shown = without_hidden(shown, hide)
        return job.payload if shown == arguments else json.dumps(shown).encode()
    except (ValueError, TypeError, AttributeError, RecursionError):
        return json.dumps(HIDDEN).encode()  # whatever this is, it may be in there


def without_hidden(value: Any, hide: Callable[[str], bool]) -> Any:
    """A JSON value without the fields, at any depth, that are to be hidden."""
    if isinstance(value, dict):
        return {name: HIDDEN if hide(name) else without_hidden(one, hide) for name, one in value.items()}
    if isinstance(value, list):
        return [without_hidden(one, hide) for one in value]
    return value


def error_view(raw: bytes) -> ErrorView:
    """Why an attempt failed, from what the store has of it."""
    try:
        error = msgspec.json.decode(raw, type=ErrorRecord)
    except msgspec.MsgspecError:
        return ErrorView(type="undecodable", message=raw.decode("utf-8", "backslashreplace"))
    return ErrorView(
        type=error.type, message=error.message, attempt=error.attempt, at=iso(error.at), traceback=error.traceback
    )


def json_value(raw: bytes | None) -> Any:
    """The JSON value, or, where the bytes are none, an object that shows them."""
    try:
        return None if raw is None else json.loads(raw)
    except (ValueError, RecursionError):
        return {"undecodable": raw.decode("utf-8", "backslashreplace") if raw is not None else None}


class QueueView(msgspec.Struct, frozen=True, kw_only=True):
    """A queue: its limits, and how many of its jobs are unfinished."""

    queue: str
    paused: bool
    concurrency: int | None
    rate: str | None
    burst: int | None
    ready: int
    running: int
    scheduled: int
    waiting: int
    suspects: int
    oldest_ready_at: str | None


def queue_view(queue: QueueRecord) -> QueueView:
    """A queue: its limits, and how many of its jobs are unfinished."""
    limit = None if queue.limit is None else limit_info(queue.limit, [queue.running])
    return QueueView(
        queue=queue.name,
        paused=limit is not None and limit.paused,
        concurrency=None if limit is None else limit.concurrency,
        rate=None if limit is None else limit.rate,
        burst=None if limit is None else limit.burst,
        ready=queue.ready,
        running=queue.running,
        scheduled=queue.scheduled,
        waiting=queue.waiting,
        suspects=queue.suspects,
        oldest_ready_at=iso(queue.oldest_ready_at),
    )


class WorkerView(msgspec.Struct, frozen=True, kw_only=True):
    """A worker process that the store knows."""

    session: str
    node: str
    pid: int
    supervisor: int | None
    alone: bool
    commands: list[str]
    state: str
    queues: list[str]
    tasks: list[str]
    version: str
    slots: int
    offer: Any
    running: int
    opened_at: str | None
    lease_until: str | None


def worker_view(record: SessionRecord, now: Instant) -> WorkerView:
    """A worker process that the store knows, by the store's clock."""
    session = record.session
    return WorkerView(
        session=session.id.hex(),
        node=session.node,
        pid=session.pid,
        supervisor=session.supervisor or None,
        alone=session.alone,
        commands=record.commands,
        state=record.state_at(now),
        queues=queues_of(record),
        tasks=list(session.tasks),
        version=session.version,
        slots=session.slots,
        offer=session.offer,
        running=record.running,
        opened_at=iso(record.opened_at),
        lease_until=iso(record.lease_until),
    )


def queues_of(record: SessionRecord) -> list[str]:
    """Each queue of a worker once, however many lanes of it the worker serves."""
    return list(dict.fromkeys(lane.queue for lane in record.session.lanes))


class ScheduleView(msgspec.Struct, frozen=True, kw_only=True):
    """A schedule, at one moment."""

    name: str
    task: str
    arguments: dict[str, Any]
    queue: str
    trigger: Any
    policies: Any
    paused: bool
    next: str | None
    last: str | None
    fired: int
    skipped: int
    last_job: str | None
    declared: bool
    edited: bool
    changed_at: str
    description: str


def schedule_view(one: ScheduleInfo, hide: Callable[[str], bool] | None = None) -> ScheduleView:
    """A schedule. ``hide``: as of `job_view`."""
    arguments = one.arguments if hide is None else without_hidden(one.arguments, hide)
    return ScheduleView(
        name=one.name,
        task=one.task,
        arguments=arguments,
        queue=one.queue,
        trigger=msgspec.to_builtins(one.trigger),
        policies=msgspec.to_builtins(one.policies),
        paused=one.paused,
        next=None if one.next is None else stamp(one.next),
        last=None if one.last is None else stamp(one.last),
        fired=one.fired,
        skipped=one.skipped,
        last_job=one.last_job,
        declared=one.declared,
        edited=one.edited,
        changed_at=stamp(one.changed_at),
        description=one.description,
    )


class RunView(msgspec.Struct, frozen=True, kw_only=True):
    """A run, without its steps."""

    id: str
    workflow: str
    status: str
    enqueued_at: str
    finished_at: str | None


class StepView(msgspec.Struct, frozen=True, kw_only=True):
    """How a step stands."""

    name: str
    task: str
    status: str
    job_id: str
    items: dict[str, int] | None
    error: str | None
    started_at: str | None
    finished_at: str | None
    parents: list[str]


class RunDetail(msgspec.Struct, frozen=True, kw_only=True):
    """A run, with its steps."""

    id: str
    status: str
    done: int
    total: int
    steps: list[StepView]
    stuck: list[str]
    """What keeps it from going on that will not pass by itself."""


def run_view(one: RunInfo) -> RunView:
    """A run, as lists show it."""
    return RunView(
        id=one.id,
        workflow=one.workflow,
        status=one.status,
        enqueued_at=stamp(one.enqueued_at),
        finished_at=None if one.finished_at is None else stamp(one.finished_at),
    )


def step_view(step: StepStatus) -> StepView:
    """How a step stands, as it is shown."""
    return StepView(
        name=step.name,
        task=step.task,
        status=step.status,
        job_id=step.job_id,
        items=step.items,
        error=step.error,
        started_at=None if step.started_at is None else stamp(step.started_at),
        finished_at=None if step.finished_at is None else stamp(step.finished_at),
        parents=list(step.parents),
    )


async def read_run(run: Run[Any]) -> RunDetail:
    """A run with its steps. Raises `JobNotFound`."""
    status = await run.status()
    steps = await run.steps()
    done, total = await run.progress()
    stuck = await run.audit() if status in ("starting", "running") else []
    return RunDetail(
        id=run.id,
        status=status,
        done=done,
        total=total,
        steps=[step_view(step) for step in steps],
        stuck=[finding.sentence for finding in stuck],
    )


def drawn_plan(plan: Plan) -> list[DrawnStep]:
    """The steps of a workflow that has not run, to be drawn."""
    from windlass.core.drawing import DrawnStep

    return [
        DrawnStep(draft.name, tuple(one.name for one in draft.parents), note="map" if draft.items is not None else "")
        for draft in plan.order
    ]


def items_text(items: dict[str, int] | None) -> str:
    """How the items of a map stand, in a line; nothing of a step that is no map."""
    return "" if items is None else ", ".join(f"{count} {word}" for word, count in items.items()) or "0"
