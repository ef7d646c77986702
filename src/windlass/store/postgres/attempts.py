"""Claims and settlements, as the server's functions take and answer them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from asyncpg.pgproto.pgproto import UUID

from windlass.core.lifecycle import Outcome
from windlass.core.model import (
    MAX_PRIORITY,
    ClaimAnswer,
    ClaimedJob,
    ClaimRequest,
    Refusal,
    Settled,
    Settlement,
    SettleResult,
)
from windlass.store.postgres.floors import Floors, Ranges
from windlass.store.postgres.names import lane_number

_HEAD, _SETTLEMENT, _LATE = 0, 1, 4
"""Kinds of rows."""
_NO_CLAIM: list[Any] = [0, [], [], [], False, 0]
_SUCCEEDED = Outcome.SUCCEEDED


def claim_arguments(request: ClaimRequest | None) -> list[Any]:
    """A claim, or none."""
    if request is None:
        return _NO_CLAIM
    lanes = request.lanes
    return [
        request.number,
        [lane_number(lane.queue, lane.requires) for lane in lanes],
        [lane.queue for lane in lanes],
        [1 if request.alone else lane.until for lane in lanes],
        request.alone,
        request.max_bytes,
    ]


def settle_arguments(settlements: Sequence[Settlement]) -> list[Any]:
    """Settlements, as an array for each column."""
    plain = all([one.outcome is _SUCCEEDED for one in settlements])  # noqa: C419 - twice as fast
    return [
        [UUID(one.id) for one in settlements],
        [one.token for one in settlements],
        [1] * len(settlements) if plain else [int(one.outcome) for one in settlements],
        [one.result for one in settlements],
        None if plain else [one.error for one in settlements],
        None if plain else [one.delay for one in settlements],
        [one.keep for one in settlements],
        None if plain else [one.started for one in settlements],
    ]


def comes_too_early(rows: Sequence[Any]) -> bool:
    """Whether the server would not claim beside settlements."""
    return bool(rows[0][0] == _LATE)


def claim_answer(rows: Sequence[Any], request: ClaimRequest, floors: Floors, ranges: Ranges) -> ClaimAnswer:
    """Make the answer of a claim's rows: its jobs, and the head at the end."""
    *jobs, head = rows
    more = bool(head[2])
    if head[3] is None and not request.alone:
        more |= floors.learn(jobs, head[6], request, ranges)
    return ClaimAnswer(
        list(map(_claimed, jobs)),
        more=more,
        refused=None if head[3] is None else Refusal(head[3]),
        retry_in=head[7],
    )


def _claimed(row: Any) -> ClaimedJob:
    _, job_id, token, attempt, failures, snoozes, pos, enqueued_at, undeliverable_for, task, queue, *rest = row
    requires, limit_key, options, payload = rest
    return ClaimedJob(
        job_id.bytes,
        token,
        task,
        payload,
        options,
        queue,
        requires,
        MAX_PRIORITY - (pos >> 49),
        attempt,
        failures,
        snoozes,
        enqueued_at,
        undeliverable_for,
        limit_key,
    )


def frees_places(rows: Sequence[Any]) -> bool:
    """Whether there is a limit on what runs at once, and now less runs than before."""
    return bool(_head(rows)[3])


def releases(rows: Sequence[Any]) -> bool:
    """Whether jobs with edges have finished, so that others may have become ready."""
    return bool(_head(rows)[4])


def _head(rows: Sequence[Any]) -> Any:
    return next(row for row in rows if row[0] == _HEAD)


def settle_result(
    rows: Sequence[Any],
    settlements: Sequence[Settlement],
    request: ClaimRequest | None,
    floors: Floors,
    ranges: Ranges,
) -> SettleResult:
    """Make the answer of a settle's rows."""
    answers = [Settled.APPLIED] * len(settlements)
    more_edges = False
    start = len(rows)
    for place, row in enumerate(rows):
        if row[0] == _SETTLEMENT:
            answers[row[3]] = Settled(row[2])
        else:
            more_edges = bool(row[2])
            start = place + 1
            break
    return SettleResult(
        answers, None if request is None else claim_answer(rows[start:], request, floors, ranges), more_edges
    )
