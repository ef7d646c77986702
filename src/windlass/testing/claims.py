"""Whether a claim gave what the contract of `JobStore.claim` says: judged from what was ready before."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import pairwise

from windlass.core.lifecycle import State
from windlass.core.model import MAX_PRIORITY, ClaimAnswer, ClaimedJob, ClaimRequest
from windlass.core.records import JobRecord, Limit, LimitScope
from windlass.testing.invariants import InvariantBroken
from windlass.testing.snapshot import Snapshot


def check_claim(before: Snapshot, request: ClaimRequest, answer: ClaimAnswer) -> None:
    """Raise `InvariantBroken` if the answer does not follow from what the store said just ``before`` the claim."""
    wrongs = [*_refused(answer), *_given(before, request, answer.jobs), *_order(before, request, answer.jobs)]
    wrongs += _left(before, request, answer)
    if wrongs:
        raise InvariantBroken("\n".join(wrongs))


def _refused(answer: ClaimAnswer) -> Iterator[str]:
    if answer.refused is not None and answer.jobs:
        yield f"refused ({answer.refused.name}), and yet {len(answer.jobs)} jobs"


def _given(before: Snapshot, request: ClaimRequest, jobs: Collection[ClaimedJob]) -> Iterator[str]:
    if request.alone and len(jobs) > 1:
        yield f"{len(jobs)} jobs to be run alone"
    for job in jobs:
        record = before.jobs.get(job.id)
        if record is None or record.state is not State.READY:
            yield f"{job.id.hex()} was given, and was {record.state.word if record else 'unknown'} before"
            continue
        if not _is_claimable(record, before, alone=request.alone):
            yield f"{job.id.hex()} was given: suspect {record.suspect}, expiry {record.expires_at}, now {before.now}"
        if _is_paused(record, before.limits):
            yield f"{job.id.hex()} was given, and its queue or task is paused"
        if (job.token, job.attempt) != (record.token + 1, record.attempt + 1):
            yield f"{job.id.hex()}: token {record.token} became {job.token}, attempt {record.attempt} {job.attempt}"


def _order(before: Snapshot, request: ClaimRequest, jobs: Collection[ClaimedJob]) -> Iterator[str]:
    """Lanes in the order of the request, each up to its `until` and by priority; jobs without a limit key, and those of
    one task and key, by sequence. (Suspects come one at a time.)"""
    lanes = {(lane.queue, lane.requires): index for index, lane in reversed(list(enumerate(request.lanes)))}
    places: list[tuple[int, int]] = []
    lines: dict[tuple[int, str | None, str | None], list[tuple[int, int]]] = {}
    for taken, job in enumerate(jobs):
        index = lanes.get((job.queue, job.requires))
        if index is None:
            yield f"{job.id.hex()} is of a lane that was not asked for"
        elif taken >= request.lanes[index].until:
            yield f"{job.id.hex()} was given beyond the lane's {request.lanes[index].until}"
        elif job.id in before.jobs:
            places.append((index, -job.priority))
            place = -job.priority, before.jobs[job.id].sequence or 0
            lines.setdefault(_line(index, before.jobs[job.id], request), []).append(place)
    for given in (places, *lines.values()):
        for one, next_one in pairwise(given):
            if next_one < one:
                yield f"{next_one} was given after {one}"
    yield from _skipped(before, request, jobs, lines)


def _line(index: int, record: JobRecord, request: ClaimRequest) -> tuple[int, str | None, str | None]:
    """In which line of its lane a job stands."""
    keyed = record.limit_key is not None and not request.alone
    return (index, record.task, record.limit_key) if keyed else (index, None, None)


def _skipped(
    before: Snapshot,
    request: ClaimRequest,
    jobs: Collection[ClaimedJob],
    lines: dict[tuple[int, str | None, str | None], list[tuple[int, int]]],
) -> Iterator[str]:
    given = {job.id for job in jobs}
    last_of_lane = {line[0]: max(place[0] for place in places) for line, places in lines.items()}
    for index, lowest in last_of_lane.items():
        for record in _claimable(before, request, index):
            last = lines.get(_line(index, record, request), [(-MAX_PRIORITY - 1, 0)])[-1]
            passed_over = (-record.priority, record.sequence or 0) < last or -record.priority < lowest
            if record.id not in given and passed_over:
                yield f"{record.id.hex()} was passed over"


def _left(before: Snapshot, request: ClaimRequest, answer: ClaimAnswer) -> Iterator[str]:
    """Fewer than asked for says nothing, but nothing says that nothing was claimable."""
    if answer.jobs or answer.more or answer.refused is not None:
        return
    for index in range(len(request.lanes)):
        yield from (f"{record.id.hex()} was not given" for record in _claimable(before, request, index))


def _claimable(before: Snapshot, request: ClaimRequest, index: int) -> Iterator[JobRecord]:
    """What surely could have been given from a lane: no limit at all governs it."""
    lane = request.lanes[index]
    for record in before.jobs.values():
        in_lane = record.state is State.READY and (record.queue, record.requires) == (lane.queue, lane.requires)
        if in_lane and _is_claimable(record, before, alone=request.alone) and not _limits_of(record, before.limits):
            yield record


def _is_claimable(record: JobRecord, before: Snapshot, *, alone: bool) -> bool:
    """An expiry says "not started by": it means nothing to a job that has started before."""
    expired = record.expires_at is not None and record.expires_at <= before.now and record.attempt == 0
    return record.suspect == alone and not expired


def _is_paused(record: JobRecord, limits: Collection[Limit]) -> bool:
    return any(limit.paused for limit in _limits_of(record, limits) if limit.scope is not LimitScope.KEY)


def _limits_of(record: JobRecord, limits: Collection[Limit]) -> list[Limit]:
    key = record.limit_key or ""
    names = {(LimitScope.QUEUE, record.queue), (LimitScope.TASK, record.task)}
    names |= {(LimitScope.KEY, key), (LimitScope.KEY, key.partition(":")[0])}
    return [limit for limit in limits if (limit.scope, limit.name) in names]
