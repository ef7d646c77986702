"""Workflows at work, on every store: what runs, with which results, and what a run says of itself."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.integration.engine_harness import eventually
from windlass import (
    App,
    Dead,
    Every,
    InvalidArguments,
    InvalidOption,
    InvalidResult,
    JobCancelled,
    JobNotFound,
    MappedStep,
    RemoteError,
    ResultTimeout,
    Retry,
    UsageError,
    current,
)
from windlass.choices import NONE
from windlass.core.clock import HOUR, MINUTE
from windlass.core.ids import Family, from_text, new_id, new_run_id
from windlass.core.lifecycle import State
from windlass.core.model import ClaimRequest, Lane, NewJob, Session
from windlass.engine.paused_runs import PausedRuns
from windlass.store.port import Store
from windlass.workflows.run import Run
from windlass.workflows.running import store_run
from windlass.workflows.step import Step

WAIT = 20.0


@pytest.fixture(params=["memory", "sqlite", "redis", "postgres"])
async def app(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[App]:
    """An app on a store of its own."""
    made = App(url_of(request, tmp_path))
    add_tasks(made)
    yield made
    await made.aclose()


def url_of(request: pytest.FixtureRequest, folder: Path) -> str:
    """An empty store of the kind that the fixture is for."""
    if request.param == "memory":
        return f"memory://{uuid.uuid4().hex}"
    if request.param == "sqlite":
        return f"sqlite:///{folder}/w.db"
    if request.param == "redis":
        redis = request.getfixturevalue("redis_url")
        return f"redis://{redis.host}:{redis.port}/0?namespace={redis.namespace}"
    database = request.getfixturevalue("postgres_database")
    database.store()
    return str(database.url)


def add_tasks(app: App) -> None:
    """Tasks that the tests put together."""

    @app.task(name="number")
    async def number(n: int) -> int:
        return n

    @app.task(name="numbers")
    async def numbers(n: int) -> list[int]:
        return list(range(n))

    @app.task(name="double", executor="thread")
    def double(n: int) -> int:
        return 2 * n

    @app.task(name="add")
    async def add(a: int, b: int) -> int:
        return a + b

    @app.task(name="total")
    async def total(numbers: list[int]) -> int:
        return sum(numbers)

    @app.task(name="fail")
    async def fail(n: int = 0) -> int:
        raise ValueError(f"no {n}")

    @app.task(name="whatever")
    async def whatever(value: Any = None) -> Any:
        return value

    @app.task(name="odd")
    async def odd(n: int) -> int:
        if n % 2 == 0 and n not in mended:
            raise ValueError(f"{n} is even")
        return n


mended: set[int] = set()


def task(app: App, name: str) -> Any:
    return app.find_task(name)


async def outcome(app: App, function: Any, *args: Any) -> Any:
    """Run a workflow to its end."""
    workflow = app.workflow(name=f"flow-{len(app.workflows)}")(function)
    async with app.worker(concurrency=10):
        run = await workflow.start(*args)
        return await run.result(timeout=WAIT)


async def ended(app: App, function: Any) -> Run[Any]:
    """Run a workflow to its end, however it ends."""
    workflow = app.workflow(name=f"flow-{len(app.workflows)}")(function)
    async with app.worker(concurrency=10):
        run = await workflow.start()
        await eventually(lambda: all_ended(run))
        return run


async def has_ended(run: Run[Any]) -> bool:
    return await run.status() not in ("starting", "running")


async def statuses(run: Run[Any]) -> dict[str, str]:
    return {step.name: step.status for step in await run.steps()}


# ------------------------------------------------------------------------------------------------------ results


async def test_results_are_passed_on_wherever_they_stand(app: App) -> None:
    number, double, add, total, whatever = (task(app, n) for n in ("number", "double", "add", "total", "whatever"))

    def flow(n: int) -> Any:
        one, two = number.step(n), double.step(n)
        both = add.step(one, b=two)
        return {
            "both": both,
            "total": total.step([one, two, both, 4]),
            "deep": whatever.step({"a": [one, {"b": two}], "c": "x"}),
            "plain": n,
        }

    assert await outcome(app, flow, 5) == {
        "both": 15,
        "total": 34,
        "deep": {"a": [5, {"b": 10}], "c": "x"},
        "plain": 5,
    }


async def test_results_have_the_types_of_the_workflows_return_hint(app: App) -> None:
    double = task(app, "double")

    def flow() -> list[Step[int]]:
        return [double.step(n) for n in range(3)]

    def mapped() -> MappedStep[int]:
        return double.map(range(3))

    assert await outcome(app, flow) == [0, 2, 4]
    assert await outcome(app, mapped) == [0, 2, 4]


async def test_a_step_that_was_omitted_is_none_whatever_the_return_hint(app: App) -> None:
    number, double = task(app, "number"), task(app, "double")

    def omitted() -> Step[int]:
        return double.options(when=number.step(0)).step(1)

    def some() -> Sequence[Step[int]]:
        return [double.options(unless=number.step(n)).step(n) for n in range(2)]

    def perhaps(n: int) -> Step[int] | None:
        return double.step(n) if n else None

    assert await outcome(app, omitted) is None
    assert await outcome(app, some) == [0, None]
    assert [await outcome(app, perhaps, n) for n in range(2)] == [None, 2]


async def test_a_result_that_does_not_fit_the_return_hint_says_so(app: App) -> None:
    def flow() -> int:
        return task(app, "numbers").step(2)

    with pytest.raises(InvalidResult, match="does not fit the workflow's return hint: Expected `int`, got `array`"):
        await outcome(app, flow)


async def test_a_workflow_without_steps_ends(app: App) -> None:
    assert await outcome(app, lambda: None) is None
    assert await outcome(app, lambda: "constant") == "constant"


@pytest.mark.parametrize("count", [0, 1, 7, 450])
async def test_a_map_over_what_is_known_at_run_time_only(app: App, count: int) -> None:
    numbers, double, total, add = (task(app, n) for n in ("numbers", "double", "total", "add"))

    def flow(n: int) -> Any:
        doubled = double.map(numbers.step(n))
        again = add.map(doubled, doubled)
        shifted = add.map(doubled, b=total.step(doubled))
        return [total.step(doubled), total.step(again), total.step(shifted)]

    doubled = [2 * n for n in range(count)]
    shifted = [n + sum(doubled) for n in doubled]
    assert await outcome(app, flow, count) == [sum(doubled), 2 * sum(doubled), sum(shifted)]


async def test_starmap_spreads_lists_and_objects(app: App) -> None:
    add, whatever = task(app, "add"), task(app, "whatever")

    def flow() -> Any:
        return [
            add.starmap([[1, 2], (3, 4), {"b": 5, "a": 6}]),
            add.starmap(whatever.step([[1, 2], {"a": 3, "b": 4}])),
            add.starmap(whatever.step([[1], {"a": 3}]), b=10),
        ]

    assert await outcome(app, flow) == [[3, 7, 11], [3, 7], [11, 13]]


async def test_what_an_item_of_a_starmap_leaves_out_has_its_default(app: App) -> None:
    whatever = task(app, "whatever")

    @app.task(name="three")
    async def three(a: int, b: int = 5, c: int | None = 7) -> Any:
        return [a, b, c]

    def flow() -> Any:
        return [
            three.starmap([[1], {"a": 2, "c": 3}]),
            three.starmap(whatever.step([[1], {"a": 2, "c": 3}])),
            three.starmap([[1]], b=9),
        ]

    assert await outcome(app, flow) == [[[1, 5, 7], [2, 5, 3]], [[1, 5, 7], [2, 5, 3]], [[1, 9, 7]]]


@pytest.mark.parametrize(
    ("item", "why"), [([1], "argument `b`: it is missing"), ({"a": 1, "b": 2, "z": 3}, "no parameter 'z'")]
)
async def test_an_item_that_does_not_fit_its_task_fails_the_run_at_once(app: App, item: Any, why: str) -> None:
    add, whatever = task(app, "add"), task(app, "whatever")
    with pytest.raises(TypeError, match=why):
        await outcome(app, lambda: add.starmap(whatever.step([[3, 4], item])))


async def test_order_only_edges_hold(app: App) -> None:
    said: list[int] = []

    @app.task(name="say")
    async def say(n: int) -> None:
        said.append(n)

    def flow() -> None:
        last = None
        for n in range(5):
            last = say.options(after=last).step(n)
        say.step(-1).after(last)

    await outcome(app, flow)
    assert said == [0, 1, 2, 3, 4, -1]


# ----------------------------------------------------------------------------------------------------- branches


async def test_a_branch_that_is_not_taken_is_omitted_with_what_takes_its_result(app: App) -> None:
    number, add, whatever = task(app, "number"), task(app, "add"), task(app, "whatever")

    def flow() -> Any:
        choice = whatever.step("a")
        one = number.options(when=choice.equals("a"), step_name="one").step(1)
        two = number.options(when=choice.equals("b"), step_name="two").step(2)
        behind = add.options(step_name="behind").step(two, 1)
        more = add.options(step_name="more").step(behind, 1)
        join = whatever.options(needs="done", step_name="join").step([one, two, more])
        number.options(unless=choice, step_name="never").step(3)
        return [one, two, join]

    run = await ended(app, flow)
    assert await run.result(timeout=0) == [1, None, [1, None, None]]
    assert await statuses(run) == {
        "whatever": "succeeded",
        "one": "succeeded",
        "two": "omitted",
        "behind": "omitted",
        "more": "omitted",
        "join": "succeeded",
        "never": "omitted",
    }


async def test_a_map_can_be_omitted(app: App) -> None:
    whatever, double, total = task(app, "whatever"), task(app, "double"), task(app, "total")

    def flow() -> Any:
        mapped = double.options(when=whatever.step(False)).map([1, 2])
        return [mapped, total.step(mapped)]

    assert await outcome(app, flow) == [None, None]


# ----------------------------------------------------------------------------------------------------- failures


async def test_a_failed_step_fails_the_run_and_says_why(app: App) -> None:
    number, fail, add = task(app, "number"), task(app, "fail"), task(app, "add")

    def flow() -> Any:
        other = number.options(step_name="other").step(1)
        return add.step(fail.step(7), other)

    run = await ended(app, flow)
    assert await run.status() == "failed"
    assert await statuses(run) == {"other": "succeeded", "fail": "dead", "add": "cancelled"}
    with pytest.raises(ValueError, match="no 7") as raised:
        await run.result()
    assert any("step 'fail' died of ValueError: no 7" in note for note in raised.value.__notes__)


async def test_a_failed_item_of_a_map_is_named(app: App) -> None:
    odd, total = task(app, "odd"), task(app, "total")
    run = await ended(app, lambda: total.step(odd.map([1, 3, 10, 5])))
    assert await statuses(run) == {"odd": "dead", "total": "cancelled"}
    with pytest.raises(ValueError, match="10 is even") as raised:
        await run.result()
    assert any("step 'odd', item 2 died" in note for note in raised.value.__notes__)
    assert {one.name: one.items for one in await run.steps()}["odd"] == {"succeeded": 3, "dead": 1}


async def test_steps_see_to_failures_that_they_ask_for(app: App) -> None:
    fail, whatever, number = task(app, "fail"), task(app, "whatever"), task(app, "number")

    def flow() -> Any:
        broken = fail.step(1)
        handled = whatever.options(needs="failed", step_name="handled").step(["handled", broken])
        always = whatever.options(needs="done", step_name="always").step([broken, "done"])
        fine = number.step(1)
        idle = whatever.options(needs="failed", step_name="idle").step(fine)
        whatever.options(step_name="behind idle").step(idle)
        return [handled, always, fine]

    run = await ended(app, flow)
    assert await run.status() == "succeeded"
    assert await run.result() == [["handled", None], [None, "done"], 1]
    assert (await statuses(run))["idle"] == "cancelled"


async def test_a_failure_beside_a_handled_one_still_counts(app: App) -> None:
    fail, whatever = task(app, "fail"), task(app, "whatever")

    def flow() -> None:
        broken = fail.options(step_name="first").step(1)
        whatever.options(needs="done").step(broken)
        fail.options(step_name="second").step(2)

    run = await ended(app, flow)
    with pytest.raises(ValueError, match="no 2"):
        await run.result()


async def test_a_result_that_does_not_fit_ends_the_step_at_once(app: App) -> None:
    whatever, double = task(app, "whatever"), task(app, "double")
    run = await ended(app, lambda: double.step(whatever.step("text")))
    with pytest.raises(TypeError, match="argument `n`: expected `int`, got `str`"):
        await run.result()
    run = await ended(app, lambda: double.map(whatever.step([1, "text"])))
    with pytest.raises(TypeError, match="argument `n`: expected `int`, got `str`"):
        await run.result()


async def test_lists_of_different_lengths_cannot_be_mapped_together(app: App) -> None:
    numbers, add = task(app, "numbers"), task(app, "add")
    run = await ended(app, lambda: add.map(numbers.step(2), numbers.step(3)))
    with pytest.raises(Exception, match="different lengths: 2, 3"):
        await run.result()


async def test_a_second_trace_that_differs_ends_the_run(app: App) -> None:
    number = task(app, "number")
    traces = 0

    def flow() -> None:
        nonlocal traces
        traces += 1
        number.step(traces)

    workflow = app.workflow(name="flow")(flow)
    run = await workflow.start()
    store = await app.store()
    plan = workflow.plan()
    await store_run(app._client, from_text(run.id), plan, NONE, again=False)
    with pytest.raises(Dead, match="traced a second time, after a crash, and differed"):
        await store_run(app._client, from_text(run.id), workflow.plan(), NONE, again=True)
    assert await store.get_jobs([Family(from_text(run.id)).id(2)]) == [None]


async def test_a_run_ends_in_the_queue_in_which_it_starts_and_is_kept_as_it_says(app: App) -> None:
    number = task(app, "number").options(queue="runs")
    workflow = app.workflow(name="flow", queue="runs", priority=7, result_ttl=3600)(lambda: number.step(1))
    async with app.worker(["runs"]):
        run = await workflow.start()
        await run.result(timeout=WAIT)
    family = Family(from_text(run.id))
    start, end = await (await app.store()).get_jobs([from_text(run.id), family.id(0)])
    assert start is not None
    assert end is not None
    assert (end.queue, end.priority) == (start.queue, start.priority) == ("runs", 7)
    for job in (start, end):
        assert job.purge_at is not None
        assert job.finished_at is not None
        assert HOUR <= job.purge_at - job.finished_at <= HOUR + MINUTE


async def test_an_omitted_step_is_kept_as_its_task_says(app: App) -> None:
    @app.task(name="brief", result_ttl=3600)
    async def brief(n: int) -> int:
        return n

    run = await ended(app, lambda: brief.options(when=task(app, "whatever").step(None)).step(1))
    job = await run.step("brief")
    [record] = await (await app.store()).get_jobs([from_text(job.id)])
    assert record is not None
    assert record.purge_at is not None
    assert record.finished_at is not None
    assert HOUR <= record.purge_at - record.finished_at <= HOUR + MINUTE


async def test_workflows_can_be_declared_after_something_was_mapped(app: App) -> None:
    async with app.worker():
        assert [n async for n in app.amap(task(app, "double"), [1, 2])] == [2, 4]
    assert await outcome(app, lambda: task(app, "double").map([1])) == [2]


@pytest.mark.parametrize(
    "inputs",
    [
        b"[[[],[[1,1]]]]",
        b'[[["a"],[[1,100000000000000000000000]]]]',
        b'[[["a"],[[1,100000000000000000000000],[5,-100000000000000000000000]]]]',
        b'[[["a"],[[5,1]]]]',
        b'[[["a"],[[-5,-5]],"items"]]',
        b'[[["a","b",3],[[1,1]]]]',
    ],
)
async def test_options_that_no_run_has_made_end_their_job_and_nothing_else(app: App, inputs: bytes) -> None:
    hostile = b'{"step":{"run":"AAAA","number":1,"name":"x","inputs":%s}}' % inputs
    store = await app.store()
    new = NewJob(id=new_id(), task="add", payload=b'{"a":1,"b":2}', options=hostile)
    async with app.worker():
        await store.enqueue([new], first_sent=await store.now())
        await eventually(lambda: is_dead(store, new.id))
        job = await task(app, "add").enqueue(1, 2)
        assert await job.result(timeout=WAIT) == 3


async def is_dead(store: Store, job_id: bytes) -> bool:
    [job] = await store.get_jobs([job_id])
    return job is not None and job.state is State.DEAD


async def test_steps_are_retried_as_their_options_say(app: App) -> None:
    @app.task(name="third")
    async def third() -> int:
        if current().attempt < 3:
            raise ValueError
        return current().attempt

    assert await outcome(app, lambda: third.options(retry=Retry(attempts=3, delay=0)).step()) == 3


# ------------------------------------------------------------------------------------------------------- acting


async def test_retry_goes_on_from_what_failed(app: App) -> None:
    mended.clear()
    numbers, odd, total, add = (task(app, n) for n in ("numbers", "odd", "total", "add"))
    ran: list[int] = []

    @app.task(name="once")
    async def once(n: int) -> int:
        ran.append(n)
        return n

    def flow() -> Any:
        return add.step(total.step(odd.map(numbers.step(4))), once.step(100))

    run = await ended(app, flow)
    assert await run.status() == "failed"
    mended.update({0, 2})
    async with app.worker():
        assert await run.retry() == 4  # two items, and the two steps behind them
        assert await run.result(timeout=WAIT) == 106
    assert ran == [100]
    assert await run.status() == "succeeded"
    with pytest.raises(UsageError, match="nothing in it has failed"):
        await run.retry()


async def test_one_item_can_be_retried(app: App) -> None:
    mended.clear()
    odd, total = task(app, "odd"), task(app, "total")
    run = await ended(app, lambda: total.step(odd.map([1, 2, 4])))
    mended.add(2)
    async with app.worker():
        assert await run.retry("odd", 1) == 1  # what is behind it would wait for the other one
        item = await run.item("odd", 1)
        assert await item.result(timeout=WAIT) == 2
        await eventually(lambda: has_ended(run))
        assert await run.status() == "failed"
        mended.add(4)
        assert await run.retry("odd", 2) == 2
        assert await run.result(timeout=WAIT) == 7
    with pytest.raises(UsageError, match="no item 3"):
        await run.item("odd", 3)


async def test_one_step_can_be_retried(app: App) -> None:
    """Of two that failed, one, with what is behind it alone; what is behind both stays as it is."""
    mended.clear()
    odd, total, add = task(app, "odd"), task(app, "total"), task(app, "add")

    def flow() -> Any:
        left = total.options(step_name="left").step([odd.options(step_name="first").step(2)])
        right = total.options(step_name="right").step(odd.options(step_name="second").map([4]))
        return add.options(step_name="both").step(left, right)

    run = await ended(app, flow)
    with pytest.raises(UsageError, match="'left' has not failed"):
        await run.retry("left")
    with pytest.raises(UsageError, match="of which step"):
        await run.retry(item=1)
    with pytest.raises(UsageError, match="no step 'third'"):
        await run.retry("third")
    mended.update({2, 4})
    async with app.worker():
        assert await run.retry("first") == 2
        assert await (await run.step("left")).result(timeout=WAIT) == 2
        await eventually(lambda: has_ended(run))
        states = {step.name: step.status for step in await run.steps()}
        assert (states["second"], states["right"], states["both"]) == ("dead", "cancelled", "cancelled")
        with pytest.raises(UsageError, match="'first' has not failed"):
            await run.retry("first")
        assert await run.retry("second") == 3
        assert await run.result(timeout=WAIT) == 6
    assert await run.status() == "succeeded"


async def test_what_goes_on_after_a_retry_waits_for_items_that_were_made_meanwhile(app: App) -> None:
    """The map made its items when what takes them had been cancelled already, for another reason: no edge says so."""
    mended.clear()
    odd, whatever = task(app, "odd"), task(app, "whatever")
    broken, finish = asyncio.Event(), asyncio.Event()

    @app.task(name="late")
    async def late() -> list[int]:
        await broken.wait()
        return [1, 2]

    @app.task(name="slow")
    async def slow(n: int) -> int:
        await finish.wait()
        return n

    workflow = app.workflow(name="flow")(lambda: whatever.step([slow.map(late.step()), odd.step(2)]))
    async with app.worker():
        run = await workflow.start()
        await eventually(lambda: stands(run, "whatever", "cancelled"))
        broken.set()
        await eventually(lambda: has_items(run, "slow", 2))
        mended.add(2)
        await run.retry()
        await eventually(lambda: stands(run, "odd", "succeeded"))
        await eventually(lambda: stands(run, "whatever", "scheduled"))
        finish.set()
        assert await run.result(timeout=WAIT) == [[1, 2], 2]


async def has_items(run: Run[Any], name: str, count: int) -> bool:
    [step] = [step for step in await run.steps() if step.name == name]
    return sum((step.items or {}).values()) == count


async def stands(run: Run[Any], name: str, status: str) -> bool:
    return (await statuses(run)).get(name) == status


async def test_a_worker_that_remembers_few_results_asks_for_the_others(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("windlass.engine.inputs.REMEMBER", 3)
    numbers, double, total = task(app, "numbers"), task(app, "double"), task(app, "total")
    assert await outcome(app, lambda: total.step(double.map(numbers.step(30)))) == 870


async def test_cancel_ends_all_of_a_run(app: App) -> None:
    whatever, add = task(app, "whatever"), task(app, "add")
    started = asyncio.Event()

    @app.task(name="long")
    async def long(n: int) -> int:
        started.set()
        await asyncio.sleep(3600)
        return n

    workflow = app.workflow(name="flow")(lambda: add.step(long.step(1), whatever.step(long.map([1, 2, 3]))))
    async with app.worker(concurrency=2):
        run = await workflow.start()
        await asyncio.wait_for(started.wait(), WAIT)
        await eventually(lambda: has_stored(run, 4))
        await run.cancel()
        await eventually(lambda: all_ended(run))
        assert await run.status() == "cancelled"
        assert set((await statuses(run)).values()) == {"cancelled"}
        with pytest.raises(JobCancelled):
            await run.result(timeout=WAIT)
        await run.cancel()


async def test_a_map_ends_with_its_last_item(app: App) -> None:
    started, end = asyncio.Event(), asyncio.Event()

    @app.task(name="held")
    async def held(n: int) -> int:
        started.set()
        await end.wait()
        return n

    workflow = app.workflow(name="flow")(lambda: held.map([1, 2]))
    async with app.worker(concurrency=10):
        run = await workflow.start()
        await asyncio.wait_for(started.wait(), WAIT)
        [mapped] = await run.steps()
        assert mapped.finished_at is None
        going_on = mapped.started_at
        await eventually(lambda: _is(app.job(mapped.job_id), "succeeded"))  # what makes the items, that is
        end.set()
        await run.result(timeout=WAIT)
        [mapped] = await run.steps()
        made = await app.job(mapped.job_id).info()
        assert going_on is not None
        assert made.finished_at is not None
        assert mapped.finished_at is not None
        assert mapped.finished_at > made.finished_at


async def test_cancel_ends_the_items_that_a_map_had_made_when_it_died(app: App) -> None:
    whatever = task(app, "whatever")
    started = asyncio.Event()

    @app.task(name="long")
    async def long(n: int) -> int:
        started.set()
        await asyncio.sleep(3600)
        return n

    items = [[n] for n in range(300)]
    workflow = app.workflow(name="flow")(lambda: long.starmap(whatever.step([*items, "no list of arguments"])))
    async with app.worker(concurrency=1):
        run = await workflow.start()
        await asyncio.wait_for(started.wait(), WAIT)
        assert await stands(run, "long", "running")
        await run.cancel()
        await eventually(lambda: all_ended(run))
        [_, mapped] = await run.steps()
        assert set(mapped.items or ()) == {"cancelled"}


async def test_a_run_goes_on_that_was_cancelled_while_a_map_made_its_items(app: App) -> None:
    numbers, total = task(app, "numbers"), task(app, "total")
    started, gate = asyncio.Event(), asyncio.Event()
    count = 2_000

    @app.task(name="gated")
    async def gated(n: int) -> int:
        started.set()
        await gate.wait()
        return n

    workflow = app.workflow(name="flow")(lambda: total.step(gated.map(numbers.step(count))))
    async with app.worker(concurrency=10):
        run = await workflow.start()
        await asyncio.wait_for(started.wait(), WAIT)
        await run.cancel()
        await eventually(lambda: all_ended(run))
        assert await statuses(run) == {"numbers": "succeeded", "gated": "cancelled", "total": "cancelled"}
        gate.set()
        await run.retry()
        assert await run.result(timeout=WAIT) == sum(range(count))


async def test_a_run_of_which_only_the_end_failed_can_be_retried(app: App) -> None:
    @app.task(name="large")
    async def large() -> str:
        return "x" * 600_000

    run = await ended(app, lambda: [large.step(), large.step()])
    assert await run.status() == "failed"
    assert await run.retry() == 0
    assert await run.status() == "running"


async def test_a_map_expires_like_any_other_step(app: App) -> None:
    with pytest.raises(JobCancelled, match="expired"):
        await outcome(app, lambda: task(app, "double").options(queue="nobody", expires=0.05).map([1]))


async def test_cancelling_a_run_that_is_not_there_says_so(app: App) -> None:
    with pytest.raises(JobNotFound):
        await app.run(str(uuid.UUID(bytes=new_run_id()))).cancel()


async def test_cancel_does_not_wait_for_ever_for_a_worker_that_is_gone(app: App) -> None:
    workflow = app.workflow(name="flow")(lambda: task(app, "number").step(1))
    run = await workflow.start()
    store = await app.store()
    session = new_id()
    await store.open(Session(id=session, node="gone", pid=1))
    assert (await store.claim(session, ClaimRequest(1, (Lane("default"),)))).jobs
    with pytest.raises(ResultTimeout, match="was asked to end and did not"):
        await run.cancel(timeout=0.1)
    await store.close(session)
    await run.cancel()
    assert await run.status() == "cancelled"


async def has_stored(run: Run[Any], count: int) -> bool:
    return len(await run.steps()) >= count


async def all_ended(run: Run[Any]) -> bool:
    done, total = await run.progress()
    return done == total and await has_ended(run)


async def test_a_run_can_be_run_again_with_other_arguments(app: App) -> None:
    add = task(app, "add")

    def flow(a: int, b: int = 1) -> Step[int]:
        return add.step(a, b)

    workflow = app.workflow(name="flow")(flow)
    async with app.worker():
        run = await workflow.start(5)
        assert await run.result(timeout=WAIT) == 6
        again = await app.run(run.id).rerun(b=10)
        assert again != run
        assert await again.result(timeout=WAIT) == 15
        assert await (await run.rerun()).result(timeout=WAIT) == 6
        with pytest.raises(InvalidArguments, match="argument `b`: expected `int`, got `str`"):
            await run.rerun(b="x")
        with pytest.raises(InvalidArguments, match="no parameter 'c'"):
            await run.rerun(c=1)
    app._client.tasks.pop("flow")
    with pytest.raises(UsageError, match="which this app does not have"):
        await run.rerun()


async def test_skip_gives_a_step_its_result(app: App) -> None:
    double, add = task(app, "double"), task(app, "add")

    @app.task(name="elsewhere", queue="nobody")
    async def elsewhere() -> int:
        return 1

    workflow = app.workflow(name="flow")(lambda: add.step(elsewhere.step(), double.step(1)))
    async with app.worker(["default"]):
        run = await workflow.start()
        await eventually(lambda: has_stored(run, 3))
        with pytest.raises(UsageError, match="did you mean 'elsewhere'"):
            await run.skip("elsewere", 1)
        with pytest.raises(InvalidResult):
            await run.skip("elsewhere", "text")
        await run.skip("elsewhere", 40)
        assert await run.result(timeout=WAIT) == 42
        with pytest.raises(UsageError, match="has started already"):
            await run.skip("elsewhere", 41)


# ------------------------------------------------------------------------------------------------------ looking


async def test_a_run_says_how_far_it_is(app: App) -> None:
    double, total = task(app, "double"), task(app, "total")
    workflow = app.workflow(name="flow")(lambda: total.step(double.map([1, 2, 3])))
    run = await workflow.start()
    assert await run.status() == "starting"
    assert await run.steps() == []
    with pytest.raises(ResultTimeout, match=r"did not end within 0\.01 s"):
        await run.result(timeout=0.01)
    async with app.worker():
        seen = [progress async for progress in run.watch(0.01)]
    assert seen[-1] == (5, 5)
    assert await (await run.step("total")).result(timeout=0) == 12
    assert app.run(run.id) == run
    assert await app.run(run.id).result(timeout=0) == 12


async def test_what_is_no_run_is_refused(app: App) -> None:
    job = await task(app, "number").enqueue(1)
    with pytest.raises(UsageError, match="is the id of a job, not of a run"):
        app.run(job.id)
    with pytest.raises(JobNotFound, match="has no run"):
        await app.run("f" * 8 + job.id[8:]).status()


# ------------------------------------------------------------------------------------------------------- pausing


class Gate:
    """A step that runs until it is opened, and what has run."""

    def __init__(self) -> None:
        self.inside = asyncio.Event()
        self.open = asyncio.Event()
        self.ran: list[int] = []


async def gated(app: App) -> tuple[Gate, Any]:
    gate = Gate()

    @app.task(name="hold")
    async def hold(n: int) -> int:
        gate.inside.set()
        await gate.open.wait()
        return n

    @app.task(name="note")
    async def note(n: int) -> int:
        gate.ran.append(n)
        return n

    @app.workflow(name="gated")
    def made(size: int) -> Any:
        first = hold.step(size)
        parts = note.map(app.find_task("numbers").step(first))
        return app.find_task("total").step(parts)

    return gate, made


async def test_a_paused_run_starts_nothing_more_and_goes_on_where_it_was(app: App) -> None:
    gate, workflow = await gated(app)
    async with app.worker():
        run = await workflow.start(3)
        await asyncio.wait_for(gate.inside.wait(), WAIT)
        await run.pause()
        await run.pause()
        assert await run.status() == "paused"
        assert [info.status for info in await app.runs()] == ["paused"]
        await (await app.find_task("number").enqueue(1)).result(WAIT)  # the worker has heard of it by now
        gate.open.set()
        hold = await run.step("hold")
        assert await hold.result(WAIT) == 3, "what runs goes on"
        numbers = await run.step("numbers")
        await eventually(lambda: _is(numbers, "scheduled"))
        other = await workflow.start(2)
        assert await other.result(WAIT) == 1, "other runs go on"
        assert gate.ran == [0, 1]
        await run.resume()
        assert await run.result(WAIT) == 3
        await run.resume()
        assert await run.status() == "succeeded"
        with pytest.raises(UsageError, match=r"cannot be paused: it has ended \(succeeded\)"):
            await run.pause()
        assert await app.limits() == []


async def _is(job: Any, status: str) -> bool:
    return bool(await job.status() == status)


async def test_a_run_may_be_paused_before_it_begins_and_cancelled_while_it_is(app: App) -> None:
    gate, workflow = await gated(app)
    gate.open.set()
    run, other = await workflow.start(1), await workflow.start(1)
    await run.pause()
    await other.pause()
    async with app.worker():
        start = app.job(run.id)
        await eventually(lambda: _is(start, "scheduled"))
        assert not gate.inside.is_set()
        await run.resume()
        assert await run.result(WAIT) == 0
        await other.cancel()
        assert await other.status() == "cancelled"
        assert await app.limits() == []


async def test_a_worker_that_starts_knows_what_is_paused(app: App) -> None:
    gate, workflow = await gated(app)
    run = await workflow.start(1)
    async with app.worker():
        await asyncio.wait_for(gate.inside.wait(), WAIT)
        await run.pause()
        await (await app.find_task("number").enqueue(1)).result(WAIT)
        gate.open.set()
        await (await run.step("hold")).result(WAIT)
    async with app.worker():
        numbers = await run.step("numbers")
        await eventually(lambda: _is(numbers, "scheduled"))
        await run.resume()
        assert await run.result(WAIT) == 0


async def test_a_worker_that_has_not_heard_of_the_resuming_lets_go_what_it_put_back(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, workflow = await gated(app)
    gate.open.set()
    run = await workflow.start(2)
    await run.pause()

    async def hears_nothing(paused_runs: PausedRuns) -> None:
        pass

    # As when a claim was under way while somebody resumed: what it brings is held against what was known before.
    monkeypatch.setattr(PausedRuns, "catch_up", hears_nothing)
    async with app.worker():
        await eventually(lambda: _is(app.job(run.id), "scheduled"))
        await run.resume()
        assert await run.result(WAIT) == 1


# ------------------------------------------------------------------------------------------------------ auditing


async def test_an_audit_finds_nothing_in_a_run_that_goes_on(app: App) -> None:
    gate, workflow = await gated(app)
    async with app.worker():
        run = await workflow.start(3)
        await asyncio.wait_for(gate.inside.wait(), WAIT)
        assert await run.audit() == []
        gate.open.set()
        await run.result(WAIT)
        assert await run.audit(mend=True) == []


async def test_an_audit_says_who_would_need_what(app: App) -> None:
    @app.task(name="train", resources={"gpu": 1})
    async def train(n: int) -> int:
        return n

    @app.workflow(name="training")
    def training() -> Any:
        return app.find_task("total").step(train.map(app.find_task("numbers").step(2)))

    run = await training.start()
    [finding] = await run.audit()
    assert "no worker is live" in finding.sentence
    async with app.worker():
        train_step = await eventually_step(run, "train")
        await train_step.result(WAIT)
        [finding] = await run.audit()
        assert finding.sentence.startswith("step train: ")
        assert "no live worker serves queue default with gpu=1; they have cpu=" in finding.sentence
        assert (await run.audit(mend=True))[0].stuck, "that cannot be mended"
        async with app.worker(resources={"gpu": 1}):
            assert await run.result(WAIT) == 1


async def eventually_step(run: Run[Any], name: str) -> Any:
    async def is_there() -> bool:
        return any(step.name == name for step in await run.steps())

    await eventually(is_there)
    return await run.step(name)


async def test_an_audit_ends_what_waits_for_ever(app: App) -> None:
    """A step whose parent is dead, and that somebody has replayed alone."""

    @app.workflow(name="fails")
    def fails() -> Any:
        return app.find_task("whatever").step(app.find_task("fail").step(1))

    async with app.worker():
        run = await fails.start()
        with pytest.raises(ValueError, match="no 1"):
            await run.result(WAIT)
        await (await run.step("whatever")).replay()
        await app.job(str(uuid.UUID(bytes=Family(from_text(run.id)).id(0)))).replay()
        assert await run.status() == "running"
        [finding] = await run.audit()
        assert finding.sentence.startswith("step whatever: ")
        assert "to succeed, which is dead" in finding.sentence
        assert finding.stuck
        [mended] = await run.audit(mend=True)
        assert mended.sentence.endswith("(cancelled)")
        assert not mended.stuck
        await eventually(lambda: has_ended(run))
        assert await run.status() == "failed"
        assert await run.audit() == []


# ---------------------------------------------------------------------------------------- runs that jobs start


async def test_a_call_of_a_workflow_is_a_job_that_lasts_as_long_as_its_run(app: App) -> None:
    gate, workflow = await gated(app)
    [job] = await app.enqueue_many([workflow.bind(3)])
    async with app.worker():
        await asyncio.wait_for(gate.inside.wait(), WAIT)
        [info] = await app.runs()
        assert (info.workflow, info.status) == ("gated", "running")
        assert await job.status() in ("scheduled", "ready", "running")
        gate.open.set()
        result = await job.result(WAIT)
        assert (result.run, result.steps) == (info.id, 4)
        assert await app.run(result.run).result(WAIT) == 3
    assert len(await app.runs()) == 1


async def test_a_job_whose_run_fails_is_dead_and_a_replay_retries_the_run(app: App) -> None:
    @app.workflow(name="odd-ones")
    def odd_ones(n: int) -> Any:
        return app.find_task("odd").step(n)

    mended.discard(2)
    [job] = await app.enqueue_many([odd_ones.bind(2)])
    async with app.worker():
        with pytest.raises(RemoteError, match="step 'odd' died of ValueError: 2 is even"):
            await job.result(WAIT)
        mended.add(2)
        await job.replay()
        result = await job.result(WAIT)
        assert await app.run(result.run).result(WAIT) == 2
        assert len(await app.runs()) == 1
    mended.discard(2)


async def test_a_schedule_starts_runs(app: App) -> None:
    @app.workflow(name="nightly")
    def nightly(n: int) -> Any:
        return app.find_task("double").step(n)

    with pytest.raises(InvalidOption, match="overlap='cancel' would cancel the job"):
        app.schedule("wrong", nightly.bind(4), Every(hours=1), overlap="cancel")
    with pytest.raises(InvalidArguments, match="expected `int`"):
        nightly.bind("x")
    await app.schedules.add("night", nightly.bind(4), Every(hours=1), overlap="skip")
    async with app.worker():
        job = await app.schedules.fire("night")
        result = await job.result(WAIT)
        assert await app.run(result.run).result(WAIT) == 8


async def test_items_of_a_map_may_be_steps(app: App) -> None:
    def flow() -> Any:
        number, double = task(app, "number"), task(app, "double")
        some = double.map([number.step(1), 5, double.step(number.step(3))])
        return [some, task(app, "add").starmap([[1, 2], task(app, "numbers").step(2)])]

    assert await outcome(app, flow) == [[2, 10, 12], [3, 1]]


@pytest.mark.parametrize("app", ["memory"], indirect=True)
async def test_what_is_not_there_cannot_be_skipped(app: App) -> None:
    with pytest.raises(JobNotFound):
        await app.run("81890a5d-ac96-774b-bcce-b302099a8057").skip("approve", True)
