"""What webhooks say: bodies that are bounded, and hold neither arguments nor results."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from windlass.core.clock import SECOND, Instant
from windlass.core.ids import id_from
from windlass.core.records import JobRecord, QueueRecord
from windlass.core.schedules import ScheduleRecord
from windlass.core.text import shorten
from windlass.views import error_view, iso, job_view
from windlass.webhooks.endpoint import JOB_DEAD, QUEUE_AGE, SCHEDULE_MISSED

MOST = 20
"""Dead jobs that an endpoint is told of one by one at each look; of the others it is told how many there were."""
LONGEST = 500
"""Characters of an error's message."""
AGAIN = 3600 * SECOND
"""A queue that stays old is told of once in so long."""
_NAMES = 50
"""Tasks that a summary counts one by one."""


class Message(NamedTuple):
    """One webhook, for one endpoint or another."""

    body: bytes
    at: Instant
    what: str
    """Of two messages that say the same, this is the same: who sends one twice, sends the same job."""

    def id_for(self, endpoint: str) -> bytes:
        """The id of the job that sends it."""
        return id_from(self.at, hashlib.blake2b(f"{endpoint} {self.what}".encode(), digest_size=16).digest())


def _message(kind: str, what: str, at: Instant, data: Mapping[str, Any]) -> Message:
    return Message(msgspec.json.encode({"type": kind, "timestamp": iso(at), "data": data}), at, f"{kind} {what}")


def of_deaths(dead: Sequence[JobRecord]) -> list[Message]:
    """Tell of dead jobs: the first ones one by one, the others in a summary."""
    dead = sorted(dead, key=lambda job: (job.finished_at or 0, job.id))
    told, rest = dead[:MOST], dead[MOST:]
    messages = [_message(JOB_DEAD, f"{job.id.hex()}/{job.token}", job.finished_at or 0, _of_job(job)) for job in told]
    if rest:
        counted = Counter(job.task for job in rest).most_common()
        tasks, others = dict(counted[:_NAMES]), sum(count for _, count in counted[_NAMES:])
        data = {"jobs": len(rest), "tasks": tasks, "of_other_tasks": others}
        ids = b"".join(job.id for job in rest)
        messages.append(_message("jobs.dead", hashlib.sha256(ids).hexdigest(), rest[-1].finished_at or 0, data))
    return messages


def _of_job(job: JobRecord) -> dict[str, Any]:
    shown = job_view(job)
    errors = [error_view(raw) for raw in job.errors[-1:]]
    return {
        "job": shown.id,
        "task": shown.task,
        "queue": shown.queue,
        "attempt": shown.attempt,
        "failures": shown.failures,
        "losses": shown.losses,
        "reason": shown.reason,
        "error": {"type": shorten(errors[0].type, LONGEST), "message": shorten(errors[0].message, LONGEST)}
        if errors
        else None,
        "enqueued_at": shown.enqueued_at,
        "finished_at": shown.finished_at,
        "trace_id": shown.trace_id,
    }


def of_missed(schedule: ScheduleRecord, before: int, now: Instant) -> Message:
    """Tell that fire times passed without a job. ``before``: how many of them were told before."""
    data = {
        "schedule": schedule.name,
        "missed": schedule.skipped - before,
        "last": iso(schedule.last),
        "next": iso(schedule.next),
    }
    return _message(SCHEDULE_MISSED, f"{schedule.name} {schedule.skipped}", schedule.last or now, data)


def of_age(queue: QueueRecord, limit: int, now: Instant) -> Message | None:
    """Tell of a queue whose oldest ready job is older than ``limit`` seconds."""
    if queue.oldest_ready_at is None or now - queue.oldest_ready_at <= limit * SECOND:
        return None
    age = (now - queue.oldest_ready_at) // SECOND
    data = {"queue": queue.name, "age": age, "limit": limit, "ready": queue.ready, "running": queue.running}
    hour = now // AGAIN * AGAIN
    return _message(QUEUE_AGE, f"{queue.name} {limit} {hour}", hour, data)
