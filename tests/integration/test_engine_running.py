"""How attempts run and end: executors, timeouts, directives, cancellation, what cannot be run."""

import asyncio
import contextvars
import threading
import time

import pytest

from tests.integration.engine_harness import State, all_in, enqueue, eventually, new_job, record, running, spec
from windlass.context import Current, Middleware, current
from windlass.core.clock import SECOND
from windlass.core.errors import Dead, InvalidResult, PayloadTooLarge, RetryLater, Snooze
from windlass.core.ids import to_text
from windlass.core.lifecycle import Outcome
from windlass.core.model import MAX_RESULT, ClaimedJob, Settlement
from windlass.core.records import Reason
from windlass.core.remote import decode_error, rebuild_error
from windlass.core.retry import Retry
from windlass.engine.attempt import EndReason
from windlass.engine.lanes import WorkerLanes
from windlass.engine.runner import Runner
from windlass.store.port import Store


async def test_coroutines_share_the_loop_and_return_results(store: Store) -> None:
    async def add(a: int, b: int) -> int:
        await asyncio.sleep(0)
        return a + b

    async with running(store, spec(add)) as worker:
        ids = await enqueue(store, *(new_job("add", {"a": n, "b": 1}) for n in range(300)))
        await worker.settled(300)
        results = await store.results(ids)
    assert [r and r.result for r in results] == [str(n + 1).encode() for n in range(300)]


async def test_functions_run_in_threads_at_the_same_time(store: Store) -> None:
    together = threading.Barrier(4)

    def meet() -> str:
        together.wait(10)
        return threading.current_thread().name

    async with running(store, spec(meet), concurrency=4) as worker:
        ids = await enqueue(store, *(new_job("meet") for _ in range(4)))
        await worker.settled(4)
        results = await store.results(ids)
    names = {r.result for r in results if r}
    assert len(names) == 4
    assert all(name and name.startswith(b'"windlass-task-') for name in names)


async def test_each_attempt_has_a_context_of_its_own(store: Store) -> None:
    leak: contextvars.ContextVar[str] = contextvars.ContextVar("leak", default="clean")

    async def coroutine() -> str:
        before = leak.get()
        leak.set("dirty")
        return before

    def function() -> str:
        before = leak.get()
        leak.set("dirty")
        return before

    async with running(store, spec(coroutine), spec(function), concurrency=1) as worker:
        ids = await enqueue(store, *(new_job(task) for task in ("coroutine", "function") * 3))
        await worker.settled(6)
        assert {r.result for r in await store.results(ids) if r} == {b'"clean"'}


async def test_no_more_attempts_run_at_once_than_there_are_slots(store: Store) -> None:
    now = most = 0

    async def busy() -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.001)
        now -= 1

    async with running(store, spec(busy), concurrency=7) as worker:
        await enqueue(store, *(new_job("busy") for _ in range(200)))
        await worker.settled(200)
    assert most == 7


@pytest.mark.parametrize("kind", ["coroutine", "function"])
async def test_a_timeout_fails_the_attempt(store: Store, kind: str) -> None:
    async def coroutine() -> None:
        await asyncio.sleep(30)

    def function() -> None:
        current().wait_cancelled(30)
        current().raise_if_cancelled()

    async with running(store, spec(coroutine, timeout=SECOND // 10), spec(function, timeout=SECOND // 10)) as worker:
        (job_id,) = await enqueue(store, new_job(kind))
        await worker.settled(1)
        job = await record(store, job_id)
    assert (job.state, job.failures) == (State.DEAD, 1)
    error = decode_error(job.errors[-1])
    assert error.type == "TimeoutError"
    assert "0.1 s" in error.message
    assert f"in {kind}\n" in error.traceback


async def test_a_thread_past_its_timeout_keeps_its_slot_and_no_retry_starts_beside_it(store: Store) -> None:
    release = threading.Event()
    runs: list[float] = []

    def stubborn() -> None:
        runs.append(time.monotonic())
        if len(runs) == 1:
            release.wait(20)

    async with running(store, spec(stubborn, timeout=SECOND // 10, retry=Retry(delay=0)), concurrency=4) as worker:
        (job_id,) = await enqueue(store, new_job("stubborn"))
        await worker.signals.wait_for("renewed", worker.signals.counts["renewed"] + 5)
        assert len(runs) == 1, "its lease is held"
        assert (await record(store, job_id)).state is State.RUNNING
        release.set()
        await worker.settled(2)
        job = await record(store, job_id)
    assert len(runs) == 2
    assert (job.state, job.failures, job.attempt) == (State.SUCCEEDED, 1, 2)


async def test_the_worker_asks_to_be_replaced_when_a_quarter_of_the_slots_are_stuck(store: Store) -> None:
    release, asked = threading.Event(), asyncio.Event()

    def stubborn() -> None:
        release.wait(20)

    async with running(store, spec(stubborn, timeout=SECOND // 10), concurrency=8, on_recycle=asked.set) as worker:
        await enqueue(store, new_job("stubborn"))
        await worker.signals.wait_for("renewed", worker.signals.counts["renewed"] + 4)
        assert not asked.is_set(), "one of eight is less than a quarter"
        await enqueue(store, new_job("stubborn"))
        async with asyncio.timeout(10):
            await asked.wait()
        release.set()


async def test_directives_say_how_an_attempt_ends(store: Store) -> None:
    async def later() -> int:
        if current().failures == 0:
            raise RetryLater(0, "not yet")
        return current().attempt

    async def snooze() -> int:
        if current().attempt == 1:
            raise Snooze(0)
        return current().failures

    async def dead() -> None:
        raise Dead("it makes no sense")

    async def wrong() -> None:
        raise Snooze(-1)

    async with running(store, spec(later), spec(snooze), spec(dead, retry=Retry(attempts=9)), spec(wrong)) as worker:
        ids = await enqueue(store, *(new_job(task) for task in ("later", "snooze", "dead", "wrong")))
        await worker.settled(6)
        one, two, three, four = await store.get_jobs(ids)
    assert one
    assert two
    assert three
    assert four
    assert (one.state, one.result, one.failures) == (State.SUCCEEDED, b"2", 1)
    assert (two.state, two.result, two.failures, two.snoozes) == (State.SUCCEEDED, b"0", 0, 1)
    assert three.state is State.DEAD
    assert decode_error(three.errors[-1]).message == "it makes no sense"
    assert four.state is State.DEAD
    assert "Snooze" in decode_error(four.errors[-1]).message


async def test_snoozes_are_bounded(store: Store) -> None:
    async def sleepy() -> None:
        raise Snooze(0)

    async with running(store, spec(sleepy, max_snoozes=3)) as worker:
        (job_id,) = await enqueue(store, new_job("sleepy"))
        await worker.settled(4)
        job = await record(store, job_id)
    assert (job.state, job.snoozes) == (State.DEAD, 3)


async def test_failures_are_retried_by_policy_and_then_dead_with_their_errors(store: Store) -> None:
    async def fails() -> None:
        raise ValueError(f"attempt {current().attempt}")

    async with running(store, spec(fails, retry=Retry(attempts=3, delay=0))) as worker:
        (job_id,) = await enqueue(store, new_job("fails"))
        await worker.settled(3)
        job = await record(store, job_id)
    assert (job.state, job.failures, job.attempt) == (State.DEAD, 3, 3)
    errors = [decode_error(error) for error in job.errors]
    assert [error.message for error in errors] == ["attempt 1", "attempt 2", "attempt 3"]
    assert "in fails" in errors[0].traceback
    assert "windlass/engine" not in errors[0].traceback, "what the task's author looks for are the task's frames"


@pytest.mark.parametrize("kind", ["coroutine", "function"])
@pytest.mark.parametrize("raised", [SystemExit(1), KeyboardInterrupt(), asyncio.CancelledError(), GeneratorExit()])
async def test_task_code_cannot_end_the_worker(store: Store, kind: str, raised: BaseException) -> None:
    async def coroutine() -> None:
        raise raised

    def function() -> None:
        raise raised

    async def fine() -> None: ...

    async with running(store, spec(coroutine), spec(function), spec(fine)) as worker:
        (job_id,) = await enqueue(store, new_job(kind))
        await worker.settled(1)
        assert (await record(store, job_id)).state is State.DEAD
        await enqueue(store, new_job("fine"))
        await worker.settled(2)


async def test_a_running_job_is_cancelled_at_once(store: Store) -> None:
    started, saw = asyncio.Event(), asyncio.Event()

    async def waits() -> None:
        started.set()
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            saw.set()
            raise

    async with running(store, spec(waits)) as worker:
        (job_id,) = await enqueue(store, new_job("waits"))
        await asyncio.wait_for(started.wait(), 10)
        await store.cancel([job_id])
        await worker.settled(1)
        job = await record(store, job_id)
    assert saw.is_set()
    assert (job.state, job.reason, job.failures) == (State.CANCELLED, Reason.CANCELLED, 0)


async def test_a_success_that_comes_after_the_cancel_stays_a_success(store: Store) -> None:
    started, release = threading.Event(), threading.Event()

    def stubborn() -> int:
        started.set()
        release.wait(20)
        return 7

    async with running(store, spec(stubborn)) as worker:
        (job_id,) = await enqueue(store, new_job("stubborn"))
        await asyncio.to_thread(started.wait, 10)
        await store.cancel([job_id])
        release.set()
        await worker.settled(1)
        job = await record(store, job_id)
    assert (job.state, job.result) == (State.SUCCEEDED, b"7")


async def test_an_unknown_task_goes_back_with_a_reason_and_no_attempt_counted(store: Store) -> None:
    async with running(store) as worker:
        (job_id,) = await enqueue(store, new_job("os:system", {"command": "touch /tmp/owned"}))
        await worker.settled(1)
        job = await record(store, job_id)
    assert (job.state, job.attempt, job.failures) == (State.SCHEDULED, 0, 0)
    assert "'os:system' is not registered" in decode_error(job.errors[-1]).message


async def test_arguments_that_the_hints_reject_are_undeliverable_and_never_reach_the_function(store: Store) -> None:
    calls: list[int] = []

    async def strict(number: int) -> None:
        calls.append(number)

    async with running(store, spec(strict)) as worker:
        ids = await enqueue(store, new_job("strict", {"number": "seven"}), new_job("strict", {"number": 1, "extra": 2}))
        await worker.settled(2)
        jobs = [await record(store, job_id) for job_id in ids]
    assert calls == []
    assert [(job.state, job.attempt) for job in jobs] == [(State.SCHEDULED, 0)] * 2


@pytest.mark.parametrize(
    "payload", [b"", b"[]", b"42", b"null", b'"x"', b"\xff\xfe", b"{", b"[" * 100_000, b'{"number":']
)
async def test_bytes_that_cannot_be_decoded_are_dead_at_once_with_the_bytes_kept(store: Store, payload: bytes) -> None:
    async def strict(number: int) -> None: ...

    async with running(store, spec(strict)) as worker:
        job_id, fine = await enqueue(store, new_job("strict", payload), new_job("strict", {"number": 1}))
        await worker.settled(2)
        job = await record(store, job_id)
        assert (await record(store, fine)).state is State.SUCCEEDED, "the worker goes on"
    assert (job.state, job.payload) == (State.DEAD, payload)


async def test_a_result_that_cannot_be_stored_makes_the_job_dead_without_a_retry(store: Store) -> None:
    async def huge() -> str:
        return "x" * MAX_RESULT

    async def odd():  # type: ignore[no-untyped-def]
        return object()

    policy = Retry(attempts=5, delay=0)
    async with running(store, spec(huge, retry=policy), spec(odd, retry=policy)) as worker:
        ids = await enqueue(store, new_job("huge"), new_job("odd"))
        await worker.settled(2)
        jobs = [await record(store, job_id) for job_id in ids]
    assert [(job.state, job.failures) for job in jobs] == [(State.DEAD, 1)] * 2
    for job, kind in zip(jobs, (PayloadTooLarge, InvalidResult), strict=True):
        error = rebuild_error(decode_error(job.errors[-1]))
        assert isinstance(error, kind), "whoever awaits the result may catch what the documentation names"
        assert str(error).count(f"task {job.task!r}") == 1


async def test_progress_and_log_lines_arrive(store: Store) -> None:
    release = threading.Event()

    def talks() -> None:
        for step in range(10):
            current().progress(step / 10, f"step {step}")
            current().log(f"line {step}")
        release.wait(20)

    async with running(store, spec(talks)) as worker:
        (job_id,) = await enqueue(store, new_job("talks"))
        await eventually(lambda: has_progress(store, job_id))
        job = await record(store, job_id)
        assert (job.progress, job.message) == (0.9, "step 9")
        release.set()
        await worker.settled(1)
        job = await record(store, job_id)
    assert job.log == "".join(f"line {step}\n" for step in range(10))


async def has_progress(store: Store, job_id: bytes) -> bool:
    return (await record(store, job_id)).progress is not None


async def test_middleware_runs_where_the_task_runs(store: Store) -> None:
    seen: list[tuple[str, str, str]] = []

    class Spy(Middleware):
        def before(self, attempt: Current, headers: dict[str, str]) -> None:
            seen.append(("before", attempt.task, threading.current_thread().name))

        def after(self, attempt: Current, error: BaseException | None) -> None:
            seen.append((f"after {error!r}", attempt.task, threading.current_thread().name))
            raise RuntimeError("a hook that fails after the attempt changes nothing")

    def function() -> None: ...

    async def coroutine() -> None:
        raise ValueError("no")

    async with running(store, spec(function), spec(coroutine), middleware=[Spy()], concurrency=1) as worker:
        await enqueue(store, new_job("function"), new_job("coroutine"))
        await worker.settled(2)
    main = threading.current_thread().name
    assert seen == [
        ("before", "function", "windlass-task-1"),
        ("after None", "function", "windlass-task-1"),
        ("before", "coroutine", main),
        ("after ValueError('no')", "coroutine", main),
    ]


class Failures(Middleware):
    """Remembers failures, and the order of calls; and fails itself."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, str, bool | None]] = []

    def failed(self, attempt: Current, error: BaseException, *, dead: bool) -> None:
        self.heard.append((attempt.task, repr(error), dead))
        raise SystemExit(3)

    def after(self, attempt: Current, error: BaseException | None) -> None:
        self.heard.append((attempt.task, "after", None))


async def test_hooks_hear_of_failures_and_whether_the_job_is_dead(store: Store) -> None:
    async def flaky() -> None:
        raise ValueError("no")

    def slow() -> None:
        current().wait_cancelled(30)

    def unkeepable() -> str:
        return "x" * (MAX_RESULT + 1)

    hooks = Failures()
    tasks = [
        spec(flaky, retry=Retry(attempts=2, delay=0, jitter=0)),
        spec(slow, timeout=SECOND // 20),
        spec(unkeepable),
    ]
    async with running(store, *tasks, middleware=[hooks], concurrency=1) as worker:
        for task, settled in (("flaky", 2), ("slow", 3), ("unkeepable", 4)):
            await enqueue(store, new_job(task))
            await worker.settled(settled)
    failures = [one for one in hooks.heard if one[2] is not None]
    assert failures[:2] == [("flaky", "ValueError('no')", False), ("flaky", "ValueError('no')", True)]
    assert failures[2][0] == "slow"
    assert failures[2][1].startswith("TimeoutError(")
    assert failures[3][1].startswith("PayloadTooLarge(")
    assert [dead for _, _, dead in failures[2:]] == [True, True]
    assert [what for _, what, _ in hooks.heard[1::2]] == ["after"] * 4, "told first, and `after` is called all the same"


async def test_hooks_hear_of_no_failure_where_there_is_none(store: Store) -> None:
    async def naps(n: int) -> None:
        if current().attempt == 1:
            raise Snooze(0)

    hooks = Failures()
    async with running(store, spec(naps), middleware=[hooks]) as worker:
        await enqueue(store, new_job("naps", {"n": 1}))
        await worker.settled(2)
    assert {what for _, what, _ in hooks.heard} == {"after"}


@pytest.mark.parametrize("reason", [EndReason.CANCEL, EndReason.LEASE, EndReason.LOST])
async def test_a_coroutine_that_is_asked_to_end_before_its_first_step_ends(store: Store, reason: EndReason) -> None:
    async def work() -> None: ...

    ended: list[Settlement] = []
    lanes = WorkerLanes({"default": 1}, strict=False, slots=1, process_slots=0)
    runner = Runner({"work": spec(work)}, slots=1, lanes=lanes, settle=ended.append, sink=Silent(), store=store)
    job = ClaimedJob(b"1" * 16, 1, "work", b"{}", None, "default", "", 5, 1, 0, 0, 0, 0)
    runner.take([job])
    runner.end(job.id, reason)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert runner.occupied == 0, "the slot is free"
    outcomes = {EndReason.CANCEL: [Outcome.CANCELLED], EndReason.LEASE: [Outcome.RELEASED], EndReason.LOST: []}
    assert [settlement.outcome for settlement in ended] == outcomes[reason]
    await runner.aclose()


class Silent:
    def note(self, job: ClaimedJob, *, progress: float | None, message: str | None, log: str) -> None: ...


@pytest.mark.parametrize("kind", ["coroutine", "function"])
async def test_a_hook_that_tries_to_end_the_process_after_an_attempt_changes_nothing(store: Store, kind: str) -> None:
    class Fatal(Middleware):
        def after(self, attempt: Current, error: BaseException | None) -> None:
            raise SystemExit(3)

    async def coroutine() -> int:
        return 1

    def function() -> int:
        return 1

    async with running(store, spec(coroutine), spec(function), middleware=[Fatal()]) as worker:
        ids = await enqueue(store, new_job(kind), new_job(kind))
        await worker.settled(2)
        assert await all_in(store, ids, State.SUCCEEDED)


async def test_cleaning_up_after_a_cancel_is_not_cancelled_again(store: Store) -> None:
    started, cleaned = asyncio.Event(), asyncio.Event()

    async def tidy() -> None:
        started.set()
        try:
            await asyncio.sleep(30)
        finally:
            await asyncio.sleep(0.8)  # longer than it takes to renew twice: each renewal names the job again
            cleaned.set()

    async with running(store, spec(tidy)) as worker:
        (job_id,) = await enqueue(store, new_job("tidy"))
        await asyncio.wait_for(started.wait(), 10)
        await store.cancel([job_id])
        await worker.settled(1)
        assert cleaned.is_set()
        assert (await record(store, job_id)).state is State.CANCELLED


async def test_notes_with_undecodable_names_are_kept_and_disturb_nobody(store: Store) -> None:
    async def talks() -> None:
        current().progress(0.5, "file \udcff")
        current().log("file \udcff")

    async with running(store, spec(talks)) as worker:
        (job_id,) = await enqueue(store, new_job("talks"))
        await worker.settled(1, timeout=3)
        job = await record(store, job_id)
    assert job.message == "file \\udcff"
    assert job.log == "file \\udcff\n"


async def test_jobs_from_when_the_task_wanted_a_process_run_here_when_it_wants_none(store: Store) -> None:
    async def coroutine() -> int:
        return 1

    def function() -> int:
        return 2

    async with running(store, spec(coroutine), spec(function)) as worker:
        ids = await enqueue(store, *(new_job(task, requires="process") for task in ("coroutine", "function")))
        await worker.settled(2)
        assert [r and r.result for r in await store.results(ids)] == [b"1", b"2"]


async def test_the_log_says_what_failed_and_why(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    """And no line of it can be made by the text of an error."""

    def fail() -> None:
        raise ValueError("no\nERROR forged \x1b[31m")

    def works() -> None:
        pass

    caplog.set_level("INFO", logger="windlass.engine")
    async with running(store, spec(fail, retry=Retry(attempts=2, delay=0, jitter=0)), spec(works)) as worker:
        ids = await enqueue(store, new_job("fail"), new_job("works"), new_job("nobody_knows_it"))
        await worker.settled(4)
    job = to_text(ids[0])
    said = {(line.levelname, line.getMessage().split("\n")[0]) for line in caplog.records if "stop" not in line.message}
    unknown = "windlass.core.errors.UnknownTask: task 'nobody_knows_it' is not registered with this worker"
    error = "ValueError: no\\nERROR forged \\x1b[31m"
    assert said == {
        ("WARNING", f"fail {job} failed in attempt 1, next in 0 s: {error}"),
        ("ERROR", f"fail {job} is dead after attempt 2: {error}"),
        (
            "INFO",
            f"nobody_knows_it {to_text(ids[2])} cannot run here, next try in 1 s: {unknown}",
        ),
    }
    (dead,) = (line.getMessage() for line in caplog.records if line.levelname == "ERROR")
    assert "raise ValueError" in dead
    assert "\x1b" not in dead
