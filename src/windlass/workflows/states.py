"""How the steps of a run stand: read from the jobs that they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field

import msgspec

from windlass.core.clock import Instant
from windlass.core.graph import EdgePolicy
from windlass.core.ids import MAX_FAMILY, Family
from windlass.core.lifecycle import State
from windlass.core.model import MAX_BATCH
from windlass.core.options import decode_options
from windlass.core.records import JobFilter, JobRecord, Reason
from windlass.core.steps import OMITTED, MapResult, StepInfo, each
from windlass.store.port import Insights

PAGE = 500
"""Steps that are read at once, with their arguments."""


class RunResult(msgspec.Struct, frozen=True, omit_defaults=True):
    """The result of the job that starts a run."""

    steps: int
    run: str = ""
    """The run's id, of a plain job that started it."""


@dataclass(slots=True)
class StepState:
    """A step, as its job stands; or an item of a map."""

    info: StepInfo
    job: JobRecord
    items: Counter[State] = field(default_factory=Counter)
    """Of a map: how many of its items are in each state."""
    bad_items: list[bytes] = field(default_factory=list)
    """Ids of those that are dead or cancelled."""
    last_item_at: Instant | None = None
    """When the last of them that has finished did so."""

    @property
    def omitted(self) -> bool:
        """Whether it was not run, since its condition did not hold."""
        return self.job.result == OMITTED

    @property
    def finished_at(self) -> Instant | None:
        """When it ended: of a map, when its last item did."""
        if any(not one.is_finished for one in self.items):
            return None
        return self.last_item_at or self.job.finished_at

    @property
    def failed(self) -> bool:
        """Whether it, or an item of it, is dead, or was cancelled for itself and not for a step before it."""
        return _has_failed(self.job) or bool(self.bad_items)

    @property
    def bad_jobs(self) -> frozenset[bytes]:
        """Ids of what is dead or was cancelled for itself: items, or the step's own job."""
        own = [self.job.id] if _has_failed(self.job) else []
        return frozenset([*self.bad_items, *own])

    @property
    def parents(self) -> Iterable[int]:
        """The numbers of the steps that it depends on."""
        return each(self.info.parents)


def _has_failed(job: JobRecord) -> bool:
    return job.state is State.DEAD or (job.state is State.CANCELLED and job.reason is not Reason.PARENT)


async def count_steps(store: Insights, run: bytes) -> int | None:
    """How many steps a run has; ``None`` while that is not known, since it has not been started."""
    result = (await store.results([run]))[0]
    if result is None or result.result is None:
        return None
    return msgspec.json.decode(result.result, type=RunResult).steps


async def read_steps(store: Insights, run: bytes) -> list[StepState]:
    """Read the steps of a run, by number; those that were purged are left out."""
    count = await count_steps(store, run)
    family = Family(run)
    found: list[StepState] = []
    for first in range(1, (count or 0) + 1, PAGE):
        ids = [family.id(number) for number in range(first, min(first + PAGE, (count or 0) + 1))]
        for job in await store.get_jobs(ids):
            info = None if job is None else decode_options(job.options).step
            if job is not None and info is not None:
                found.append(StepState(info, job))
    for step in found:
        has_ended = step.job.result is not None or step.job.state in (State.DEAD, State.CANCELLED)
        if step.info.maps is not None and not step.omitted and has_ended:
            await _count_items(store, step)
    return found


async def _count_items(store: Insights, step: StepState) -> None:
    count = MAX_FAMILY  # it ended while it made them: as many as there are
    if step.job.result is not None:
        count = msgspec.json.decode(step.job.result, type=MapResult).items
    async for job in read_family(store, step.job.id, range(count)):
        step.items[job.state] += 1
        if job.finished_at is not None:
            step.last_item_at = max(job.finished_at, step.last_item_at or job.finished_at)
        if job.state in (State.DEAD, State.CANCELLED):
            step.bad_items.append(job.id)


async def read_family(store: Insights, parent: bytes, numbers: range) -> AsyncIterator[JobRecord]:
    """The jobs that are numbered so under another one, as `list_jobs` shows them."""
    if not numbers:
        return
    family = Family(parent)
    cursor: bytes | None = _before(family.id(numbers[0]))
    last = family.id(numbers[-1])
    while cursor is not None and cursor < last:
        page = await store.list_jobs(JobFilter(), limit=MAX_BATCH, cursor=cursor, oldest_first=True)
        for job in page.jobs:
            if job.id > last:
                return
            yield job
        cursor = page.cursor


def _before(id: bytes) -> bytes:
    return (int.from_bytes(id, "big") - 1).to_bytes(16, "big")


def is_undecided(steps: Sequence[StepState]) -> bool:
    """Whether it cannot be said yet for what a step was cancelled: a map whose first items have failed may still be
    making others."""
    by_number = {step.info.number: step for step in steps}
    return any(
        number in by_number and not by_number[number].job.state.is_finished
        for step in steps
        if step.job.state is State.CANCELLED
        for number in step.parents
    )


def find_cause(steps: Sequence[StepState]) -> StepState | None:
    """The first step for which the run has failed: one on which no other depends, or one for which such a step was
    cancelled. ``None``: it has not, since whatever failed was seen to by steps that asked for it."""
    by_number = {step.info.number: step for step in steps}
    has_dependants = {parent for step in steps for parent in step.parents}
    causes: set[int] = set()
    looked: set[int] = set()
    look = [number for number, step in by_number.items() if number not in has_dependants]
    while look:
        number = look.pop()
        step = by_number.get(number)
        if step is None or number in looked:
            continue
        looked.add(number)
        if step.failed:
            causes.add(number)
        elif step.job.state is State.CANCELLED:
            if _lacks_a_cause(step, [by_number.get(one) for one in step.parents]):
                causes.add(number)
            look.extend(step.parents)
    return by_number[min(causes)] if causes else None


def _lacks_a_cause(step: StepState, parents: Sequence[StepState | None]) -> bool:
    """Whether a step was cancelled for one of those before it, and none of them says why: it was deleted since, or an
    item of it was. A step that was to see to failures is cancelled where there were none."""
    if step.info.needs is EdgePolicy.FAILED:
        return False
    there = [one for one in parents if one is not None]
    return not any(one.failed or one.job.state is State.CANCELLED or not one.job.state.is_finished for one in there)


def not_needed(steps: Sequence[StepState]) -> set[int]:
    """The steps that were cancelled because nothing failed that they were to see to, and those behind them."""
    by_number = {step.info.number: step for step in steps}
    found: set[int] = set()
    for step in steps:
        if step.job.state is not State.CANCELLED or step.job.reason is not Reason.PARENT:
            continue
        parents = [by_number[number] for number in step.parents if number in by_number]
        if step.info.needs is EdgePolicy.FAILED:
            is_idle = all(one.job.state is State.SUCCEEDED and not one.bad_items for one in parents)
        else:
            is_idle = any(one.info.number in found for one in parents) and not any(one.failed for one in parents)
        if is_idle:
            found.add(step.info.number)
    return found
