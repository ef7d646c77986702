"""Pausing runs: a mark in the store that workers know of, kept as a paused task that is called after the run.

A worker puts back what it claims of a paused run, for `PAUSED_FOR`; so whatever becomes ready waits, and what runs goes
on. Resuming takes the mark away, and has what was put back be due at once.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from windlass.core.ids import Family
from windlass.core.lifecycle import State
from windlass.core.model import MAX_BATCH
from windlass.core.records import JobRecord, LimitScope
from windlass.core.steps import FINISH, PAUSED_FOR, pause_name, paused_run
from windlass.store.port import Insights, Store
from windlass.workflows.states import count_steps, read_family, read_steps


async def paused_runs(store: Insights) -> set[bytes]:
    """The runs that are paused."""
    records = await store.limits(LimitScope.TASK)
    return {run for record in records if record.paused and (run := paused_run(record.name)) is not None}


async def pause(store: Store, run: bytes) -> None:
    """Let nothing more of a run start. Idempotent."""
    await store.pause(LimitScope.TASK, pause_name(run), paused=True)


async def resume(store: Store, run: bytes) -> None:
    """Let a run go on. Idempotent."""
    await store.pause(LimitScope.TASK, pause_name(run), paused=False)
    latest = await store.now() + PAUSED_FOR
    put_back = [
        job.id
        async for job in _unstarted(store, run)
        # What waits for a retry, or snoozes by itself, may be among them: at most a minute too early.
        if job.state is State.SCHEDULED and job.snoozes and (job.due_at or 0) <= latest
    ]
    for start in range(0, len(put_back), MAX_BATCH):
        await store.reschedule(put_back[start : start + MAX_BATCH], 0)


async def _unstarted(store: Store, run: bytes) -> AsyncIterator[JobRecord]:
    for job in await store.get_jobs([run, Family(run).id(FINISH)]):
        if job is not None:
            yield job
    async for job in read_family(store, run, range(1, (await count_steps(store, run) or 0) + 1)):
        yield job
    for step in await read_steps(store, run):
        if step.items:
            async for job in read_family(store, step.job.id, range(step.items.total())):
                yield job
