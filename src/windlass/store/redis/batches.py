"""Arguments and answers of the verbs that carry many jobs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec

from windlass.core.lifecycle import Outcome
from windlass.core.model import (
    STORED,
    ClaimAnswer,
    ClaimedJob,
    ClaimRequest,
    Edge,
    EdgeAnswer,
    EnqueueAnswer,
    Enqueued,
    EnqueueResult,
    NewJob,
    Refusal,
    Settled,
    Settlement,
)
from windlass.store.redis.connections import Argument
from windlass.store.redis.records import lane_name, lane_of, pack_payload, text_of, unpack_payload

PART = 200
"""Records of a batch that one script carries, so that none holds the server for long."""
R = TypeVar("R")
_ENCODER = msgspec.msgpack.Encoder()
_UNKNOWN_PARENT = EnqueueAnswer(Enqueued.UNKNOWN_PARENT)
_APPLIED, _SUCCEEDED = Settled.APPLIED, Outcome.SUCCEEDED
_FIRST = (1, 0, 0, 0, None)
"""What a job has counted that nothing has happened to: attempt, failures, snoozes, undeliverable for, limit key."""


def parts(batch: Sequence[R]) -> list[Sequence[R]]:
    """Cut a batch into what one script carries."""
    return [batch[start : start + PART] for start in range(0, len(batch), PART)]


# ------------------------------------------------------------------------------------------------------ enqueue


def jobs_to_store(jobs: Sequence[NewJob]) -> list[Argument]:
    """Jobs as ``enqueue.lua`` reads them."""
    found: list[Argument] = [len(jobs)]
    lanes: dict[tuple[str, str], bytes] = {}
    for job in jobs:
        place = job.queue, job.requires
        lane = lanes.get(place) or lanes.setdefault(place, lane_name(*place))
        found += (job.id, job.task, lane, job.priority, pack_payload(job.payload, job.options), _more(job))
    return found


def _more(job: NewJob) -> bytes:
    """All that most jobs do not have."""
    if (
        not (job.delay or job.unique or job.limit_key or job.parents)
        and job.at is job.expires_in is job.expires_at is None
    ):
        return b""
    more: dict[str, object] = {
        "delay": job.delay or None,
        "at": job.at,
        "expires_in": job.expires_in,
        "expires_at": job.expires_at,
        "limit_key": job.limit_key,
    }
    if job.unique is not None:
        more |= {"unique": job.unique.key, "until": int(job.unique.until), "replace": job.unique.replace}
    parents = b"".join(parent.id + b"%d" % parent.policy for parent in job.parents)
    return _ENCODER.encode({name: value for name, value in more.items() if value is not None}) + parents


def edges_to_store(edges: Sequence[Edge]) -> list[Argument]:
    """Edges as ``enqueue.lua`` reads them."""
    found: list[Argument] = [0]
    for edge in edges:
        found += (edge.parent, edge.dependant, int(edge.policy))
    return found


def stored(answers: Sequence[Any]) -> EnqueueResult:
    """What became of all parts of an enqueue."""
    jobs = [answer_of(one) for found, _ in answers for one in found]
    return EnqueueResult(jobs, [EdgeAnswer(one) for _, found in answers for one in found])


def answer_of(answer: Any) -> EnqueueAnswer:
    """What became of one job."""
    if answer == 0:
        return STORED
    return _UNKNOWN_PARENT if answer == 2 else EnqueueAnswer(Enqueued.DUPLICATE, answer[1:])


# ------------------------------------------------------------------------------------------------------ claim


def request_to_claim(session: bytes, request: ClaimRequest, hears: bool) -> list[Argument]:
    """A claim as ``_walk.lua`` reads it. ``hears``: hints that name this session arrive."""
    found: list[Argument] = [session, request.number, int(request.alone), request.max_bytes, int(hears)]
    found.append(len(request.lanes))
    for lane in request.lanes:
        found += (lane_name(lane.queue, lane.requires), lane.until)
    return found


def claimed(answer: Sequence[Any]) -> ClaimAnswer:
    """What a claim brought."""
    refused, more, retry_in, flat = answer
    if refused:
        return ClaimAnswer(refused=Refusal(refused))
    jobs: list[ClaimedJob] = []
    for job_id, token, task, packed, lane, priority, stored_at, extra in zip(*[iter(flat)] * 8, strict=True):
        queue, requires = lane_of(lane)
        payload, options = unpack_payload(packed)
        attempt, failures, snoozes, undeliverable, key = _counts(extra) if extra else _FIRST
        # By position: names would cost a quarter of all that happens here.
        jobs.append(
            ClaimedJob(
                job_id,
                token,
                text_of(task),
                payload,
                options,
                queue,
                requires,
                priority,
                attempt,
                failures,
                snoozes,
                int(stored_at),
                undeliverable,
                key,
            )
        )
    return ClaimAnswer(jobs, bool(more), None, None if retry_in < 0 else retry_in)


def _counts(extra: bytes) -> tuple[int, int, int, int, str | None]:
    *numbers, key = extra.split(b" ", 4)
    attempt, failures, snoozes, undeliverable = map(int, numbers)
    return attempt, failures, snoozes, undeliverable, key[1:].decode() if key else None


# ------------------------------------------------------------------------------------------------------ settle


def settlements_to_apply(session: bytes, settlements: Sequence[Settlement]) -> list[Argument]:
    """Settlements as ``settle.lua`` reads them."""
    found: list[Argument] = [session, len(settlements)]
    for one in settlements:
        if one.outcome is _SUCCEEDED and one.result is not None:  # nearly all
            found += (one.id, one.token, "1d", one.result, one.keep, one.delay)
            continue
        data = one.result if one.outcome == _SUCCEEDED else one.error
        what = f"{int(one.outcome)}{'' if data is None else 'd'}{'' if one.started else 'n'}"
        found += (one.id, one.token, what, b"" if data is None else data, one.keep, one.delay)
    return found


def settled(answers: Sequence[Any]) -> list[Settled]:
    """What became of all settlements of a call."""
    return [_APPLIED if digit == 48 else Settled(digit - 48) for found, *_ in answers for digit in found]
