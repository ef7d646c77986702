"""Collecting evidence from a store, in bounded steps."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

import msgspec

from windlass.core.clock import SECOND, Span
from windlass.core.errors import SchemaMismatch, StoreError
from windlass.core.lifecycle import State
from windlass.core.records import Backlog, JobRecord, ParentRecord
from windlass.doctor.evidence import Counted, Evidence
from windlass.doctor.findings import Finding, Kind
from windlass.doctor.judging import diagnose, explain
from windlass.doctor.surveying import late_schedules, survey
from windlass.store.port import Store

PATIENCE: Span = 2 * SECOND
"""How long the first in line are watched before workers that have room are called stalled: an idle worker looks each
second."""
LIMIT = 100
"""Lanes, jobs of each lane, scheduled jobs and waiting jobs that are looked at."""
CLOSELY = 20
"""Waiting and undeliverable jobs about which more is read."""
GENERATIONS = 10
"""Parents of parents that are followed."""


async def examine(store: Store, *, patience: Span = PATIENCE) -> list[Finding]:
    """Say what keeps jobs from running, what is stuck first; nothing if nothing does.

    Reads a bounded number of jobs: the first in each lane, those due first, some of those that wait. Takes a moment
    longer than ``patience`` if jobs are ready and workers have room for them.
    """
    try:
        findings = survey(await _collect(store, patience))
        late = late_schedules(await store.due_schedules(LIMIT), await store.sessions())
    except StoreError as error:
        return [_about_the_store(error)]
    return late + findings


async def examine_job(store: Store, id: bytes, *, patience: Span = PATIENCE) -> Finding | None:
    """Say why one job is where it is; ``None`` for an unknown one."""
    try:
        [job] = await store.get_jobs([id])
        if job is None:
            return None
        chain, parents = await _ancestors(store, job)
        evidence = await _collect(store, patience, chain, parents)
    except StoreError as error:
        return _about_the_store(error)
    [job] = await store.get_jobs([id])
    return None if job is None else diagnose(job, evidence)


async def examine_jobs(store: Store, jobs: Sequence[JobRecord]) -> list[Finding]:
    """Say why each of some jobs is where it is, at one glance: nobody is called stalled. Raises `StoreError`."""
    waiting = [job for job in jobs if job.state is State.WAITING]
    parents = {job.id: await store.open_parents(job.id) for job in waiting}
    evidence = await _collect(store, None, jobs, parents)
    return [diagnose(job, evidence) for job in jobs]


def _about_the_store(error: StoreError) -> Finding:
    """The store itself is what is stuck: its error says what holds it up."""
    kind = Kind.OLD_LAYOUT if isinstance(error, SchemaMismatch) else Kind.UNREACHABLE
    if kind is Kind.UNREACHABLE and "write lock" in str(error):
        kind = Kind.LOCKED
    return Finding(kind=kind, stuck=True, sentence=f"every job: {error}")


async def _collect(
    store: Store,
    patience: Span | None,
    jobs: Sequence[JobRecord] = (),
    parents: dict[bytes, list[ParentRecord]] | None = None,
) -> Evidence:
    # The one write of all this. It changes nothing, and shows whether anybody can write.
    signs = await store.observe()
    first = await _look(store, jobs, parents or {})
    if patience is None:
        return first
    heads = _heads(first)
    second = first
    if heads:
        await asyncio.sleep(patience / SECOND)
        second = await _look(store, jobs, parents or {})
        heads &= _heads(second)
    known = {record.session.id for record in second.sessions}
    return msgspec.structs.replace(
        second,
        strangers=[sign.id for sign in signs if sign.renewals == 0 and sign.revoked and sign.id not in known],
        unclaimed={job_id: second.now - first.now for job_id, _ in heads},
    )


def _heads(evidence: Evidence) -> set[tuple[bytes, int]]:
    """In each lane the first job that could be claimed: (id, token)."""
    heads = set()
    for lane in evidence.backlog.lanes:
        able = (job for job in lane.first if explain(job, evidence).kind is Kind.NEXT)
        heads |= {(job.id, job.token) for job in [next(able, None)] if job is not None}
    return heads


async def _look(store: Store, jobs: Sequence[JobRecord], parents: dict[bytes, list[ParentRecord]]) -> Evidence:
    backlog = await store.backlog(LIMIT)
    limits = {(limit.scope, limit.name): limit for limit in await store.limits()}
    evidence = Evidence(
        now=await store.now(),
        lease=store.settings.lease,
        sessions=await store.sessions(),
        limits=limits,
        running=await store.running(),
        backlog=backlog,
        jobs={job.id: job for job in [*await _undeliverable(store, backlog), *jobs]},
        parents=parents | {job.id: await store.open_parents(job.id) for job in backlog.waiting[:CLOSELY]},
    )
    counted = _rated([*(job for lane in backlog.lanes for job in lane.first), *jobs], evidence)
    waits = dict(zip(counted, await store.rate_waits(counted), strict=True))
    return msgspec.structs.replace(evidence, waits=waits)


def _rated(jobs: Iterable[JobRecord], evidence: Evidence) -> list[Counted]:
    """What is counted under the rates that govern these jobs; not too many."""
    found = {counted: None for job in jobs for counted, limit in evidence.governing(job) if limit.rate is not None}
    return list(found)[: 10 * LIMIT]


async def _undeliverable(store: Store, backlog: Backlog) -> list[JobRecord]:
    ids = [job.id for job in backlog.scheduled if job.undeliverable_since is not None]
    return [job for job in await store.get_jobs(ids[:CLOSELY]) if job is not None]


async def _ancestors(store: Store, job: JobRecord) -> tuple[list[JobRecord], dict[bytes, list[ParentRecord]]]:
    """The job, and of each generation above it one that is unfinished."""
    chain: list[JobRecord] = [job]
    parents: dict[bytes, list[ParentRecord]] = {}
    while chain[-1].state is State.WAITING and len(chain) < GENERATIONS and chain[-1].id not in parents:
        found = parents[chain[-1].id] = await store.open_parents(chain[-1].id)
        unfinished = sorted(parent.id for parent in found if parent.state is not None and not parent.state.is_finished)
        above = [one for one in await store.get_jobs(unfinished[:1]) if one is not None]
        if not above:
            break
        chain += above
    await _read_around(store, job, parents)
    return chain, parents


async def _read_around(store: Store, job: JobRecord, parents: dict[bytes, list[ParentRecord]]) -> None:
    """Read the parents of some more of those that the job waits for, the nearest first: it may be among them."""
    nearest, seen = [job.id], {job.id}
    for one in nearest:
        if one not in parents:
            if len(parents) == CLOSELY:
                return
            parents[one] = await store.open_parents(one)
        new = [each.id for each in parents[one] if each.state is State.WAITING and each.id not in seen]
        nearest += new
        seen.update(new)
