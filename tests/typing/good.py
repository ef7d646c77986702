"""What a user's type checker must accept, and infer. Checked by mypy, never run."""

from collections.abc import AsyncIterator, Coroutine, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, assert_type
from unittest.mock import ANY

from windlass import (
    App,
    BulkProgress,
    Call,
    ChildProcesses,
    CoroutineTask,
    Executor,
    FunctionTask,
    Job,
    JobFuture,
    LimitInfo,
    MappedStep,
    Retry,
    Run,
    RunInfo,
    RunProgress,
    RunStatus,
    Step,
    StepStatus,
    chain,
    group,
)
from windlass.testing import AttemptRecord, EnqueuedJob, Harness

app = App("memory://")


@app.task(queue="mail", retry=Retry(attempts=5), timeout=30)
async def send(to: str, body: str, *, copies: int = 1) -> int:
    return copies


@app.task(limit_by="customer")
async def charge(customer: int, *, cents: int) -> bool:
    return True


@app.task
def total(*numbers: float) -> float:
    return sum(numbers)


@app.task
async def nothing() -> None: ...


@app.task(executor="process")
def resize(path: str) -> int:
    return len(path)


@app.task(executor="process", timeout=5)
async def fetch(url: str) -> bytes:
    return url.encode()


assert_type(total(1, 2), float)
assert_type(resize("a"), int)
assert_type(total.name, str)


def call() -> Coroutine[Any, Any, int]:
    return send("a", "b")


async def enqueue() -> None:
    job = await send.enqueue("a", "b", copies=2)
    assert_type(job, Job[int])
    assert_type(await job.result(timeout=10), int)
    assert_type(await (await total.enqueue(1, 2.5)).result(), float)
    assert_type(await (await nothing.enqueue()).result(), None)
    assert_type(await send("a", "b"), int)
    assert_type(job.duplicate, bool)


async def elsewhere() -> None:
    assert_type(await (await resize.enqueue("a")).result(), int)
    assert_type(await fetch("a"), bytes)
    assert_type(await (await fetch.enqueue("a")).result(), bytes)
    async with app.worker(children=ChildProcesses(slots=2, max_jobs=1000, max_memory=2**30, memory_limit=2**32)):
        pass


async def options() -> None:
    urgent = send.options(priority=9, delay=timedelta(seconds=5), expires=datetime.now(UTC), unique="a")
    assert_type(await (await urgent.enqueue("a", "b")).result(), int)
    assert_type(urgent.bind("a", "b"), Call[int])
    assert_type(total.options(resources={"gpu": 1, "memory": "4GiB", "cpu": 0.5}, labels=["ssd"])(1.0), float)
    assert_type(total.options(unique=True, on_conflict="raise", unique_until="started")(1.0), float)


async def many() -> None:
    assert_type(send.bind("a", "b"), Call[int])
    jobs = await app.enqueue_many(send.bind(to, "x") for to in ("a", "b"))
    assert_type(jobs, list[Job[int]])
    async for job in app.enqueue_many([total.bind(1)]):
        assert_type(job, Job[float])

    async def source() -> AsyncIterator[Call[int]]:
        yield send.bind("a", "b")

    assert_type(await app.enqueue_many(source()), list[Job[int]])

    def mixed() -> Iterator[Call[int | float]]:
        yield send.bind("a", "b")
        yield total.bind(1)

    assert_type(await app.enqueue_many(mixed()), list[Job[int | float]])
    calls: list[Call[object]] = [send.bind("a", "b"), nothing.bind()]
    await app.enqueue_many(calls)


async def bulk() -> None:
    dead = app.jobs(status="dead", error=TimeoutError, before=datetime.now(UTC))
    assert_type(await dead.replay(), BulkProgress)
    async for progress in dead.cancel():
        assert_type(progress.done, int)
    assert_type(await dead.count(), int)


async def limits() -> None:
    await app.set_limit(queue="mail", concurrency=5, rate="10/s", burst=20)
    await app.set_limit(task=charge, rate="100/m")
    await app.set_limit(task="shop.charge", concurrency=None, rate=None, burst=None)
    assert_type(await app.limits(), list[LimitInfo])
    assert_type((await app.limits())[0].rate, str | None)
    assert_type(charge.bind(1, cents=2).limit_key, str | None)


def blocking() -> None:
    app.set_limit_sync(key="customer:42", concurrency=2)
    assert_type(app.limits_sync(), list[LimitInfo])
    assert_type(app.jobs(status=["dead", "cancelled"]).purge_sync(), BulkProgress)
    assert_type(send.enqueue_sync("a", "b"), Job[int])
    assert_type(send.enqueue_sync("a", "b").result_sync(timeout=1), int)
    assert_type(app.enqueue_many_sync(total.bind(n) for n in range(3)), list[Job[float]])
    with app.start_worker_thread(["mail"], concurrency=4) as worker:
        worker.stop(grace=1)


def takes_tasks(coroutine: CoroutineTask[[], None], function: FunctionTask[[], None]) -> None: ...


def covariance(job: Job[int], call: Call[int]) -> tuple[Job[object], Call[float]]:
    return job, call


async def harness() -> None:
    with Harness(app, inline=True) as harness:
        assert_type(harness, Harness)
        assert_type(harness.assert_enqueued(send), Job[int])
        assert_type(harness.assert_enqueued(send, "a", "b", copies=2), Job[int])
        assert_type(harness.assert_enqueued(send.options(queue="mail"), ANY, body=ANY), Job[int])
        assert_type(harness.assert_enqueued(total, 1, 2.5), Job[float])
        assert_type(harness.enqueued(), list[EnqueuedJob])
        assert_type(harness.enqueued(send, "a", ANY), list[EnqueuedJob])
        harness.assert_not_enqueued()
        harness.assert_not_enqueued(nothing)
        harness.assert_not_enqueued(send, "a", "b")
        assert_type(await harness.run(queues=["mail"]), list[AttemptRecord])
        assert_type(await harness.run_for(hours=1, minutes=0.5), list[AttemptRecord])
        assert_type(harness.run_until_idle_sync(), list[AttemptRecord])
        assert_type(harness.clock.now(), datetime)
        with harness.crash_after(send, call=None), harness.crash_before("shop.charge"):
            harness.inline = False


@app.task
def half(n: int) -> float:
    return n / 2


@app.workflow
def together(day: str) -> Step[int]:
    mapped = half.map([1, 2])
    assert_type(mapped, MappedStep[float])
    last = chain(send.step("a", "b"), send)
    assert_type(send.options(after=last, when=last.equals(1), needs="done").step("a", mapped), Step[int])
    return send.step("a", last)


@app.workflow(queue="runs")
def several() -> list[Step[float]]:
    return group(half.step(1), half.step(2))


@app.workflow
def all_halves() -> MappedStep[float]:
    return half.map([1, 2])


async def workflows() -> None:
    assert_type(await all_halves.start(), Run[list[float]])
    run = await together.start("today")
    assert_type(run, Run[int])
    assert_type(await run.result(timeout=1), int)
    assert_type(await several.start(), Run[list[float]])
    assert_type(await several.options(delay=1).start(), Run[list[float]])
    assert_type(await run.status(), RunStatus)
    assert_type(await run.steps(), list[StepStatus])
    assert_type(together.start_sync("today").progress_sync(), RunProgress)
    assert_type(await app.runs(together, limit=5), list[RunInfo])
    assert_type(app.run("81a219f2-1925-7074-b946-6ef8842d1b4b"), Run[Any])


async def compute() -> None:
    for one in app.map(half, range(3), chunksize=5):
        assert_type(one, float)
    async for other in app.amap(half, range(3), window=2):
        assert_type(other, float)
    with app.executor() as pool:
        assert_type(pool, Executor)
        future = pool.submit(half, 3)
        assert_type(future, JobFuture[float])
        assert_type(future.result(), float)
        assert_type(future.job, Job[float])
        assert_type(pool.submit(send, "a", body="b"), JobFuture[int])


async def functions() -> None:
    signed = App(signing_key="k" * 32)
    assert_type(App(signing_key=b"k" * 32), App)

    def twice(n: int) -> float:
        return 2.0 * n

    async def later(n: int, m: int = 0) -> int:
        return n + m

    for one in signed.map(twice, range(3)):
        assert_type(one, float)
    for other in signed.map(later, range(3), m=1):
        assert_type(other, int)
    async for third in signed.amap(later, range(3)):
        assert_type(third, int)
    assert_type(await signed.reduce(later, [1, 2]), int)
    assert_type(signed.reduce_sync(later, [1, 2]), int)
    with signed.executor() as pool:
        assert_type(pool.submit(twice, 1), JobFuture[float])
        assert_type(pool.submit(later, 1, m=2), JobFuture[int])
        assert_type(pool.map(later, [1]), Iterator[int])
