"""Tasks, calls and jobs as users see them, on the reference store and on a file, with a real worker."""

import asyncio
import dataclasses
import datetime as dt
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from windlass import (
    App,
    Call,
    Current,
    Dead,
    DuplicateJob,
    InvalidArguments,
    InvalidOption,
    Job,
    JobCancelled,
    JobNotFound,
    Middleware,
    RemoteError,
    ResultTimeout,
    Retry,
    StoreUnavailable,
    UsageError,
    current,
)
from windlass.cli import details
from windlass.core.model import MAX_BATCH
from windlass.store.port import Store

SOON = 10.0
"""Seconds that a test would rather fail than wait longer."""


@pytest.fixture(params=["memory", "sqlite"])
async def app(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[App]:
    app = App("memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/w.db")
    yield app
    await app.aclose()


@dataclasses.dataclass
class Part:
    name: str
    due: dt.date


class OwnError(Exception):
    def __init__(self, code: int) -> None:
        super().__init__(f"code {code}")
        self.code = code


# -------------------------------------------------------------------------------------------- from call to result


async def test_arguments_and_results_keep_their_types(app: App) -> None:
    @app.task
    async def shift(part: Part, by: dt.timedelta = dt.timedelta(days=1)) -> list[Part]:
        assert isinstance(part, Part)
        return [Part(part.name, part.due + by)]

    async with app.worker():
        job = await shift.enqueue(Part("a", dt.date(2026, 1, 31)))
        assert await job.result(SOON) == [Part("a", dt.date(2026, 2, 1))]


async def test_a_plain_function_runs_in_a_thread_and_a_coroutine_on_the_loop(app: App) -> None:
    @app.task
    def where() -> int:
        return threading.get_ident()

    @app.task
    async def here() -> int:
        return threading.get_ident()

    async with app.worker():
        assert await (await where.enqueue()).result(SOON) != threading.get_ident()
        assert await (await here.enqueue()).result(SOON) == threading.get_ident()


async def test_calling_a_task_just_calls_the_function(app: App) -> None:
    @app.task
    async def double(n: int) -> int:
        return 2 * n

    @app.task
    def half(n: int) -> float:
        return n / 2

    assert await double(2) == 4
    assert half.options(priority=9)(3) == 1.5


async def test_a_wrong_argument_is_refused_where_it_is_passed_and_nothing_is_stored(app: App) -> None:
    @app.task
    async def double(n: int) -> int:
        return 2 * n

    for attempt in (lambda: double.bind("x"), double.bind):  # type: ignore[arg-type, call-arg]
        with pytest.raises(InvalidArguments, match=r"double\(n: int\) -> int"):
            attempt()
    with pytest.raises(InvalidArguments):
        await double.enqueue("x")  # type: ignore[arg-type]
    assert await (await app.store()).counts() == {}


async def test_a_call_can_be_enqueued_again_and_again(app: App) -> None:
    @app.task
    async def double(n: int) -> int:
        return 2 * n

    call = double.bind(2)
    first, second = await call.enqueue(), await call.enqueue()
    assert first != second
    assert len({first, second, app.job(first.id)}) == 2
    async with app.worker():
        assert [await job.result(SOON) for job in (first, second)] == [4, 4]


# ------------------------------------------------------------------------------------------------ bad endings


async def test_errors_come_back_as_what_they_were_where_that_is_known(app: App) -> None:
    @app.task(errors=[OwnError])
    async def fails(how: str) -> None:
        raise {"own": OwnError(7), "key": KeyError("k"), "strange": type("Strange", (Exception,), {})("s")}[how]

    async with app.worker():
        with pytest.raises(OwnError, match="code 7") as own:
            await (await fails.enqueue("own")).result(SOON)
        assert isinstance(own.value, RemoteError)
        assert "raise {" in own.value.traceback
        with pytest.raises(KeyError):
            await (await fails.enqueue("key")).result(SOON)
        with pytest.raises(RemoteError, match=r"Strange: s"):
            await (await fails.enqueue("strange")).result(SOON)


async def test_directives_and_retries(app: App) -> None:
    seen: list[int] = []

    @app.task(retry=Retry(attempts=3, delay=0))
    async def flaky(until: int) -> int:
        seen.append(current().attempt)
        if current().attempt < until:
            raise OSError("not yet")
        return current().failures

    @app.task(retry=Retry(attempts=3, delay=0))
    async def gives_up() -> None:
        raise Dead("no use")

    async with app.worker():
        assert await (await flaky.enqueue(3)).result(SOON) == 2
        assert seen == [1, 2, 3]
        with pytest.raises(OSError, match="not yet"):
            await (await flaky.enqueue(9)).result(SOON)
        assert await (await flaky.options(retry=Retry(attempts=5, delay=0)).enqueue(5)).result(SOON) == 4
        job = await gives_up.enqueue()
        with pytest.raises(RemoteError, match="no use"):
            await job.result(SOON)
        assert (await job.info()).attempt == 1


async def test_a_result_that_does_not_fit_makes_the_job_dead_with_a_reason(app: App) -> None:
    @app.task(retry=Retry(attempts=3, delay=0))
    async def lies() -> int:
        return "text"  # type: ignore[return-value]

    async with app.worker():
        job = await lies.enqueue()
        with pytest.raises(RemoteError, match="expected `int`, got `str`"):
            await job.result(SOON)
        assert (await job.info()).attempt == 1


async def test_an_unfinished_job_times_out_and_goes_on(app: App) -> None:
    @app.task
    async def double(n: int) -> int:
        return 2 * n

    job = await double.enqueue(1)
    for timeout in (0, 0.01):
        with pytest.raises(ResultTimeout, match=job.id):
            await job.result(timeout)
    with pytest.raises(TimeoutError):
        await job.result(0)
    async with app.worker():
        assert await job.result(SOON) == 2
        assert await job.result(0) == 2


@pytest.mark.parametrize("timeout", [-1, float("nan")])
async def test_an_impossible_timeout_is_refused(app: App, timeout: float) -> None:
    with pytest.raises(UsageError, match="expected seconds"):
        await app.job("0198c5a6-0000-7000-8000-000000000000").result(timeout)


async def test_a_job_that_nobody_stored_is_not_found(app: App) -> None:
    job = app.job("0198c5a6-0000-7000-8000-000000000000")
    for ask in (job.status, job.info, job.progress, job.cancel, job.replay, job.result, lambda: job.result(0)):
        with pytest.raises(JobNotFound, match=job.id):
            await ask()
    with pytest.raises(UsageError, match="job id"):
        app.job("not-an-id")


# -------------------------------------------------------------------------------------------- looking and acting


async def test_the_life_of_a_job_can_be_watched(app: App) -> None:
    go = asyncio.Event()
    running = asyncio.Event()

    @app.task
    async def waits(n: int) -> int:
        current().progress(0.5, "half way")
        current().log("so far so good")
        running.set()
        await go.wait()
        return n

    job = await waits.options(queue="slow", priority=7).enqueue(1)
    assert await job.status() == "ready"
    async with app.worker(["slow"]):
        await asyncio.wait_for(running.wait(), SOON)
        assert await job.status() == "running"
        async with asyncio.timeout(SOON):
            while (await job.progress()).fraction is None:  # noqa: ASYNC110 - notes come now and then
                await asyncio.sleep(0.02)
        assert await job.progress() == (0.5, "half way")
        go.set()
        await job.result(SOON)
    info = await job.info()
    assert (info.task, info.queue, info.priority, info.status) == (waits.name, "slow", 7, "succeeded")
    assert (info.attempt, info.failures, info.losses, info.reason) == (1, 0, 0, None)
    assert info.log == "so far so good\n"
    assert info.started_at is not None
    assert info.finished_at is not None
    assert info.enqueued_at <= info.started_at <= info.finished_at


async def test_progress_that_is_none_fails_the_attempt_in_words(app: App) -> None:
    @app.task
    async def reports(fraction: Any) -> None:
        current().progress(fraction)

    async with app.worker():
        for wrong in ("x", None, True, -0.1, 1.1):
            with pytest.raises(RemoteError, match="expected a number between 0 and 1"):
                await (await reports.enqueue(wrong)).result(SOON)


async def test_a_relative_path_is_meant_from_where_the_app_was_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a dir").mkdir()
    monkeypatch.chdir(tmp_path / "a dir")
    app = App("sqlite:///jobs.db")
    monkeypatch.chdir(tmp_path)
    await app.task(name="t")(lambda: None).enqueue()
    await app.aclose()
    assert (tmp_path / "a dir" / "jobs.db").exists()
    assert not (tmp_path / "jobs.db").exists()


async def test_a_file_that_is_deleted_in_use_is_named(tmp_path: Path) -> None:
    app = App(f"sqlite:///{tmp_path}/w.db")
    task = app.task(name="t")(lambda: None)
    await task.enqueue()
    for file in list(tmp_path.glob("*.db*")):  # noqa: ASYNC240
        file.unlink()
    with pytest.raises(StoreUnavailable, match="deleted or replaced"):
        await app.jobs(everything=True).count()
    await app.aclose()


async def test_secret_arguments_are_shown_to_nobody(app: App) -> None:
    @app.task(secret=["password"])
    async def login(user: str, password: str) -> str:
        return password

    job = await login.enqueue("ann", "hunter2")
    [found] = await (await app.store()).get_jobs([UUID(job.id).bytes])
    assert found is not None
    for shown in (str(details.fields(found)), str(details.record(found))):
        assert "hunter2" not in shown
        assert "ann" in shown
        assert "***" in shown
    async with app.worker():
        assert await job.result(SOON) == "hunter2"


@pytest.mark.parametrize(
    ("options", "said"),
    [({"secret": "password"}, "a list of names"), ({"secret": ["pass"]}, "user, password"),
     ({"secret": ["user"], "limit_by": "user"}, "shown to everybody")],
)  # fmt: skip
def test_secrets_that_cannot_be(app: App, options: dict[str, Any], said: str) -> None:
    def login(user: str, password: str) -> None: ...

    with pytest.raises(InvalidOption, match=said):
        app.task(**options)(login)


async def test_cancelling(app: App) -> None:
    running = asyncio.Event()

    @app.task
    async def waits() -> None:
        running.set()
        await asyncio.sleep(3600)

    early = await waits.options(delay=3600).enqueue()
    assert await early.status() == "scheduled"
    assert await early.cancel()
    with pytest.raises(JobCancelled, match="somebody asked") as caught:
        await early.result(SOON)
    assert caught.value.reason == "cancelled"
    assert not await early.cancel()
    late = await waits.enqueue()
    async with app.worker():
        await asyncio.wait_for(running.wait(), SOON)
        assert await late.cancel()
        with pytest.raises(JobCancelled):
            await late.result(SOON)


async def test_replaying(app: App) -> None:
    well = False

    @app.task
    async def moody() -> str:
        if not well:
            raise ValueError("not today")
        return "fine"

    job = await moody.enqueue()
    with pytest.raises(UsageError, match="neither dead nor cancelled"):
        await job.replay()
    async with app.worker():
        with pytest.raises(ValueError, match="not today"):
            await job.result(SOON)
        well = True
        await job.replay()
        assert await job.result(SOON) == "fine"


async def test_rescheduling(app: App) -> None:
    @app.task
    async def double(n: int) -> int:
        return 2 * n

    job = await double.options(delay=3600).enqueue(4)
    at = dt.datetime.now(dt.UTC) + dt.timedelta(minutes=10)
    await job.reschedule(at=at)
    due = (await job.info()).due_at
    assert due is not None
    assert abs(due - at) < dt.timedelta(milliseconds=1)
    await job.reschedule(dt.timedelta(minutes=1))
    with pytest.raises(InvalidOption, match="give one of the two"):
        await job.reschedule(5, at=at)
    async with app.worker():
        await job.reschedule()
        assert await job.result(SOON) == 8
    with pytest.raises(UsageError, match="cannot be rescheduled: it is succeeded, and waits for no time"):
        await job.reschedule()
    with pytest.raises(JobNotFound):
        await app.job(str(UUID(int=7))).reschedule()


async def test_expiry(app: App) -> None:
    @app.task
    async def double(n: int) -> int:
        return 2 * n

    job = await double.options(expires=dt.datetime(2020, 1, 1, tzinfo=dt.UTC)).enqueue(1)
    with pytest.raises(JobCancelled) as caught:
        await job.result(SOON)
    assert caught.value.reason == "expired"


# ------------------------------------------------------------------------------------------------------- unique


async def test_a_unique_key_returns_raises_or_replaces(app: App) -> None:
    @app.task
    async def rebuild(shop: int) -> int:
        return shop

    unique = rebuild.options(unique="shop")
    first = await unique.enqueue(1)
    again = await unique.enqueue(2)
    assert again == first
    assert again.duplicate
    assert not first.duplicate
    with pytest.raises(DuplicateJob) as caught:
        await unique.options(on_conflict="raise").enqueue(3)
    assert caught.value.job_id == first.id
    newer = await unique.options(on_conflict="replace").enqueue(4)
    assert newer != first
    with pytest.raises(JobCancelled) as gone:
        await first.result(SOON)
    assert gone.value.reason == "replaced"
    async with app.worker():
        assert await newer.result(SOON) == 4
    assert not (await unique.enqueue(5)).duplicate


async def test_unique_by_arguments(app: App) -> None:
    @app.task(unique=True)
    async def rebuild(shop: int) -> int:
        return shop

    one, two, again = [await rebuild.enqueue(shop) for shop in (1, 2, 1)]
    assert again == one != two


# --------------------------------------------------------------------------------------------------------- many


async def test_enqueue_many_takes_any_source_and_keeps_the_order(app: App) -> None:
    @app.task
    async def double(n: int) -> int:
        return 2 * n

    @app.task
    def name(n: int) -> str:
        return str(n)

    async def source() -> AsyncIterator[Call[int]]:
        for n in range(3):
            await asyncio.sleep(0)
            yield double.bind(n)

    mixed: list[Call[Any]] = [double.bind(1), name.bind(2), double.bind(3)]
    assert await app.enqueue_many([]) == []
    batches: list[list[Job[Any]]] = [
        [*await app.enqueue_many(double.bind(n) for n in range(3))],
        [*await app.enqueue_many(source())],
        [*await app.enqueue_many(mixed)],
        [job async for job in app.enqueue_many(mixed)],
    ]
    async with app.worker():
        results = [[await job.result(SOON) for job in jobs] for jobs in batches]
    assert results == [[0, 2, 4], [0, 2, 4], [2, "2", 6], [2, "2", 6]]


async def test_a_huge_source_is_never_far_ahead_of_the_store(app: App) -> None:
    @app.task
    async def double(n: int) -> int:
        return 2 * n

    made = stored = furthest = 0

    def source() -> Iterator[Call[int]]:
        nonlocal made, furthest
        for n in range(10 * MAX_BATCH):
            made += 1
            furthest = max(furthest, made - stored)
            yield double.bind(n)

    async for _ in app.enqueue_many(source()):
        stored += 1
    assert made == stored == 10 * MAX_BATCH
    assert furthest <= 3 * MAX_BATCH


async def test_large_payloads_travel_in_smaller_chunks(app: App) -> None:
    @app.task
    async def size(text: str) -> int:
        return len(text)

    jobs = await app.enqueue_many(size.bind("x" * 200_000) for _ in range(50))
    assert len({job.id for job in jobs}) == 50
    async with app.worker():
        assert await jobs[-1].result(SOON) == 200_000


async def test_a_source_that_raises_stores_nothing_of_its_last_chunk(app: App) -> None:
    @app.task
    async def double(n: int) -> int:
        return 2 * n

    with pytest.raises(InvalidArguments):
        await app.enqueue_many(double.bind(n) for n in [*range(1500), "x"])  # type: ignore[arg-type]
    assert sum((await (await app.store()).counts()).values()) in (0, 1000)


async def test_what_is_no_call_is_refused_with_advice(app: App) -> None:
    @app.task
    async def double(n: int) -> int:
        return 2 * n

    coroutine = double.enqueue(1)
    other = App("memory://").task(name="other")(lambda: None)
    for wrong, said in (
        (double, "expected calls such as task.bind"),
        (coroutine, "not task.enqueue"),
        (other.bind(), "belongs to another App"),
        (None, "got NoneType"),
    ):
        with pytest.raises(UsageError, match=said):
            await app.enqueue_many([wrong])  # type: ignore[list-item]
    coroutine.close()
    with pytest.raises(UsageError, match=r"write enqueue_many\(\[call\]\)"):
        app.enqueue_many(double.bind(1))  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="got NoneType"):
        app.enqueue_many(None)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="got one"):
        await asyncio.to_thread(app.enqueue_many_sync, double.bind(1))  # type: ignore[arg-type]


async def test_enqueue_many_enqueues_once(app: App) -> None:
    @app.task
    async def double(n: int) -> int:
        return 2 * n

    many = app.enqueue_many([double.bind(1), double.bind(2)])
    assert len(await many) == 2
    with pytest.raises(UsageError, match="awaited or iterated before"):
        await many
    with pytest.raises(UsageError, match="awaited or iterated before"):
        [job async for job in many]
    assert await app.jobs(everything=True).count() == 2


async def test_enqueue_many_that_nobody_awaits_warns(app: App) -> None:
    with pytest.warns(UserWarning, match="nothing was enqueued"):
        app.enqueue_many([])


# ------------------------------------------------------------------------------------------- waiting together


class Counting:
    """Counts the calls of one verb."""

    def __init__(self, store: Store, monkeypatch: pytest.MonkeyPatch, verb: str) -> None:
        self.sizes: list[int] = []
        inner = getattr(store, verb)

        async def counted(ids: Any) -> Any:
            self.sizes.append(len(ids))
            return await inner(ids)

        monkeypatch.setattr(store, verb, counted)


async def test_a_thousand_waiters_share_their_questions(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    @app.task
    async def double(n: int) -> int:
        return 2 * n

    jobs = await app.enqueue_many(double.bind(n) for n in range(1000))
    asked = Counting(await app.store(), monkeypatch, "results")
    waiting = asyncio.gather(*(job.result(SOON) for job in jobs))
    await asyncio.sleep(0)
    async with app.worker():
        assert await waiting == [2 * n for n in range(1000)]
    assert asked.sizes[0] == 1000
    assert len(asked.sizes) < 200


async def test_several_may_wait_for_one_job_and_leave(app: App) -> None:
    @app.task
    async def double(n: int) -> int:
        return 2 * n

    job = await double.enqueue(4)
    first, second, impatient = (asyncio.create_task(job.result(t)) for t in (SOON, None, 0.01))
    with pytest.raises(ResultTimeout):
        await impatient
    first.cancel()
    async with app.worker():
        assert await asyncio.wait_for(second, SOON) == 8
    assert first.cancelled()


# --------------------------------------------------------------------------------------------------- middleware


class Tracing(Middleware):
    def __init__(self, name: str, log: list[str]) -> None:
        self.name = name
        self.log = log

    def enqueue(self, task: str, headers: dict[str, str]) -> None:
        headers[self.name] = headers.get("from", "") + "!"

    def before(self, attempt: Current, headers: dict[str, str]) -> None:
        self.log.append(f"{self.name} before {headers}")

    def after(self, attempt: Current, error: BaseException | None) -> None:
        self.log.append(f"{self.name} after {type(error).__name__}")


async def test_middleware_adds_headers_and_surrounds_attempts(app: App) -> None:
    log: list[str] = []
    app.middleware(Tracing("a", log))
    app.middleware(Middleware())
    app.middleware(Tracing("b", log))

    @app.task
    async def fails() -> None:
        raise ValueError

    async with app.worker():
        with pytest.raises(ValueError, match="ValueError"):
            await (await fails.options(headers={"from": "x"}).enqueue()).result(SOON)
    headers = {"from": "x", "a": "x!", "b": "x!"}
    assert log == [f"a before {headers}", f"b before {headers}", "b after ValueError", "a after ValueError"]


async def test_a_hook_that_raises_at_enqueue_is_logged_and_costs_nothing_else(
    app: App, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Middleware):
        def enqueue(self, task: str, headers: dict[str, str]) -> None:
            raise RuntimeError("broken hook")

    @app.task
    async def double(n: int) -> int:
        return 2 * n

    app.middleware(Broken())
    async with app.worker():
        assert await (await double.enqueue(1)).result(SOON) == 2
    assert "Broken failed before enqueueing" in caplog.text


# -------------------------------------------------------------------------------------------------------- repr


async def test_nothing_shows_arguments_or_passwords(app: App) -> None:
    @app.task
    async def login(password: str = "default-hunter2") -> str:
        return password

    call = login.bind("hunter2")
    job = await call.enqueue()
    secret = App("sqlite:////srv/x.db")
    secret._url = "redis://user:hunter2@host/0"
    async with app.worker():
        await job.result(SOON)
    for thing in (login, login.options(unique="k"), call, job, await job.info(), app, secret, secret.url, secret.tasks):
        assert "hunter2" not in repr(thing) + str(thing)
