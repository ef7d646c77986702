"""Commands of operators: through the store, to any worker, whoever started it."""

import asyncio
import logging
from pathlib import Path

import pytest

from tests.integration.engine_harness import all_in, enqueue, eventually, new_job, record, running, spec
from windlass import App
from windlass.core.lifecycle import State
from windlass.core.model import DRAIN, STOP
from windlass.store.port import Store


class Gated:
    """A task that runs until it is let go."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()

        async def slow() -> None:
            await self.gate.wait()

        self.spec = spec(slow)


async def tell(store: Store, word: str) -> None:
    (session,) = await store.sessions()
    assert await store.command(session.session.id, word)


async def test_a_worker_that_drains_finishes_what_it_holds_whatever_its_grace_time(store: Store) -> None:
    task = Gated()
    told: list[str] = []
    async with running(store, task.spec, concurrency=2, grace=0.01, on_told=lambda: told.append("told")) as worker:
        ids = await enqueue(store, *(new_job("slow") for _ in range(2)))
        await worker.signals.wait_for("claimed", 2)
        await tell(store, DRAIN)
        await eventually(lambda: has(told, "told"))
        (later,) = await enqueue(store, new_job("slow"))
        renewed = worker.signals.counts["renewed"]
        await worker.signals.wait_for("renewed", renewed + 2)  # the grace time is over by now
        assert await all_in(store, ids, State.RUNNING)
        task.gate.set()
        await asyncio.wait_for(worker.worker.wait(), 10)
        assert await all_in(store, ids, State.SUCCEEDED)
        assert (await record(store, later)).attempt == 0, "nothing was claimed any more"
        assert told == ["told"], "once, however often the command came"
        assert await store.sessions() == []


async def has(told: list[str], word: str) -> bool:
    return word in told


async def test_a_worker_that_is_stopped_gives_back_what_does_not_end_in_time(store: Store) -> None:
    task = Gated()
    async with running(store, task.spec, grace=0.05) as worker:
        (job_id,) = await enqueue(store, new_job("slow"))
        await worker.signals.wait_for("claimed")
        await tell(store, STOP)
        await asyncio.wait_for(worker.worker.wait(), 10)
    job = await record(store, job_id)
    assert (job.state, job.failures, job.losses) == (State.READY, 0, 0)


async def test_a_stop_hurries_a_worker_that_drains(store: Store) -> None:
    task = Gated()
    async with running(store, task.spec, grace=0.05) as worker:
        (job_id,) = await enqueue(store, new_job("slow"))
        await worker.signals.wait_for("claimed")
        await tell(store, DRAIN)
        renewed = worker.signals.counts["renewed"]
        await worker.signals.wait_for("renewed", renewed + 2)
        assert (await record(store, job_id)).state is State.RUNNING
        await tell(store, STOP)
        await asyncio.wait_for(worker.worker.wait(), 10)
    assert (await record(store, job_id)).state is State.READY


async def test_a_drain_does_not_slow_a_stop_down(store: Store) -> None:
    task = Gated()
    async with running(store, task.spec, grace=0.5) as worker:
        await enqueue(store, new_job("slow"))
        await worker.signals.wait_for("claimed")
        await tell(store, STOP)
        await tell(store, DRAIN)
        await asyncio.wait_for(worker.worker.wait(), 10)


async def test_a_command_of_a_later_version_is_left_alone(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    async def noop() -> None: ...

    async with running(store, spec(noop)) as worker:
        with caplog.at_level(logging.WARNING):
            await tell(store, "dance")
            await worker.signals.wait_for("renewed", worker.signals.counts["renewed"] + 2)
        assert [line for line in caplog.messages if "dance" in line] == [
            "told to dance, which this version does not know"
        ]
        await enqueue(store, new_job("noop"))
        await worker.settled(1)


async def test_a_worker_inside_a_program_is_drained_too(tmp_path: Path) -> None:
    app = App(f"sqlite:///{tmp_path}/w.db", lease=1)

    @app.task(name="add")
    def add(a: int, b: int) -> int:
        return a + b

    async with app:
        async with app.worker() as worker:
            assert await (await add.enqueue(1, 2)).result(10) == 3
            await tell(await app.store(), DRAIN)
            await asyncio.wait_for(worker.wait(), 10)
        thread = await asyncio.to_thread(app.start_worker_thread)
        assert await (await add.enqueue(1, 2)).result(10) == 3
        await tell(await app.store(), DRAIN)
        await eventually(lambda: no_sessions(app))
        await asyncio.to_thread(thread.stop)


async def no_sessions(app: App) -> bool:
    return await (await app.store()).sessions() == []
