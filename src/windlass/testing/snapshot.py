"""Everything that a store will tell about itself, at one moment: what invariants look at and comparisons compare."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from windlass.core.clock import Instant
from windlass.core.lifecycle import State
from windlass.core.model import MAX_BATCH
from windlass.core.records import JobFilter, JobRecord, Limit, QueueRecord, SessionRecord
from windlass.store.port import Insights

_EVERYTHING = JobFilter()
_PLACED = (State.READY, State.RUNNING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """One moment of a store. Consistent only while nobody writes: the port promises that for each read alone."""

    now: Instant
    jobs: dict[bytes, JobRecord]
    listed: list[JobRecord]
    """The same jobs as `list_jobs` shows them, in its order."""
    counts: dict[tuple[str, int], int]
    queues: dict[str, QueueRecord]
    limits: list[Limit]
    sessions: dict[bytes, SessionRecord]

    def unfinished(self) -> list[JobRecord]:
        """Jobs to which something may still happen by itself."""
        return [job for job in self.jobs.values() if not job.state.is_finished]

    def running(self) -> list[JobRecord]:
        return [job for job in self.jobs.values() if job.state is State.RUNNING]


async def take(store: Insights, *, page: int = MAX_BATCH) -> Snapshot:
    """Read all that the store will tell. ``page``: jobs per `list_jobs`."""
    listed = await _list_all(store, page)
    ids = [job.id for job in listed]
    jobs: dict[bytes, JobRecord] = {}
    for start in range(0, len(ids), MAX_BATCH):
        part = await store.get_jobs(ids[start : start + MAX_BATCH])
        jobs.update((job.id, job) for job in part if job is not None)
    return Snapshot(
        now=await store.now(),
        jobs=jobs,
        listed=listed,
        counts=await store.counts(),
        queues={queue.name: queue for queue in await store.queues()},
        limits=await store.limits(),
        sessions={record.session.id: record for record in await store.sessions()},
    )


async def _list_all(store: Insights, page: int) -> list[JobRecord]:
    listed: list[JobRecord] = []
    cursor: bytes | None = None
    while True:
        answer = await store.list_jobs(_EVERYTHING, limit=page, cursor=cursor)
        listed += answer.jobs
        cursor = answer.cursor
        if cursor is None:
            return listed


def without_large(job: JobRecord) -> JobRecord:
    """The record as `list_jobs` shows it."""
    return msgspec.structs.replace(job, payload=b"", options=None, result=None, errors=[], log="")


def comparable(snapshot: Snapshot) -> dict[str, object]:
    """Reduce a snapshot to what two stores with the same history must agree on.

    Sequences become ranks, and only where they mean something (a job that is ready or running has a place); counts
    of zero are nothing.
    """
    places = sorted(job.sequence for job in snapshot.jobs.values() if _is_placed(job) and job.sequence is not None)
    rank = {sequence: place for place, sequence in enumerate(places)}
    parts: dict[str, object] = {
        "now": snapshot.now,
        "listed": [job.id.hex() for job in snapshot.listed],
        "counts": {key: count for key, count in snapshot.counts.items() if count},
        "limits": snapshot.limits,
    }
    for job in snapshot.jobs.values():
        place = rank.get(job.sequence) if _is_placed(job) and job.sequence is not None else None
        parts[f"job {job.id.hex()}"] = msgspec.structs.asdict(msgspec.structs.replace(job, sequence=place))
    parts.update((f"queue {name}", queue) for name, queue in snapshot.queues.items())
    parts.update((f"session {key.hex()}", record) for key, record in snapshot.sessions.items())
    return parts


def differences(one: dict[str, object], other: dict[str, object]) -> list[str]:
    """Say in words where two comparable snapshots differ, a line each."""
    lines: list[str] = []
    for key in [*one, *(key for key in other if key not in one)]:
        here, there = one.get(key, "nothing"), other.get(key, "nothing")
        if here == there:
            continue
        if isinstance(here, dict) and isinstance(there, dict):
            fields = [name for name in {**here, **there} if here.get(name) != there.get(name)]
            lines += [f"{key}.{name}: {here.get(name)!r} != {there.get(name)!r}" for name in fields]
        else:
            lines.append(f"{key}: {here!r} != {there!r}")
    return lines


def _is_placed(job: JobRecord) -> bool:
    return job.state in _PLACED
