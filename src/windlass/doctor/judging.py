"""From evidence to the cause why one job is where it is: pure, no store, no clock."""

from __future__ import annotations

from collections.abc import Sequence

from windlass.core.clock import DAY, MINUTE, SECOND, Span
from windlass.core.graph import EdgePolicy
from windlass.core.ids import to_text
from windlass.core.lifecycle import State
from windlass.core.records import JobRecord, LaneRecord, Limit, LimitScope, ParentRecord, Reason, SessionRecord
from windlass.core.remote import decode_error
from windlass.core.requirements import PROCESS
from windlass.core.text import shorten
from windlass.doctor.evidence import Counted, Evidence, serves, slots_for
from windlass.doctor.findings import SPAN, Cause, Finding, Kind, in_words

FAR: Span = 30 * DAY
"""What is due later than this from now is due suspiciously late."""
LATE: Span = 10 * SECOND
"""What was due for longer, nobody promotes."""
SUSPECT_PATIENCE: Span = MINUTE
"""A process for suspects is there within seconds, a worker without supervisor is empty within some more."""
SHOWN = 3
"""Ids, workers and queues that a sentence names."""
_WORDS = {LimitScope.QUEUE: "queue", LimitScope.TASK: "task", LimitScope.KEY: "limit key"}


def explain(job: JobRecord, evidence: Evidence) -> Cause:
    """Say why a job is where it is."""
    match job.state:
        case State.WAITING:
            return _explain_waiting(job, evidence)
        case State.SCHEDULED:
            return _explain_scheduled(job, evidence)
        case State.READY:
            return _explain_ready(job, evidence)
        case State.RUNNING:
            return _explain_running(job, evidence)
        case _:
            return _explain_finished(job, evidence)


def _explain_ready(job: JobRecord, evidence: Evidence) -> Cause:
    return (
        paused((LimitScope.QUEUE, job.queue), evidence)
        or paused((LimitScope.TASK, job.task), evidence)
        or no_lane(job.queue, job.requires, evidence)
        or _unknown_task(job, evidence)
        or (_suspect(job, evidence) if job.suspect else None)
        or _limited(job, evidence)
        or _unclaimed(job, evidence)
    )


def paused(counted: Counted, evidence: Evidence) -> Cause | None:
    """Whether a queue or a task is paused."""
    limit = evidence.limits.get(counted)
    if limit is None or not limit.paused:
        return None
    word = _WORDS[limit.scope]
    text = (
        f"{word} {limit.name} is paused" if evidence.live() else f"{word} {limit.name} is paused, and no worker is live"
    )
    return Cause(Kind.PAUSED, text, f"`windlass {word}s resume {limit.name}` lets it go on")


def no_lane(queue: str, requires: str, evidence: Evidence) -> Cause | None:
    """Whether no worker claims from a lane."""
    live = evidence.live()
    if not live:
        return Cause(Kind.NO_WORKER, "no worker is live", "start one with `windlass worker`")
    if evidence.serving(queue, requires):
        return None
    lane = f"queue {queue}" + (f" with {requires}" if requires else "")
    if any(serves(record, queue, requires) for record in live):
        return Cause(Kind.NO_LANE, f"the workers that serve {lane} are told to stop", "start others")
    served = sorted({lane.queue for record in live for lane in record.session.lanes})
    if requires and queue in served:
        offers = sorted({record.session.offer for record in live if queue in _queues(record)} - {""})
        text = f"no live worker serves {lane}" + (f"; they have {_some(offers)}" if offers else ", only without")
        return Cause(Kind.NO_LANE, text, f"start one with `{_command(queue, requires)}`")
    advice = f"start one with `windlass worker --queue {queue}`"
    return Cause(Kind.NO_LANE, f"no live worker serves {lane}; they serve {_some(served)}", advice)


def _queues(record: SessionRecord) -> set[str]:
    return {lane.queue for lane in record.session.lanes}


def _command(queue: str, requires: str) -> str:
    """What starts a worker that can run such jobs."""
    parts = [part for part in requires.split(",") if part != PROCESS]
    options = [f"--label {part[1:]}" if part.startswith("@") else f"--resource {part}" for part in parts]
    return " ".join(["windlass worker --queue", queue, *options])


def _unknown_task(job: JobRecord, evidence: Evidence) -> Cause | None:
    serving = evidence.serving(job.queue, job.requires)
    if any(job.task in record.session.tasks for record in serving):
        return None
    who = "the worker that serves" if len(serving) == 1 else f"none of the {len(serving)} workers that serve"
    knows = "does not know" if len(serving) == 1 else "knows"
    return Cause(
        Kind.UNKNOWN_TASK,
        f"{who} queue {job.queue} {knows} task {job.task}",
        "start one of the version of the app that has it, or give the name as an alias to a task",
    )


def _suspect(job: JobRecord, evidence: Evidence) -> Cause:
    since = evidence.now - (job.started_at or job.enqueued_at)
    return Cause(
        Kind.SUSPECT,
        f"lost with a worker {job.losses} times, and waiting{SPAN} to run alone, so as to take no other job along",
        "a supervisor starts a process for that, or a worker without one empties itself; if neither happens, see their "
        "logs",
        since,
        stuck=since > SUSPECT_PATIENCE,
    )


def _limited(job: JobRecord, evidence: Evidence) -> Cause | None:
    for counted, limit in evidence.governing(job):
        running = evidence.running.get(counted, 0)
        if limit.concurrency is not None and running >= limit.concurrency:
            return Cause(
                Kind.LIMIT,
                f"{_counted(counted, limit)} runs {_jobs(running)}, and may run {limit.concurrency}",
                "the next one starts when one of them ends; `windlass jobs ls --state running` shows them",
                stuck=limit.concurrency == 0,
            )
        wait = evidence.waits.get(counted, 0)
        if limit.rate is not None and wait > 0:
            return Cause(
                Kind.RATE,
                f"{_counted(counted, limit)} may start {_jobs(limit.rate.count)} in {in_words(limit.rate.per)}, and "
                f"has started as many; the next one may start in {in_words(wait)}",
                stuck=wait > FAR,
            )
    return None


def _jobs(count: int) -> str:
    return "1 job" if count == 1 else f"{count} jobs"


def _counted(counted: Counted, limit: Limit) -> str:
    scope, name = counted
    of_group = f" (by the record of {limit.name})" if limit.name != name else ""
    return f"{_WORDS[scope]} {name}{of_group}"


def _unclaimed(job: JobRecord, evidence: Evidence) -> Cause:
    serving = [record for record in evidence.serving(job.queue, job.requires) if job.task in record.session.tasks]
    room = [record for record in serving if _has_room(record, job)]
    if not room:
        slots = sum(slots_for(record, job.queue, job.requires) for record in serving)
        running = sum(record.running for record in serving)
        who = "the worker that serves" if len(serving) == 1 else f"the {len(serving)} workers that serve"
        runs = "runs" if len(serving) == 1 else "run"
        text = f"{who} queue {job.queue} {runs} {running} jobs, with {slots} slots for such as this"
        return Cause(Kind.BUSY, text, "it starts when its turn has come", stuck=False)
    lane = _lane_of(job, evidence)
    watched = [evidence.unclaimed[one.id] for one in (lane.first if lane else []) if one.id in evidence.unclaimed]
    if not watched:
        if lane is not None and any(one.id == job.id for one in lane.first):
            return Cause(Kind.NEXT, "about to be claimed", stuck=False)
        return Cause(Kind.QUEUED, f"other jobs of queue {job.queue} come first", stuck=False)
    if lane is not None and lane.suspects:
        text = "workers that have room leave it, since a suspect job of the queue waits to run alone"
        return Cause(Kind.SUSPECT, text, stuck=False)
    return Cause(
        Kind.STALLED,
        f"{_workers(room)} {'has' if len(room) == 1 else 'have'} free slots, and claimed nothing while we looked for "
        f"{in_words(max(watched))}",
        "a blocked event loop, or a worker that is stopping; its log names the task that blocks it",
    )


def _has_room(record: SessionRecord, job: JobRecord) -> bool:
    """Whether it ought to claim: a worker does so when a quarter of its slots are free. What runs counts for any lane,
    since nobody knows which it came from; so it is called busy rather than stalled."""
    slots = slots_for(record, job.queue, job.requires)
    return record.running * 4 <= slots * 3 and record.running < slots


def _lane_of(job: JobRecord, evidence: Evidence) -> LaneRecord | None:
    lanes = evidence.backlog.lanes
    return next((lane for lane in lanes if (lane.queue, lane.requires) == (job.queue, job.requires)), None)


def _explain_scheduled(job: JobRecord, evidence: Evidence) -> Cause:
    left = (job.due_at or 0) - evidence.now
    if job.undeliverable_since is not None:
        return Cause(
            Kind.UNDELIVERABLE,
            f"no worker could run this{SPAN}{_last_error(evidence.jobs.get(job.id, job))}",
            "workers try again, up to a minute apart, and give up after an hour; start one that can",
            evidence.now - job.undeliverable_since,
        )
    if left < -LATE:
        if not evidence.live():
            return Cause(
                Kind.OVERDUE, f"overdue{SPAN}, and no worker is live", "start one with `windlass worker`", -left
            )
        who = _workers(evidence.live())
        return Cause(Kind.OVERDUE, f"overdue{SPAN}, and not made ready by {who}, though live", "see the logs", -left)
    due = f"due in {in_words(left)}" if left > 0 else "due now"
    if job.failures:
        due += f", after {job.failures} failed attempt{'s' if job.failures > 1 else ''}"
    if left > FAR:
        return Cause(Kind.FAR, due, "`windlass jobs cancel` if that is a mistake", stuck=False)
    return Cause(Kind.LATER, due, stuck=False)


def _last_error(job: JobRecord) -> str:
    if not job.errors:
        return ""
    error = decode_error(job.errors[-1])
    return f": {shorten(f'{error.type}: {error.message}' if error.message else error.type, 300)}"


def _explain_waiting(job: JobRecord, evidence: Evidence) -> Cause:
    parents = sorted(evidence.parents.get(job.id, ()), key=lambda parent: parent.id)
    circle = _circle(job.id, evidence)
    if circle:
        way = "" if len(circle) == 1 else f", by way of {' and '.join(f'job {to_text(one)}' for one in circle[1:])}"
        return Cause(Kind.CIRCLE, f"waiting for itself{way}", "`windlass jobs cancel` lets go of it")
    missing = [parent for parent in parents if parent.state is None]
    if missing:
        text = f"waiting for job {to_text(missing[0].id)}, which the store does not have"
        return Cause(Kind.PARENT_MISSING, text, "`windlass jobs cancel` lets go of it")
    failed = [parent for parent in parents if _has_failed(parent)]
    if failed:
        assert failed[0].state is not None
        return Cause(
            Kind.PARENT_FAILED,
            f"waiting for job {to_text(failed[0].id)} to succeed, which is {failed[0].state.word}",
            "`windlass jobs replay` that one, or `windlass jobs cancel` this one",
        )
    unfinished = [parent for parent in parents if parent.state is not None and not parent.state.is_finished]
    if unfinished:
        return _waits_for(job, unfinished[0], evidence)
    if evidence.live():
        text = "its parents have finished, and the workers have not carried that on yet"
        return Cause(Kind.EDGES_LEFT, text, stuck=False)
    text = "its parents have finished, and no worker is live to carry that on"
    return Cause(Kind.EDGES_LEFT, text, "start one with `windlass worker`")


def _circle(id: bytes, evidence: Evidence) -> list[bytes]:
    """A way from the job along parents that wait, back to itself, as far as their edges were read; empty: there is
    none."""
    ways, seen = [[id]], {id}
    while ways:
        way = ways.pop(0)
        for parent in evidence.parents.get(way[-1], ()):
            if parent.id == id:
                return way
            if parent.state is State.WAITING and parent.id not in seen:
                seen.add(parent.id)
                ways.append([*way, parent.id])
    return []


def _has_failed(parent: ParentRecord) -> bool:
    return parent.policy is EdgePolicy.SUCCEEDED and parent.state in (State.DEAD, State.CANCELLED)


def _waits_for(job: JobRecord, parent: ParentRecord, evidence: Evidence) -> Cause:
    """Follow the parents to the one that something else keeps."""
    more = f" and {job.parents_open - 1} more" if job.parents_open > 1 else ""
    record = evidence.jobs.get(parent.id)
    if record is None:
        assert parent.state is not None
        return Cause(Kind.PARENTS, f"waiting for job {to_text(parent.id)}{more}, {parent.state.word}", stuck=False)
    cause = explain(record, evidence)
    text = f"waiting for {name_job(record)}{more}, {record.state.word}: {cause.text}"
    return Cause(Kind.PARENTS, text, cause.advice, cause.since, cause.stuck)


def _explain_running(job: JobRecord, evidence: Evidence) -> Cause:
    since = evidence.now - (job.started_at or evidence.now)
    record = next((one for one in evidence.sessions if one.session.id == job.session), None)
    if record is None or not evidence.is_live(record):
        who = "a worker that the store does not know" if record is None else silent(record, evidence)
        return lost(f"running for {who}", evidence, None if record is None else evidence.now - record.lease_until)
    asked = ", and was asked to stop" if job.cancel_requested else ""
    text = f"attempt {job.attempt} runs{SPAN} in {_workers([record])}{asked}"
    return Cause(Kind.RUNNING, text, since=since, stuck=False)


def lost(text: str, evidence: Evidence, silent_for: Span | None) -> Cause:
    """Say what becomes of jobs of a dead worker; ``silent_for``: how long its lease has been over, if it had one."""
    if not evidence.live():
        return Cause(Kind.LOST_WORKER, f"{text}; no worker is live to take it back", "start one with `windlass worker`")
    # Seeing that a worker is dead takes two thirds of a lease, and the reaper's ticks.
    soon = silent_for is not None and silent_for < 3 * evidence.lease
    text = f"{text}; a live worker takes it back" if soon else f"{text}; the live workers have not taken it back"
    return Cause(Kind.LOST_WORKER, text, "" if soon else "see their logs", stuck=not soon)


def silent(record: SessionRecord, evidence: Evidence) -> str:
    """Name a worker whose lease is over. The lease counts from its last sign of life."""
    heard_at = record.lease_until - evidence.lease
    how = "was revoked" if record.revoked else f"has been silent for {in_words(evidence.now - heard_at)}"
    return f"{_workers([record])}, which {how}"


def _explain_finished(job: JobRecord, evidence: Evidence) -> Cause:
    text = job.state.word if job.reason is Reason.NONE else f"{job.state.word} ({job.reason.name.lower()})"
    text += "" if job.finished_at is None else f" {in_words(evidence.now - job.finished_at)} ago"
    if job.state is State.DEAD:
        text += _last_error(job)
    again = "" if job.state is State.SUCCEEDED else "`windlass jobs replay` runs it again"
    return Cause(Kind.FINISHED, text, again, stuck=False)


# -------------------------------------------------------------------------------------------------------- in words


def name_job(job: JobRecord) -> str:
    """Name a job: ``job 0198c5a6-... (shop.send)``."""
    return f"job {to_text(job.id)} ({job.task})"


def _workers(records: Sequence[SessionRecord]) -> str:
    named = [f"{record.session.pid} on {record.session.node}" for record in records[:SHOWN]]
    more = f" and {len(records) - SHOWN} more" if len(records) > SHOWN else ""
    return f"worker{'s' if len(records) > 1 else ''} {', '.join(named)}{more}"


def _some(words: Sequence[str]) -> str:
    return ", ".join(words[:SHOWN]) + (", ..." if len(words) > SHOWN else "")


def sentence(subject: str, cause: Cause) -> str:
    """Say of a subject what its cause is, and what to do about it."""
    text = cause.text.replace(SPAN, "" if cause.since is None else f" for {in_words(cause.since)}")
    return f"{subject}: {text}" + (f"; {cause.advice}" if cause.advice else "")


def diagnose(job: JobRecord, evidence: Evidence) -> Finding:
    """Say in a sentence why one job is where it is."""
    cause = explain(job, evidence)
    where = f"of queue {job.queue}" if job.state.is_finished else f"{job.state.word} in queue {job.queue}"
    return Finding(
        kind=cause.kind,
        stuck=cause.stuck,
        sentence=sentence(f"{name_job(job)}, {where}", cause),
        jobs=1,
        examples=[to_text(job.id)],
    )
