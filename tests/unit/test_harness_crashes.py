"""A harness lets workers die where the test says, and the job runs again."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta

import pytest

from windlass import App, Current, InvalidOption, JobLost, Middleware, Retry, UsageError, current
from windlass.testing import Harness, SimulatedCrash, crash

app = App("memory://")
steps: list[str] = []


class Bank:
    rate = 3

    def charge(self, amount: int) -> int:
        steps.append(f"charge {amount}")
        return amount

    @staticmethod
    def check() -> None:
        steps.append("check")

    @classmethod
    def audit(cls) -> None:
        steps.append(f"audit {cls.__name__}")

    async def settle(self) -> None:
        await asyncio.sleep(0)
        steps.append("settle")


bank = Bank()


@app.task(retry=Retry(attempts=2))
async def ship(order: int) -> int:
    steps.append(f"attempt {current().attempt}")
    bank.charge(order)
    Bank.check()
    Bank.audit()
    await bank.settle()
    await notify.enqueue(order)
    return order


@app.task
async def notify(order: int) -> None: ...


@app.task
def pages(count: int) -> None:
    for page in range(count):
        bank.charge(page)


@app.task
async def swallows() -> None:
    try:
        bank.charge(1)
    except BaseException:  # noqa: BLE001 - that is what is tried
        steps.append("swallowed")


HERE = __name__


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    steps.clear()
    yield
    assert bank.charge.__func__ is Bank.__dict__["charge"]  # type: ignore[attr-defined]
    assert isinstance(Bank.__dict__["check"], staticmethod)
    assert "enqueue" not in vars(notify)


async def outcomes(harness: Harness) -> list[str]:
    return [one.outcome for one in await harness.run()]


async def test_after_the_task_is_the_worst_moment() -> None:
    with Harness(app) as harness:
        job = await ship.enqueue(7)
        with harness.crash_after(ship):
            ran = await harness.run()
        assert [(one.attempt, one.outcome, one.error) for one in ran] == [
            (1, "crashed", None),
            (2, "succeeded", None),
            (1, "succeeded", None),
            (1, "succeeded", None),
        ]
        assert await job.result() == 7
        assert steps.count("charge 7") == 2
        assert len(harness.enqueued(notify)) == 2
        info = await job.info()
        assert (info.losses, info.failures, info.attempt) == (1, 0, 2)


async def test_before_the_task_nothing_has_happened() -> None:
    with Harness(app) as harness:
        await ship.enqueue(7)
        with harness.crash_before(ship):
            assert await outcomes(harness) == ["crashed", "succeeded", "succeeded"]
        assert steps[0] == "attempt 2"


@pytest.mark.parametrize(
    ("place", "before", "after"),
    [
        ("Bank.charge", ["attempt 1"], ["attempt 1", "charge 7"]),
        ("bank.charge", ["attempt 1"], ["attempt 1", "charge 7"]),
        ("Bank.check", ["attempt 1", "charge 7"], ["attempt 1", "charge 7", "check"]),
        ("Bank.audit", ["attempt 1", "charge 7", "check"], ["attempt 1", "charge 7", "check", "audit Bank"]),
    ],
)
async def test_at_what_the_task_calls(place: str, before: list[str], after: list[str]) -> None:
    for crash_at, expected in (("crash_before", before), ("crash_after", after)):
        steps.clear()
        with Harness(app) as harness:
            await ship.enqueue(7)
            with getattr(harness, crash_at)(f"{HERE}.{place}"):
                assert await outcomes(harness) == ["crashed", "succeeded", "succeeded"]
            assert steps[: len(expected) + 1] == [*expected, "attempt 2"]


async def test_at_a_coroutine_that_the_task_awaits() -> None:
    with Harness(app) as harness:
        await ship.enqueue(7)
        with harness.crash_after(f"{HERE}.Bank.settle"):
            assert await outcomes(harness) == ["crashed", "succeeded", "succeeded"]
        assert steps.count("settle") == 2


async def test_at_the_enqueueing_of_another_job() -> None:
    with Harness(app) as harness:
        await ship.enqueue(7)
        with harness.crash_before(f"{HERE}.notify.enqueue"):
            await harness.run()
        assert len(harness.enqueued(notify)) == 1


@pytest.mark.parametrize(("call", "charges"), [(1, 5 + 1), (3, 5 + 3), (5, 5 + 5)])
def test_at_a_later_call(call: int, charges: int) -> None:
    with Harness(app) as harness:
        pages.enqueue_sync(5)
        with harness.crash_after(f"{HERE}.bank.charge", call=call):
            assert [one.outcome for one in harness.run_sync()] == ["crashed", "succeeded"]
        assert len(steps) == charges


async def test_a_job_that_always_takes_its_worker_along_is_dead() -> None:
    with Harness(app) as harness:
        job = await ship.enqueue(7)
        with harness.crash_after(ship, call=None), pytest.raises(JobLost, match="its workers died"):
            await harness.run()
        assert [one.outcome for one in harness.attempts if one.job == job] == ["crashed"] * 4
        assert await job.status() == "dead"


async def test_after_the_block_nobody_dies_any_more() -> None:
    with Harness(app, raising=False) as harness:
        await swallows.enqueue()
        with harness.crash_after(swallows, call=None):
            await harness.run()
        await swallows.enqueue()
        assert await outcomes(harness) == ["succeeded"]


async def test_the_dead_call_no_hooks() -> None:
    heard: list[str] = []

    class Hears(Middleware):
        def before(self, attempt: Current, headers: dict[str, str]) -> None:
            heard.append(f"before {attempt.attempt}")

        def after(self, attempt: Current, error: BaseException | None) -> None:
            heard.append(f"after {attempt.attempt}")

    other = App("memory://", middleware=[Hears()])

    @other.task(name="t")
    async def t() -> None: ...

    with Harness(other) as harness, harness.crash_after(t):
        await t.enqueue()
        await harness.run()
    assert heard == ["before 1", "before 2", "after 2"]


async def test_the_clock_moves_on_by_a_lease() -> None:
    with Harness(app) as harness:
        before = harness.clock.now()
        await ship.enqueue(7)
        with harness.crash_after(ship):
            await harness.run()
        assert timedelta(seconds=9) <= harness.clock.now() - before < timedelta(seconds=60)


async def test_a_task_that_swallows_its_death_is_dead_all_the_same() -> None:
    with Harness(app) as harness:
        await swallows.enqueue()
        with harness.crash_after(f"{HERE}.bank.charge"):
            assert await outcomes(harness) == ["crashed", "succeeded"]


async def test_crash_in_what_a_test_puts_in_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    deaths = iter([True, True])
    monkeypatch.setattr(bank, "charge", lambda _amount: crash() if next(deaths, False) else None)
    with Harness(app) as harness:
        await swallows.enqueue()
        assert await outcomes(harness) == ["crashed", "crashed", "succeeded"]
    monkeypatch.undo()


async def test_in_inline_mode_too() -> None:
    with Harness(app, inline=True) as harness, harness.crash_after(ship):
        job = await ship.enqueue(7)
        assert await job.result() == 7
        assert [one.outcome for one in harness.attempts if one.job == job] == ["crashed", "succeeded"]


async def test_calls_outside_of_jobs_do_not_count() -> None:
    with Harness(app) as harness, harness.crash_after(f"{HERE}.bank.charge"):
        assert bank.charge(1) == 1
        await swallows.enqueue()
        assert await outcomes(harness) == ["crashed", "succeeded"]


async def test_a_crash_that_never_comes_fails_the_test() -> None:
    with Harness(app) as harness:
        with (
            pytest.raises(AssertionError, match=r"nothing crashed: .* called task '.*ship' 0 times$"),
            harness.crash_after(ship),
        ):
            await harness.run()
        await pages.enqueue(2)
        with (
            pytest.raises(AssertionError, match=r"bank.charge 2 times, and call 3 was to crash"),
            harness.crash_after(f"{HERE}.bank.charge", call=3),
        ):
            await harness.run()


async def test_another_error_is_not_hidden_by_a_crash_that_never_came() -> None:
    with Harness(app) as harness, pytest.raises(ZeroDivisionError), harness.crash_after(ship):
        1 / 0  # noqa: B018


@pytest.mark.parametrize("target", ["charge", "no.such.module.charge", f"{HERE}.bank.chrage", f"{HERE}.", "", 7, None])
def test_no_place(target: str) -> None:
    with Harness(app) as harness, pytest.raises(InvalidOption, match=r"'shop.billing.charge'"):
        harness.crash_after(target).__enter__()


@pytest.mark.parametrize("call", [0, -1, True, "1"])
def test_no_call(call: int) -> None:
    with Harness(app) as harness, pytest.raises(InvalidOption, match="1 for the first"):
        harness.crash_after(ship, call=call).__enter__()


def test_not_something_to_call() -> None:
    with Harness(app) as harness, pytest.raises(InvalidOption, match="of type int"):
        harness.crash_after(f"{HERE}.Bank.rate").__enter__()
    assert Bank.rate == 3


def test_crash_outside_of_a_job() -> None:
    with pytest.raises(UsageError, match="no worker to die"):
        crash()
    assert not issubclass(SimulatedCrash, Exception)
