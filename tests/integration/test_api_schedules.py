"""Schedules as an application makes, changes and declares them: on the embedded store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from windlass import (
    App,
    At,
    Cron,
    Daily,
    Every,
    InvalidArguments,
    InvalidName,
    InvalidOption,
    ScheduleExists,
    ScheduleNotFound,
)
from windlass.engine.declaring import declare

SOON = 20.0


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[App]:
    made = App(f"sqlite:///{tmp_path}/w.db", timezone="Asia/Seoul")
    yield made
    await made.aclose()


def add(app: App) -> Any:
    @app.task(name="t", secret=["password"])
    def t(n: int, password: str = "hunter2") -> int:
        return n

    return t


async def test_a_schedules_life(app: App) -> None:
    t = add(app)
    made = await app.schedules.add("a", t.bind(1), Daily("12:00"), overlap="skip")
    assert (made.trigger, made.policies.overlap) == (Daily("12:00", tz="Asia/Seoul"), "skip")
    assert made.next is not None
    assert made.next.hour == 3
    assert await app.schedules.add("a", t.bind(1), Daily("12:00"), overlap="skip") == made, "it is there already"
    with pytest.raises(ScheduleExists, match="replace it"):
        await app.schedules.add("a", t.bind(2), Daily("12:00"))
    replaced = await app.schedules.add("a", t.bind(2), Daily("13:00"), replace=True)
    assert (replaced.arguments["n"], replaced.policies.overlap) == (2, "allow")
    changed = await app.schedules.change("a", trigger=Every(hours=1), jitter=2)
    assert (changed.trigger, changed.policies.jitter, changed.arguments["n"]) == (Every(hours=1), 2_000_000, 2)
    assert (await app.schedules.change("a", call=t.bind(3))).policies.jitter == 2_000_000
    assert (await app.schedules.pause("a")).next is None
    assert await app.schedules.next("a") == []
    assert (await app.schedules.resume("a")).next is not None
    assert [one.name async for one in app.schedules] == ["a"]
    times = await app.schedules.next("a", 3)
    assert [later - earlier for earlier, later in pairwise(times)] == [timedelta(hours=1)] * 2
    await app.schedules.delete("a")
    for verb in ("get", "pause", "resume", "delete", "fire", "next"):
        with pytest.raises(ScheduleNotFound, match="'a'"):
            await getattr(app.schedules, verb)("a")


async def test_firing_now_is_a_job_like_any_other(app: App) -> None:
    await app.schedules.add("a", add(app).bind(7), Every(hours=1), paused=True)
    job = await app.schedules.fire("a")
    async with app.worker():
        assert await job.result(SOON) == 7


async def test_a_backfill_enqueues_each_fire_time_once(app: App) -> None:
    await app.schedules.add("a", add(app).bind(1), Every(hours=1))
    start = datetime(2026, 1, 1, tzinfo=UTC)
    for _ in range(2):
        work = await app.schedules.backfill("a", start, start + timedelta(days=1), parallel=3)
        async with app.worker():
            assert await work == (24, 24)
    assert await app.jobs(everything=True).count() == 24


async def test_secret_arguments_are_shown_to_nobody(app: App) -> None:
    made = await app.schedules.add("a", add(app).bind(1), Every(hours=1))
    assert made.arguments == {"n": 1, "password": "***"} or "password" not in made.arguments
    shown = await app.schedules.add("b", app.find_task("t").bind(1, "hunter2"), Every(hours=1))
    assert "hunter2" not in repr(shown)


async def test_what_cannot_be_is_refused(app: App) -> None:
    t = add(app)
    schedules = app.schedules
    for wrong in (
        lambda: schedules.add("a", t.bind(1), "0 12 * * *"),
        lambda: schedules.add("a", t, Every(hours=1)),
        lambda: schedules.add("a", t.bind(1), At(datetime(2001, 1, 1, tzinfo=UTC))),
        lambda: schedules.add("a", t.bind(1), Every(hours=1), overlap="never"),
        lambda: schedules.add("a", t.options(delay=5).bind(1), Every(hours=1)),
        lambda: schedules.add("a", t.options(unique="k").bind(1), Every(hours=1), overlap="skip"),
    ):
        with pytest.raises(InvalidOption):
            await wrong()
    await schedules.add("a", t.bind(1), Every(hours=1))
    with pytest.raises(InvalidOption, match="is no trigger"):
        await schedules.change("a", trigger="0 12 * * *")  # type: ignore[arg-type]
    with pytest.raises(InvalidName):
        await schedules.add("a b", t.bind(1), Every(hours=1))
    with pytest.raises(InvalidOption, match="end="):
        await schedules.backfill("a", datetime(2026, 1, 2, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC))
    with pytest.raises(InvalidOption, match="time zone"):
        App("memory://", timezone="Mars/Base")


def test_declarations_that_cannot_be(app: App) -> None:
    t = add(app)
    app.schedule("a", t.bind(1), Cron("@daily"))
    with pytest.raises(InvalidName, match="declared twice"):
        app.schedule("a", t.bind(1), Cron("@daily"))
    with pytest.raises(InvalidArguments, match="missing a required argument"):
        app.scheduled(Every(hours=1))(t)
    with pytest.raises(InvalidOption, match="catch_up"):
        app.schedule("b", t.bind(1), Cron("@daily"), catch_up=0)


# ---------------------------------------------------------------------------------------------- declared, and deleted


def version(*, old: bool) -> dict[str, Any]:
    """What two versions of an application declare."""
    declaring = App("memory://")
    task = add(declaring)
    declaring.schedule("kept", task.bind(1), Every(hours=1))
    if old:
        declaring.schedule("obsolete", task.bind(1), Every(hours=1), max_jobs=5)
    return dict(declaring.declared)


async def names(app: App) -> list[str]:
    return [one.name for one in await app.schedules.all()]


async def test_an_old_worker_never_undoes_a_new_deployment(app: App) -> None:
    old, new = version(old=True), version(old=False)
    await app.schedules.deploy(old)
    assert ("obsolete", "deleted") in await app.schedules.deploy(new)
    async with app:
        assert await declare(await app.store(), old) == 0, "a worker of the old version, that starts late"
    assert await names(app) == ["kept"]
    for look in (app.schedules.get, app.schedules.pause, app.schedules.fire, app.schedules.delete):
        with pytest.raises(ScheduleNotFound):
            await look("obsolete")
    assert await app.schedules.deploy(new) == [("kept", "unchanged")]
    assert ("obsolete", "made") in await app.schedules.deploy(old)
    made = await app.schedules.get("obsolete")
    assert (made.paused, made.fired, made.edited) == (False, 0, False)
    assert made.next is not None


async def test_what_somebody_deletes_stays_deleted(app: App) -> None:
    task = add(app)
    declared = version(old=True)
    await app.schedules.deploy(declared)
    await app.schedules.delete("obsolete")
    async with app:
        assert await declare(await app.store(), declared) == 0
    assert ("obsolete", "kept") in await app.schedules.deploy(declared)
    assert await names(app) == ["kept"]
    assert ("obsolete", "made") in await app.schedules.deploy(declared, force=True)
    await app.schedules.delete("obsolete")
    made = await app.schedules.add("obsolete", task.bind(7), Every(minutes=1))
    assert (made.arguments["n"], made.declared) == (7, False)


async def test_a_change_that_would_end_a_schedule_unseen_is_refused(app: App) -> None:
    task = add(app)
    await app.schedules.add("a", task.bind(1), Every(seconds=0.1), max_jobs=3)
    assert len(await app.schedules.next("a")) <= 3
    with pytest.raises(InvalidOption, match="never fire again"):
        await app.schedules.change("a", trigger=At(datetime(2020, 1, 1, tzinfo=UTC)))
    async with app.worker(), asyncio.timeout(SOON):
        while (await app.schedules.get("a")).fired < 3:  # noqa: ASYNC110
            await asyncio.sleep(0.02)  # the store is asked: there is no event
    with pytest.raises(InvalidOption, match="has had 3 jobs: with max_jobs=2"):
        await app.schedules.add("a", task.bind(1), Every(hours=1), replace=True, max_jobs=2)
    assert (await app.schedules.change("a", max_jobs=10)).next is not None
    assert len(await app.schedules.next("a", 50)) == 7
