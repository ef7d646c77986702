"""Tasks that ask for resources and labels, on every store: where they run, and how many at once."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.integration.engine_harness import eventually
from tests.integration.test_workflows import url_of
from tests.system.process_app import app as elsewhere
from windlass import App, InvalidOption, Job, Retry, current
from windlass.connect import connect
from windlass.engine.process_pool.config import ChildProcesses

WAIT = 20.0


@pytest.fixture(params=["memory", "sqlite", "redis", "postgres"])
async def app(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[App]:
    made = App(url_of(request, tmp_path))
    yield made
    await made.aclose()


class Gauge:
    """What is in use at once."""

    def __init__(self) -> None:
        self.now = self.most = 0
        self.changed = asyncio.Event()
        self.go = asyncio.Event()

    async def use(self, amount: int) -> None:
        self.now += amount
        self.most = max(self.most, self.now)
        self.changed.set()
        try:
            await self.go.wait()
            await asyncio.sleep(0)
        finally:
            self.now -= amount

    async def reach(self, amount: int) -> None:
        async with asyncio.timeout(WAIT):
            while self.now != amount:
                self.changed.clear()
                await self.changed.wait()


async def results(jobs: list[Job[Any]]) -> list[Any]:
    return [await job.result(WAIT) for job in jobs]


async def test_no_more_runs_than_there_is(app: App) -> None:
    gauge = Gauge()

    @app.task(resources={"gpu": 1})
    async def train(n: int) -> int:
        await gauge.use(1)
        return n

    @app.task
    async def plain() -> str:
        return "done"

    async with app.worker(resources={"gpu": 2}):
        jobs = await app.enqueue_many([train.bind(n) for n in range(9)])
        await gauge.reach(2)
        assert await (await plain.enqueue()).result(WAIT) == "done", "what needs nothing goes on"
        gauge.go.set()
        assert await results(jobs) == list(range(9))
    assert gauge.most == 2


async def test_amounts_add_up(app: App) -> None:
    gauge = Gauge()
    gauge.go.set()

    def use(amount: int) -> Callable[[], Awaitable[None]]:
        async def run() -> None:
            await gauge.use(amount)

        return run

    tasks = [app.task(name=f"use{n}", resources={"tape": n})(use(n)) for n in (1, 2, 3, 4)]
    async with app.worker(resources={"tape": 4}):
        await results(await app.enqueue_many([task.bind() for _ in range(15) for task in tasks]))
    assert gauge.now == 0
    assert gauge.most <= 4


async def test_a_worker_without_leaves_it_to_one_with(app: App) -> None:
    where: list[str] = []

    @app.task(labels=["ssd"], resources={"memory": "8GiB"})
    async def sort() -> None:
        where.append("here")

    async with app.worker(resources={"memory": "7.9GiB"}, labels=["ssd"]) as small:
        async with app.worker(resources={"memory": "64GiB"}) as elsewhere:
            job = await sort.enqueue()
            [asked] = await app.enqueue_many([sort.options(labels=[], resources={}).bind()])
            await asked.result(WAIT)
            assert await job.status() == "ready"
            offers = sorted(record.session.offer for record in await small.store.sessions())
            assert len(offers) == 2
            assert "memory=64GiB" in offers[0]
            assert offers[1].endswith("@ssd")
            assert elsewhere is not small
        async with app.worker(resources={"memory": "8GiB"}, labels=["eu", "ssd"]):
            await job.result(WAIT)
    assert where == ["here", "here"]


async def test_what_no_task_says_is_found(app: App) -> None:
    """A job may ask for what its task does not: nobody could tell the worker of that lane before."""
    gauge = Gauge()

    @app.task
    async def work() -> None:
        await gauge.use(3)

    async with app.worker(resources={"gpu": 3}) as worker:
        jobs = [await work.options(resources={"gpu": 3}).enqueue() for _ in range(3)]
        await gauge.reach(3)

        async def presented() -> bool:
            [record] = await worker.store.sessions()
            return "gpu=3" in {lane.requires for lane in record.session.lanes}

        await eventually(presented)
        gauge.go.set()
        await results(jobs)
    assert gauge.most == 3
    async with app.worker(resources={"gpu": 3}):
        await (await work.options(resources={"gpu": 3}, labels=[]).enqueue()).result(WAIT)


async def test_a_job_that_comes_back_from_the_dead_finds_room_again(app: App) -> None:
    tries: list[int] = []

    @app.task(resources={"gpu": 1}, retry=Retry(attempts=3, delay=0))
    async def fail() -> int:
        tries.append(1)
        if len(tries) < 3:
            raise ValueError
        return len(tries)

    async with app.worker(resources={"gpu": 1}):
        assert await (await fail.enqueue()).result(WAIT) == 3


async def test_a_thread_that_does_not_end_keeps_what_it_uses(app: App) -> None:
    running, end = threading.Semaphore(0), threading.Event()

    @app.task(resources={"gpu": 1}, timeout=0.1)
    def stubborn() -> None:
        while not current().cancelled:
            time.sleep(0.005)
        running.release()
        end.wait(WAIT)

    @app.task
    async def plain() -> None: ...

    async with app.worker(resources={"gpu": 1}):
        first, second = await app.enqueue_many([stubborn.bind()] * 2)
        assert await asyncio.to_thread(running.acquire, timeout=WAIT)
        for _ in range(5):
            await (await plain.enqueue()).result(WAIT)
        assert await second.status() == "ready"
        end.set()
        assert await asyncio.to_thread(running.acquire, timeout=WAIT), "the second one has begun"
        for job in (first, second):
            with pytest.raises(TimeoutError):
                await job.result(WAIT)


@pytest.mark.parametrize("app", ["sqlite"], indirect=True)
async def test_process_tasks_may_need_more_than_a_process(app: App) -> None:
    task = elsewhere.find_task("pid")
    with elsewhere._client.elsewhere(lambda: connect(app.url, app.settings)):
        needy = task.options(resources={"gpu": 1})
        async with elsewhere.worker(resources={"gpu": 1}, children=ChildProcesses(slots=2)):
            jobs = [await needy.enqueue() for _ in range(4)]
            pids = await results(jobs)
            record = (await (await elsewhere.store()).get_jobs([jobs[0]._id]))[0]
            assert record is not None
            assert record.requires == "gpu=1,process"
        await elsewhere.aclose()
    assert len(set(pids)) == 1, "never two at once, so that one child was enough"


async def test_steps_and_items_have_their_resources(app: App) -> None:
    gauge = Gauge()
    gauge.go.set()

    @app.task(name="numbers")
    async def numbers() -> list[int]:
        return list(range(6))

    @app.task(name="train", resources={"gpu": 1})
    async def train(n: int) -> int:
        await gauge.use(1)
        return n

    @app.task(name="total")
    async def total(parts: list[int]) -> int:
        return sum(parts)

    @app.workflow(name="training")
    def training() -> Any:
        return total.options(resources={"cpu": 0.5}).step(train.map(numbers.step()))

    async with app.worker(resources={"gpu": 2, "cpu": 1}):
        run = await training.start()
        assert await run.result(WAIT) == 15
        assert [n async for n in app.amap(train, range(4))] == [0, 1, 2, 3]
    assert gauge.most <= 2


@pytest.mark.parametrize("app", ["memory"], indirect=True)
async def test_wrong_resources_are_refused_where_they_are_said(app: App) -> None:
    @app.task
    async def work() -> None: ...

    with pytest.raises(InvalidOption, match="resources: gpu='many': expected a number"):
        work.options(resources={"gpu": "many"})
    with pytest.raises(InvalidOption, match="labels='ssd': expected a list"):
        work.options(labels="ssd")
    with pytest.raises(InvalidOption, match="resources: name 'GPU'"):
        app.task(resources={"GPU": 1})(work.spec.function)
    with pytest.raises(InvalidOption, match="resources: gpu='x'"):
        app.worker_config(resources={"gpu": "x"})
    found = app.worker_config(share=2).offer.amounts
    assert found["cpu"] >= 500
    assert found["memory"] > 2**20
    assert app.worker_config(resources={"cpu": 0}).offer.amounts["cpu"] == 0
