"""Many jobs at once: chosen by what they have in common, done in bounded steps, left halfway and taken up again."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from windlass import App, InvalidName, InvalidOption, StoreUnavailable
from windlass.bulk import PAGE, REPLAY, BulkProgress, walk
from windlass.core.lifecycle import State
from windlass.core.records import JobFilter
from windlass.store.port import Store
from windlass.store.sqlite import SQLiteStore
from windlass.testing.faulty import Fault, FaultyStore, Script


@pytest.fixture(params=["memory", "sqlite"])
async def app(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[App]:
    app = App("memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/w.db")

    @app.task(name="fail")
    def fail(kind: str) -> None:
        raise {"value": ValueError, "timeout": TimeoutError, "connection": ConnectionResetError}[kind](kind)

    @app.task(name="other", queue="other")
    def other() -> None: ...

    yield app
    await app.aclose()


async def ready(app: App) -> int:
    return await app.jobs(status="ready").count()


async def die(app: App, *kinds: str) -> None:
    """Have as many jobs fail, in these ways."""
    jobs = await app.enqueue_many(app.find_task("fail").bind(kind) for kind in kinds)
    async with app.worker():
        for job in jobs:
            with pytest.raises(Exception):  # noqa: B017, PT011 - which one is not what this is about
                await job.result(10)


async def test_dead_jobs_are_replayed_by_their_error(app: App) -> None:
    await die(app, *["value"] * 5, *["timeout"] * 3, "connection")
    assert await app.jobs(status="dead").count() == 9
    assert await app.jobs(error="NoSuchError").replay() == BulkProgress(0, 0)
    assert await app.jobs(error=ValueError).replay() == BulkProgress(5, 5)
    assert await app.jobs(error="OSError", task="fail").replay() == BulkProgress(4, 4)  # a base of the other two
    assert await ready(app) == 9
    assert await app.jobs(task="fail").replay() == BulkProgress(0, 0), "none is dead any more"


async def test_they_run_in_the_order_in_which_they_came(app: App) -> None:
    ran: list[str] = []

    @app.task(name="note")
    async def note(what: str) -> None:
        ran.append(what)

    jobs = await app.enqueue_many(note.bind(str(number)) for number in range(PAGE + 100))
    for job in jobs:
        await job.cancel()
    assert (await app.jobs(task="note", status="cancelled").replay()).done == PAGE + 100
    async with app.worker(concurrency=1):
        await jobs[-1].result(20)
    assert ran == [str(number) for number in range(PAGE + 100)]


async def test_what_was_cancelled_on_purpose_stays_so_unless_it_is_named(app: App) -> None:
    job = await app.find_task("other").enqueue()
    await job.cancel()
    assert await app.jobs(everything=True).replay() == BulkProgress(0, 0)
    assert await app.jobs(status=["dead", "cancelled"]).replay() == BulkProgress(1, 1)


async def test_unfinished_jobs_are_cancelled(app: App) -> None:
    other = app.find_task("other")
    for wanted in (other, other.options(queue="default"), other.options(delay=60)):
        await app.enqueue_many(wanted.bind() for _ in range(3))
    steps = [progress async for progress in app.jobs(queue="other").cancel()]
    assert steps[-1] == BulkProgress(6, 6)
    assert await ready(app) == 3
    assert await app.jobs(status="cancelled").count() == 6
    assert await app.jobs(everything=True, status="scheduled").cancel() == BulkProgress(0, 0)


async def test_finished_jobs_are_purged_but_not_those_of_the_last_minutes(app: App) -> None:
    await die(app, "value")
    purged = await app.jobs(task="fail").purge()
    assert (purged.matched, purged.done, purged.refused) == (1, 0, 1)


async def test_jobs_are_chosen_by_age(app: App) -> None:
    job = await app.find_task("other").enqueue()
    at = (await job.info()).enqueued_at
    for what, count in (
        ({"before": at}, 0),
        ({"before": at + timedelta(microseconds=1)}, 1),
        ({"after": at}, 1),
        ({"after": at + timedelta(microseconds=1)}, 0),
    ):
        assert await app.jobs(**what).count() == count


async def test_a_unique_key_that_another_job_holds_refuses_a_replay(app: App) -> None:
    unique = app.find_task("other").options(unique="k")
    await (await unique.enqueue()).cancel()
    await unique.enqueue()
    assert await app.jobs(status="cancelled").replay() == BulkProgress(1, 0)


async def test_what_cannot_be_meant_is_refused_before_anything_happens(app: App) -> None:
    await app.find_task("other").enqueue()
    for selection in (app.jobs(), app.jobs(everything=False)):
        with pytest.raises(InvalidOption, match="names no jobs"):
            selection.cancel()
    with pytest.raises(InvalidOption, match="not possible for jobs that are ready; only for dead, cancelled"):
        app.jobs(status="ready").replay()
    with pytest.raises(InvalidOption, match="only for waiting, scheduled, ready, running"):
        app.jobs(status=["ready", "dead"]).cancel()
    with pytest.raises(InvalidOption, match="only for succeeded, dead, cancelled"):
        app.jobs(status="running").purge()
    with pytest.raises(InvalidOption, match="'asleep': expected one of waiting, scheduled"):
        app.jobs(status="asleep")  # type: ignore[arg-type]
    with pytest.raises(InvalidName):
        app.jobs(queue="a b")
    with pytest.raises(InvalidOption, match="has no time zone"):
        app.jobs(before=datetime(2026, 1, 31))  # noqa: DTZ001 - that is the point
    assert await ready(app) == 1


async def test_the_blocking_twins(app: App) -> None:
    def act() -> list[Any]:
        other = app.find_task("other")
        app.enqueue_many_sync([other.bind() for _ in range(3)])
        selection = app.jobs(queue="other")
        try:
            return [
                selection.count_sync(),
                selection.cancel_sync(),
                app.jobs(queue="other", status="cancelled").replay_sync(),
                selection.purge_sync(),
            ]
        finally:
            app.close_sync()

    assert await asyncio.to_thread(act) == [3, BulkProgress(3, 3), BulkProgress(3, 3), BulkProgress(0, 0)]


async def test_a_hundred_thousand_dead_jobs_in_bounded_steps_left_halfway_and_taken_up_again(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "w.db")
    await store.connect()
    fill(tmp_path / "w.db", 100_000)
    wanted = REPLAY.narrow(JobFilter(task="t"))
    batches: list[int] = []
    counting = Counting(store, batches)
    async for progress in walk(counting, wanted, REPLAY):  # type: ignore[arg-type]
        if progress.done >= 30_000:
            break
    assert await left(store) == (70_000, 30_000)
    steps = [progress async for progress in walk(counting, wanted, REPLAY)]  # type: ignore[arg-type]
    assert steps[-1] == BulkProgress(70_000, 70_000)
    assert await left(store) == (0, 100_000)
    assert max(batches) <= PAGE
    await store.aclose()


async def test_an_outage_leaves_what_is_done_done(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "w.db")
    await store.connect()
    fill(tmp_path / "w.db", 3 * PAGE)
    for fault in (Fault.CRASH, Fault.LOST):
        script = Script()
        script.then(Fault.NONE, Fault.NONE, Fault.NONE, fault)  # a list, a replay, a list, and this replay
        with pytest.raises(StoreUnavailable):
            async for _ in walk(FaultyStore(store, script), REPLAY.narrow(JobFilter()), REPLAY):
                pass
    assert await left(store) == (0, 3 * PAGE), "two pages, of which the second was repeated, and the lost one"
    await store.aclose()


class Counting:
    """Notes how many jobs each replay is about."""

    def __init__(self, store: Store, batches: list[int]) -> None:
        self._store = store
        self._batches = batches

    async def replay(self, ids: list[bytes]) -> Any:
        self._batches.append(len(ids))
        return await self._store.replay(ids)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


def fill(path: Path, count: int) -> None:
    """Store dead jobs, oldest first."""
    with sqlite3.connect(path) as db:
        db.execute("INSERT INTO lanes (n, queue, requires) VALUES (1, 'default', '')")
        db.execute("INSERT INTO tasks VALUES (1, 't')")
        rows = (
            (number, (1_800_000_000_000 + number).to_bytes(6, "big") + bytes(10), int(State.DEAD), number)
            for number in range(1, count + 1)
        )
        db.executemany(
            "INSERT INTO jobs (n, id, lane, task, state, rank, enqueued_at, finished_at, purge_at, payload)"
            " VALUES (?, ?, 1, 1, ?, 4, ?, 0, 9000000000000000, x'7b7d')",
            rows,
        )
        db.execute("UPDATE meta SET sequence = ?", (count + 1,))
    db.close()


async def left(store: Store) -> tuple[int, int]:
    """How many are dead, and how many ready."""
    counts = await store.counts()
    return counts.get(("default", State.DEAD), 0), counts.get(("default", State.READY), 0)
