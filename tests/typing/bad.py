"""What a user's type checker must refuse: each ignore below is an error that mypy finds.

``warn_unused_ignores`` turns each that it does not find into an error of its own. Checked by mypy, never run.
"""

from datetime import timedelta

from windlass import App, Call, Job, Step
from windlass.testing import Harness

app = App("memory://")


@app.task
async def send(to: str, body: str) -> int:
    return 1


@app.task(queue="reports")
def report(day: int) -> str:
    return ""


async def wrong_arguments() -> None:
    await send.enqueue(1, "b")  # type: ignore[arg-type]
    await send.enqueue("a")  # type: ignore[call-arg]
    await send.enqueue("a", "b", "c")  # type: ignore[call-arg]
    await send.enqueue("a", text="b")  # type: ignore[call-arg]
    await send.options(priority=9).enqueue("a", 5)  # type: ignore[arg-type]
    send.enqueue_sync(None, "b")  # type: ignore[arg-type]
    send.bind(b"a", "b")  # type: ignore[arg-type]
    report.bind("2026")  # type: ignore[arg-type]
    await send(1, "b")  # type: ignore[arg-type]


async def wrong_use_of_results() -> None:
    job = await send.enqueue("a", "b")
    result = await job.result()
    result.upper()  # type: ignore[attr-defined]
    text: str = await job.result()  # type: ignore[assignment]
    number: int = job.result_sync() + "1"  # type: ignore[operator]
    other: Job[str] = job  # type: ignore[assignment]
    await job.result(timeout="10")  # type: ignore[arg-type]
    job.result() + 1  # type: ignore[operator]  # forgot to await
    print(text, number, other)  # noqa: T201


async def wrong_options() -> None:
    send.options(priority="high")  # type: ignore[arg-type]
    send.options(colour="red")  # type: ignore[call-arg]
    send.options(9)  # type: ignore[call-arg, arg-type]
    send.options(at=timedelta(1))  # type: ignore[arg-type]
    send.options(on_conflict="ignore")  # type: ignore[arg-type]
    send.options(retry=3)  # type: ignore[arg-type]


async def wrong_calls() -> None:
    strings: list[Call[str]] = [send.bind("a", "b")]  # type: ignore[list-item]
    await app.enqueue_many([send])  # type: ignore[arg-type]
    await app.enqueue_many([await send.enqueue("a", "b")])  # type: ignore[arg-type]
    jobs: list[Job[str]] = await app.enqueue_many([send.bind("a", "b")])  # type: ignore[list-item]
    app.enqueue_many([send.bind("a", "b")]).append(1)  # type: ignore[attr-defined]  # forgot to await
    print(strings, jobs)  # noqa: T201


async def wrong_limits() -> None:
    await app.set_limit("mail", concurrency=5)  # type: ignore[call-arg]
    await app.set_limit(queue="mail", concurrency="5")  # type: ignore[arg-type]
    await app.set_limit(queue="mail", rate=10)  # type: ignore[arg-type]
    app.set_limit_sync(task=send.bind("a", "b"), concurrency=1)  # type: ignore[arg-type]


def wrong_registration() -> None:
    app.task(limit_by=send)  # type: ignore[call-overload]
    app.task(queue=5)  # type: ignore[call-overload]
    app.task(executor="fork")  # type: ignore[call-overload]
    app.worker(children=4)  # type: ignore[arg-type]
    app.task("mail")  # type: ignore[call-overload]
    App(5)  # type: ignore[arg-type]


async def wrong_expectations(harness: Harness) -> None:
    harness.assert_enqueued(send, 1, "b")  # type: ignore[call-overload]
    harness.assert_enqueued(send, "a")  # type: ignore[call-overload]
    harness.assert_enqueued(send, "a", "b", queue="mail")  # type: ignore[call-arg]
    harness.assert_not_enqueued(report, "2026")  # type: ignore[call-overload]
    harness.enqueued("send")  # type: ignore[call-overload]
    await harness.run_for(1)  # type: ignore[call-arg]
    await harness.run_for(weeks=1)  # type: ignore[call-arg]
    harness.crash_after(5)  # type: ignore[arg-type]
    Harness("tasks:app")  # type: ignore[arg-type]


@app.workflow
def flow(day: str) -> Step[int]:
    return send.step("a", "b")


async def wrong_use_of_workflows() -> None:
    await flow.start(5)  # type: ignore[arg-type]
    run = await flow.start("today")
    (await run.result()).upper()  # type: ignore[attr-defined]
    send.options(needs="all")  # type: ignore[arg-type]
    report.map([1]).result()  # type: ignore[attr-defined]


def wrong_use_of_functions() -> None:
    App(signing_key=5)  # type: ignore[arg-type]
    app.map(3, [1])  # type: ignore[call-overload]
    app.reduce_sync(len)  # type: ignore[call-overload]
    with app.executor() as pool:
        pool.submit(abs)  # type: ignore[call-overload]
        pool.submit(send, "a")  # type: ignore[call-overload]
        pool.submit(report, 1).result().bit_length()  # type: ignore[attr-defined]
