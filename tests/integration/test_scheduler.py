"""Schedules at work: workers fire what is due, each fire time once, whoever is there and whoever dies."""

from __future__ import annotations

import asyncio
import time
from itertools import pairwise
from typing import Any

import msgspec
import pytest

from tests.integration.engine_harness import Switch, eventually, running, spec
from windlass.core.clock import HOUR, SECOND, Instant
from windlass.core.definition import Definition, Policies, encode
from windlass.core.firing import following, plan_firing
from windlass.core.lifecycle import State
from windlass.core.options import decode_options
from windlass.core.records import JobFilter, JobRecord
from windlass.core.schedules import NewSchedule, PutStatus, ScheduleRecord
from windlass.core.triggers import At, Every, Trigger
from windlass.engine import scheduler
from windlass.engine.scheduler import Scheduler
from windlass.engine.signals import SILENT
from windlass.store.port import Store

TENTH = Every(seconds=0.1)


def definition(trigger: Trigger = TENTH, **policies: Any) -> Definition:
    return Definition(trigger=trigger, task="tick", payload=msgspec.Raw(b"{}"), policies=Policies(**policies))


async def put(
    store: Store, name: str = "s", one: Definition | None = None, *, at: Instant | None = None, version: int = 0
) -> None:
    one = one or definition()
    at = following(one.trigger, await store.now()) if at is None else at
    new = NewSchedule(name=name, definition=encode(one), version=version, next=at)
    assert (await store.put_schedules([new]))[0].status is PutStatus.STORED


async def read(store: Store, name: str = "s") -> ScheduleRecord:
    [record] = await store.get_schedules([name])
    assert record is not None
    return record


async def jobs(store: Store) -> list[JobRecord]:
    """All jobs, the oldest first."""
    page = await store.list_jobs(JobFilter(), limit=1000, oldest_first=True)
    return [job for job in await store.get_jobs([job.id for job in page.jobs]) if job is not None]


async def fire_times(store: Store) -> list[Instant]:
    """Of all jobs, in order."""
    return sorted(fired_for(job)[1] for job in await jobs(store))


def fired_for(job: JobRecord) -> tuple[str, Instant]:
    """Its schedule and fire time."""
    options = decode_options(job.options)
    assert options.schedule is not None
    assert options.fire_time is not None
    return options.schedule, options.fire_time


@spec
def tick() -> None: ...


async def test_a_worker_fires_what_is_due_in_time(store: Store) -> None:
    await put(store)
    async with running(store, tick) as worker:
        await worker.settled(5)
    found = await fire_times(store)
    assert {later - earlier for earlier, later in pairwise(found)} == {SECOND // 10}
    record = await read(store)
    assert (record.fired, record.skipped, record.last) == (len(found), 0, found[-1])
    for job in await jobs(store):
        assert fired_for(job)[0] == "s"
        assert 0 <= job.enqueued_at - fired_for(job)[1] < SECOND


async def test_a_schedule_that_is_made_while_a_worker_sleeps_wakes_it(store: Store) -> None:
    async with running(store, tick) as worker:
        await worker.signals.wait_for("idle")
        await put(store, one=definition(At(_in(await store.now(), 0.2))))
        await worker.settled(1, timeout=5)
    assert (await read(store)).next is None


def _in(now: Instant, seconds: float) -> Any:
    from windlass.core.clock import to_datetime

    return to_datetime(now + round(seconds * SECOND))


async def test_many_workers_fire_each_fire_time_once(store: Store) -> None:
    for number in range(20):
        await put(store, f"s{number:02}")
    workers = [running(store.twin(), tick) for _ in range(4)]
    started = [await worker.__aenter__() for worker in workers]
    await eventually(lambda: _has_jobs(store, 100))
    for worker in workers:
        await worker.__aexit__(None, None, None)
    assert len(started) == 4
    by_name: dict[str, list[Instant]] = {}
    for job in await jobs(store):
        name, at = fired_for(job)
        by_name.setdefault(name, []).append(at)
    assert len(by_name) == 20
    for name, found in by_name.items():
        assert sorted(set(found)) == sorted(found), name
        record = await read(store, name)
        assert record.fired + record.skipped == (max(found) - min(found)) // (SECOND // 10) + 1, "none left out"


async def _has_jobs(store: Store, number: int) -> bool:
    return len(await jobs(store)) >= number


async def test_a_scheduler_that_dies_between_plan_and_fire_loses_nothing(store: Store) -> None:
    at = await store.now() - SECOND
    await put(store, one=definition(Every(seconds=3600, anchor=_in(at, 0))), at=at)
    dying = Scheduler(store, SILENT, {})
    found = await store.due_schedules()
    plan = await dying._plan(found)
    # It dies here. Another one comes, and then the first wakes up again.
    await Scheduler(store, SILENT, {}).fire_due()
    assert [answer.status.name for answer in await store.fire(plan)] == ["STALE"]
    assert len(await jobs(store)) == 1


async def test_a_lost_answer_is_not_fired_twice(store: Store) -> None:
    switch = Switch(store)
    at = await store.now() - SECOND
    await put(store, one=definition(Every(seconds=3600, anchor=_in(at, 0))), at=at)
    switch.lose = ["fire"]
    async with running(switch, tick) as worker:  # type: ignore[arg-type]
        await worker.settled(1)
        await eventually(lambda: _asked(switch, "due_schedules", 2))
    assert len(await jobs(store)) == 1
    assert (await read(store)).fired == 1


async def _asked(switch: Switch, verb: str, times: int) -> bool:
    return len(switch.named(verb)) >= times


async def test_a_store_that_is_away_is_waited_for(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    switch = Switch(store)
    await put(store)
    async with running(switch, tick) as worker:  # type: ignore[arg-type]
        await worker.settled(2)
        switch.away = True
        await eventually(lambda: _said(caplog, "the scheduler cannot reach the store"))
        switch.away = False
        before = worker.signals.counts["settled"]
        await worker.settled(before + 2)
    found = await fire_times(store)
    assert len(set(found)) == len(found)


async def _said(caplog: pytest.LogCaptureFixture, words: str) -> bool:
    return words in caplog.text


async def test_one_that_nobody_understands_does_not_stop_the_others(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    strange = NewSchedule(name="a", definition=b'{"trigger":{"kind":"Moon"}}', version=0, next=await store.now() - HOUR)
    await store.put_schedules([strange])
    await put(store)
    async with running(store, tick) as worker:
        await worker.settled(3)
    assert caplog.text.count("schedule 'a' does not fire here") == 1
    assert (await read(store, "a")).version == 1


async def test_what_is_declared_is_made_once_and_never_undone(store: Store) -> None:
    first, second = definition(Every(hours=1)), definition(Every(hours=2))
    async with running(store, tick, schedules={"s": first, "t": first}):
        await eventually(lambda: _there(store, "t"))
    await store.delete_schedules(["t"])
    async with running(store, tick, schedules={"s": second, "t": second}):
        await eventually(lambda: _there(store, "t"))
    assert (await read(store)).definition == encode(first), "an old worker does not undo a new one, nor a new one edits"
    assert (await read(store, "t")).definition == encode(second)


async def _there(store: Store, name: str) -> bool:
    return (await store.get_schedules([name]))[0] is not None


# ------------------------------------------------------------------------------------------------------- overlap


class Gated:
    """A task that runs until it is let go."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.started = 0

        async def tick() -> None:
            self.started += 1
            await self.gate.wait()

        self.spec = spec(tick)


async def test_overlap_skip(store: Store) -> None:
    task = Gated()
    await put(store, one=definition(overlap="skip"))
    async with running(store, task.spec) as worker:
        await worker.signals.wait_for("claimed", 1)
        await eventually(lambda: _skipped(store, 3))
        assert (len(await jobs(store)), task.started) == (1, 1)
        task.gate.set()
        await worker.settled(2)


async def _skipped(store: Store, number: int) -> bool:
    return (await read(store)).skipped >= number


async def test_overlap_queue_keeps_one_behind(store: Store) -> None:
    task = Gated()
    await put(store, one=definition(overlap="queue"))
    async with running(store, task.spec) as worker:
        await worker.signals.wait_for("claimed", 1)
        await eventually(lambda: _skipped(store, 3))
        assert [job.state for job in await jobs(store)] == [State.RUNNING, State.WAITING]
        task.gate.set()
        await worker.settled(3)


async def test_overlap_cancel_ends_the_one_before(store: Store) -> None:
    task = Gated()
    await put(store, one=definition(overlap="cancel"))
    async with running(store, task.spec) as worker:
        await worker.signals.wait_for("claimed", 3)
        await worker.settled(2)
        task.gate.set()
    states = [job.state for job in await jobs(store)]
    assert states[:2] == [State.CANCELLED, State.CANCELLED]


async def test_what_is_met_too_late_cancels_nothing(store: Store) -> None:
    """Nothing would come in its place."""
    one = definition(Every(seconds=0.5), overlap="cancel", misfire_grace=0)
    await put(store, one=one)
    due = await read(store)
    assert due.next is not None
    await eventually(lambda: _is_past(store, due.next))
    await store.fire([plan_firing(due, one, due.next)])
    first = await read(store)
    assert first.next is not None
    await eventually(lambda: _is_past(store, first.next))
    late = Scheduler(store, SILENT, {})
    late.take_duty(True)
    task = asyncio.create_task(late.run())
    await eventually(lambda: _has_skipped(store))
    task.cancel()
    await asyncio.wait({task})
    (job,) = await jobs(store)
    assert job.state is State.READY


async def _is_past(store: Store, at: Instant | None) -> bool:
    return at is not None and await store.now() > at + SECOND // 10


async def _has_skipped(store: Store) -> bool:
    return (await read(store)).skipped > 0


async def test_overlap_allow(store: Store) -> None:
    task = Gated()
    await put(store)
    async with running(store, task.spec) as worker:
        await worker.signals.wait_for("claimed", 3)
        assert task.started >= 2
        task.gate.set()


# ---------------------------------------------------------------------------------------------------------- duty


async def test_a_worker_without_the_duty_fires_if_the_other_does_not(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduler, "BEHIND", 0.2)
    one = Scheduler(store, SILENT, {})
    one.take_duty(False)
    await put(store)
    began = time.monotonic()
    task = asyncio.create_task(one.run())
    await eventually(lambda: _has_jobs(store, 3))
    assert time.monotonic() - began < 5
    task.cancel()
    await asyncio.wait({task})
