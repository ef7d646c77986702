"""A harness runs jobs as a worker would, and says what became of them."""

import asyncio
import gc
import threading
import weakref
from datetime import datetime

import pytest
from msgspec.structs import replace

from windlass import (
    App,
    BlockingCallInLoop,
    Current,
    Dead,
    InvalidOption,
    JobNotFound,
    Middleware,
    RemoteError,
    ResultTimeout,
    Retry,
    RetryLater,
    Snooze,
    UsageError,
    blocking,
    current,
)
from windlass.core.ids import new_id
from windlass.core.model import Enqueued, NewJob, Parent
from windlass.testing import Harness, NothingRuns

app = App("sqlite:////nowhere/at/all.db", result_ttl=600)


class Custom(Exception):
    pass


@app.task
async def double(number: int) -> int:
    await asyncio.sleep(0)
    return 2 * number


@app.task
def thread_of() -> str:
    return threading.current_thread().name


@app.task
async def when(at: datetime) -> str:
    return type(at).__name__


@app.task
async def parent(number: int) -> None:
    for child in range(number):
        await double.enqueue(child)


@app.task
async def endless() -> None:
    await endless.enqueue()


@app.task(retry={OSError: Retry(attempts=3, delay=60)}, errors=[Custom])
async def ends_with(how: str) -> None:
    errors: dict[str, BaseException] = {
        "value": ValueError("of the task"),
        "os": OSError("away"),
        "dead": Dead("given up"),
        "custom": Custom("own"),
        "exit": SystemExit(3),
        "snooze": Snooze(60),
        "later": RetryLater(10),
        "cancelled": asyncio.CancelledError(),
    }
    raise errors[how]


@app.task
async def unencodable():  # type: ignore[no-untyped-def]
    return object()


@app.task
async def waits_for(number: int) -> int:
    return await (await double.enqueue(number)).result()


@app.task(timeout=0.05)
async def hangs() -> None:
    await asyncio.Event().wait()


@app.task(timeout=0.05)
def hangs_in_a_thread() -> bool:
    return current().wait_cancelled(10)


@app.task
async def notes() -> None:
    current().progress(0.25, "begun")
    current().progress(0.5)
    current().log("one")
    current().log("two")


# ------------------------------------------------------------------------------------------------ a run


async def test_runs_what_is_ready_and_what_becomes_ready_by_that() -> None:
    with Harness(app) as harness:
        job = await double.enqueue(4)
        await parent.enqueue(2)
        await double.options(delay=60).enqueue(5)
        ran = await harness.run()
        assert [one.task.rpartition(".")[2] for one in ran] == ["double", "parent", "double", "double"]
        assert {one.outcome for one in ran} == {"succeeded"}
        assert await job.result() == 8
        assert await harness.run() == []
        assert harness.attempts == ran


async def test_arguments_travel_as_they_do_in_production() -> None:
    with Harness(app) as harness:
        job = await when.enqueue(datetime(2026, 1, 2))  # noqa: DTZ001 - naive, as the caller gave it
        await harness.run()
        assert await job.result() == "datetime"


async def test_dependants_run_after_their_parent_however_many() -> None:
    parent = NewJob(id=new_id(), task=double.name, payload=b'{"number":1}')
    children = [replace(parent, id=new_id(), parents=(Parent(parent.id),)) for _ in range(300)]
    with Harness(app) as harness:
        store = await app.store()
        await store.enqueue([parent, *children], first_sent=await store.now())
        assert len(await harness.run()) == 301


async def test_no_session_is_left_open() -> None:
    with Harness(app) as harness:
        await double.enqueue(1)
        await harness.run()
        await harness.run()
        assert await (await app.store()).sessions() == []


async def test_order_is_priority_then_first_in() -> None:
    with Harness(app) as harness:
        for number, priority in enumerate([5, 9, 5, 0]):
            await double.options(priority=priority).enqueue(number)
        ran = await harness.run()
        assert [await one.job.result() for one in ran] == [2, 0, 4, 6]


async def test_queues_can_be_run_alone() -> None:
    with Harness(app) as harness:
        await double.options(queue="mail").enqueue(1)
        await double.options(queue="other").enqueue(2)
        assert len(await harness.run(queues=["mail"])) == 1
        assert len(await harness.run()) == 1
        with pytest.raises(InvalidOption, match=r"such as \['mail'\]"):
            await harness.run(queues="mail")


async def test_more_queues_than_one_claim_may_name() -> None:
    with Harness(app) as harness:
        await app.enqueue_many(double.options(queue=f"q{number}").bind(number) for number in range(150))
        assert len(await harness.run()) == 150


async def test_a_paused_queue_is_left_alone() -> None:
    from windlass.core.records import LimitScope

    with Harness(app) as harness:
        store = await app.store()
        await store.pause(LimitScope.QUEUE, "default", paused=True)
        await double.enqueue(1)
        assert await harness.run() == []
        await store.pause(LimitScope.QUEUE, "default", paused=False)
        assert len(await harness.run()) == 1


async def test_a_function_runs_in_another_thread() -> None:
    with Harness(app) as harness:
        job = await thread_of.enqueue()
        await harness.run()
        assert await job.result() != threading.current_thread().name


async def test_an_attempt_has_its_notes_and_its_context() -> None:
    with Harness(app) as harness:
        job = await notes.enqueue()
        await harness.run()
        info = await job.info()
        assert (info.progress, info.message, info.log) == (0.5, "begun", "one\ntwo\n")
        with pytest.raises(UsageError, match="outside of a running task"):
            current()


async def test_a_job_that_enqueues_itself_for_ever_is_stopped() -> None:
    with Harness(app, max_steps=50) as harness:
        await endless.enqueue()
        with pytest.raises(UsageError, match=r"made 50 steps.*endless #1 succeeded.*does a job enqueue itself"):
            await harness.run()


async def test_a_run_that_is_cancelled_gives_its_job_back() -> None:
    started = asyncio.Event()
    ended = asyncio.Event()
    other = App("memory://")

    @other.task(name="slow")
    async def slow() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    with Harness(other) as harness:
        job = await slow.enqueue()
        run = asyncio.create_task(harness.run())
        await started.wait()
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        assert ended.is_set()
        assert await job.status() == "ready"
        assert [one.outcome for one in harness.attempts] == ["released"]


# ------------------------------------------------------------------------------------------------ ends


async def test_what_killed_a_job_is_raised_itself() -> None:
    with Harness(app) as harness:
        job = await ends_with.enqueue("value")
        after = await double.enqueue(1)
        with pytest.raises(ValueError, match="of the task") as raised:
            await harness.run()
        assert raised.value.__notes__ == [
            f"job {job.id} of task '{ends_with.name}' died of this in attempt 1, run by windlass.testing"
        ]
        assert raised.traceback[-1].name == "ends_with"
        assert await job.status() == "dead"
        assert await after.result() == 2
        assert await harness.run() == []


@pytest.mark.parametrize(("how", "kind"), [("dead", Dead), ("custom", Custom)])
async def test_directives_and_own_exceptions_are_raised_as_they_are(how: str, kind: type[Exception]) -> None:
    with Harness(app) as harness:
        await ends_with.enqueue(how)
        with pytest.raises(kind) as raised:
            await harness.run()
        assert type(raised.value) is kind


@pytest.mark.parametrize("how", ["exit", "cancelled"])
async def test_what_would_end_more_than_the_test_is_raised_as_its_record(how: str) -> None:
    with Harness(app) as harness:
        await ends_with.enqueue(how)
        with pytest.raises(RemoteError, match=r"SystemExit: 3|CancelledError") as raised:
            await harness.run()
        assert isinstance(raised.value.__cause__, (SystemExit, asyncio.CancelledError))


async def test_a_result_that_cannot_travel_is_raised() -> None:
    with Harness(app) as harness:
        await unencodable.enqueue()
        with pytest.raises(RemoteError, match="JSON cannot say a `object`"):
            await harness.run()


async def test_of_several_deaths_all_are_told() -> None:
    with Harness(app) as harness:
        await ends_with.enqueue("value")
        await ends_with.enqueue("dead")
        with pytest.raises(ValueError, match="of the task") as raised:
            await harness.run()
        assert raised.value.__notes__[-1] == "another job died as well: Dead: given up"


async def test_without_raising_deaths_are_in_the_records() -> None:
    with Harness(app, raising=False) as harness:
        await ends_with.enqueue("value")
        (record,) = await harness.run()
        assert record.outcome == "dead"
        assert str(record) == "#1 dead (ValueError: of the task)"


@pytest.mark.parametrize(
    ("how", "outcome"), [("os", "retry"), ("later", "retry"), ("snooze", "snoozed")], ids=lambda value: value
)
async def test_what_will_be_run_again_raises_nothing(how: str, outcome: str) -> None:
    with Harness(app) as harness:
        job = await ends_with.enqueue(how)
        assert [one.outcome for one in await harness.run()] == [outcome]
        assert await job.status() == "scheduled"


@pytest.mark.parametrize("task", [hangs, hangs_in_a_thread], ids=["coroutine", "function"])
async def test_timeouts_hold_in_real_time(task: object) -> None:
    assert task in (hangs, hangs_in_a_thread)
    with Harness(app) as harness:
        await task.enqueue()  # type: ignore[attr-defined]
        with pytest.raises(TimeoutError, match=r"longer than its timeout of 0.05 s"):
            await harness.run()


async def test_a_job_that_is_cancelled_before_it_runs() -> None:
    with Harness(app) as harness:
        job = await double.enqueue(1)
        await job.cancel()
        assert await harness.run() == []
        assert await job.status() == "cancelled"


async def test_undeliverable_jobs_are_put_back_and_dead_after_an_hour() -> None:
    with Harness(app) as harness:
        store = await app.store()
        new = NewJob(id=new_id(), task="nobody.knows", payload=b'{"a":1}')
        answer = await store.enqueue([new], first_sent=await store.now())
        assert answer.jobs[0].status is Enqueued.STORED
        assert [one.outcome for one in await harness.run()] == ["undeliverable"]
        assert [repr(one) for one in harness.enqueued()] == ["nobody.knows(a=1)"]
        with pytest.raises(Exception, match="not registered with this app"):
            await harness.run_until_idle()


# ------------------------------------------------------------------------------------------- middleware


async def test_middleware_is_called() -> None:
    heard: list[str] = []

    class Hears(Middleware):
        def enqueue(self, task: str, headers: dict[str, str]) -> None:
            headers["trace"] = "7"

        def before(self, attempt: Current, headers: dict[str, str]) -> None:
            heard.append(f"before {headers['trace']}")

        def after(self, attempt: Current, error: BaseException | None) -> None:
            heard.append(f"after {error!r}")
            raise RuntimeError("is logged")

    other = App("memory://", middleware=[Hears()])

    @other.task(name="t")
    async def t() -> None: ...

    with Harness(other) as harness:
        await t.enqueue()
        await harness.run()
    assert heard == ["before 7", "after None"]


# ---------------------------------------------------------------------------------------- waiting in vain


async def test_waiting_for_what_nobody_runs_says_what_to_do() -> None:
    with Harness(app) as harness:
        job = await double.enqueue(1)
        with pytest.raises(NothingRuns, match=r"is ready, and nothing runs it: await harness.run\(\)"):
            await job.result()
        later = await double.options(delay=7200).enqueue(1)
        with pytest.raises(ResultTimeout, match=r"is due in 7.*run_for\(hours=2\)"):
            await later.result(timeout=5)
        failed = await ends_with.enqueue("os")
        await harness.run()
        with pytest.raises(NothingRuns, match=r"after attempt 1 failed \(OSError: away\): await harness.run_for\(sec"):
            await failed.result()
        with pytest.raises(NothingRuns, match=r"is due in"):  # again, after many looks of the same waiter
            await failed.result()
        with pytest.raises(JobNotFound):
            await app.job("0198c5a6-0000-7000-8000-000000000000").result()


async def test_a_wait_beside_a_run_is_no_wait_in_vain() -> None:
    with Harness(app) as harness:
        job = await double.enqueue(3)

        async def run_soon() -> None:
            await harness.run()

        _, result = await asyncio.gather(run_soon(), job.result(timeout=5))
        assert result == 6


async def test_a_job_that_waits_for_another_needs_a_real_worker() -> None:
    with Harness(app) as harness:
        await waits_for.enqueue(2)
        with pytest.raises(NothingRuns, match=r"a job waits for job .*double.*async with app.worker\(\)"):
            await harness.run()


async def test_a_real_worker_works_in_a_harness() -> None:
    with Harness(app) as harness:
        async with app.worker(concurrency=2):
            job = await waits_for.enqueue(2)
            assert await job.result(timeout=10) == 4
        assert harness.attempts == []
        harness.assert_enqueued(waits_for, 2)
        job = await double.enqueue(3)
        with pytest.raises(NothingRuns):
            await job.result()


async def test_a_real_worker_hears_that_time_has_passed() -> None:
    patient = App("memory://", lease=600)  # it looks for itself every two minutes only

    @patient.task(name="t")
    async def t() -> int:
        return 1

    with Harness(patient) as harness:
        async with patient.worker():
            later = await t.options(delay=3600).enqueue()
            for _ in range(3):  # meanwhile it has looked when the next one is due, and has gone to sleep
                await (await t.enqueue()).result(timeout=10)
            harness.clock.advance(hours=1)
            assert await later.result(timeout=30) == 1


# --------------------------------------------------------------------------------------------- the block


async def test_the_app_is_as_before_afterwards(tmp_path: object) -> None:
    own = App(f"sqlite:///{tmp_path}/own.db")

    @own.task(name="t")
    async def t() -> int:
        return 1

    async with own:
        before = await t.enqueue()
        with Harness(own) as harness:
            assert repr(own) == "<App memory://, 1 tasks>"
            inside = await t.enqueue()
            await harness.run()
            assert await inside.result() == 1
            with pytest.raises(JobNotFound):
                await before.info()
            store = own.new_store()
            assert store.url == "memory://"
            await store.aclose()
        assert "own.db" in own.url
        assert await before.status() == "ready"
        with pytest.raises(JobNotFound):
            await inside.info()


async def test_each_harness_is_empty() -> None:
    for _ in range(2):
        with Harness(app) as harness:
            await double.options(unique="once").enqueue(1)
            assert len(harness.enqueued()) == 1


async def test_nothing_stays_behind() -> None:
    with Harness(app):
        here = weakref.ref(await app.store())
        there = weakref.ref(await asyncio.to_thread(blocking.run, app.store))
    for _ in range(1000):
        gc.collect()
        if here() is None and there() is None:
            return
        await asyncio.sleep(0)
    pytest.fail("a store of the harness is still there")


async def test_the_app_is_restored_after_an_error() -> None:
    with pytest.raises(ZeroDivisionError), Harness(app):
        1 / 0  # noqa: B018
    assert "nowhere" in app.url
    with Harness(app):
        pass


async def test_wrong_use() -> None:
    with pytest.raises(InvalidOption, match="expected your App, got str"):
        Harness("tasks:app")  # type: ignore[arg-type]
    harness = Harness(app)
    with pytest.raises(UsageError, match="within its block only"):
        await harness.run()
    with harness:
        with pytest.raises(UsageError, match="is in a harness already"), Harness(app):
            pass
        with pytest.raises(BlockingCallInLoop, match=r"await harness.run\(\)"):
            harness.run_sync()
        await double.enqueue(1)
    with pytest.raises(UsageError, match="has been used"), harness:
        pass


def test_without_a_loop() -> None:
    with Harness(app) as harness:
        run = harness.run()
        with pytest.raises(UsageError, match="anyio_backend to 'asyncio'"):
            run.send(None)
