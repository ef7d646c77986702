"""What was enqueued, and how well a harness says so."""

from datetime import UTC, datetime, timedelta
from unittest.mock import ANY

import pytest

from windlass import App, Retry, UsageError
from windlass.testing import Harness

app = App("memory://")


@app.task(name="shop.send", queue="mail")
async def send(to: str, body: str = "hi", *, tags: list[str] | None = None) -> int:
    return 1


@app.task(name="shop.report", unique=True)
def report(day: int) -> None: ...


@app.task(name="shop.total")
def total(*numbers: int, **more: int) -> None: ...


@app.task(name="shop.queued")
def queued(queue: str) -> None: ...


@app.task(name="shop.empty")
def empty() -> None: ...


class Odd:
    def __eq__(self, other: object) -> bool:
        raise ValueError("ambiguous")

    __hash__ = None  # type: ignore[assignment]


def failure(harness: Harness, task: object, *args: object, **kwargs: object) -> str:
    with pytest.raises(AssertionError) as raised:
        harness.assert_enqueued(task, *args, **kwargs)  # type: ignore[call-overload]
    return str(raised.value)


def test_it_was_and_gives_the_job() -> None:
    with Harness(app) as harness:
        job = send.enqueue_sync("a@example.org", body="yo")
        assert harness.assert_enqueued(send) == job
        assert harness.assert_enqueued(send, "a@example.org", "yo") == job
        assert harness.assert_enqueued(send, to="a@example.org", body=ANY) == job
        harness.run_sync()
        assert harness.assert_enqueued(send).result_sync() == 1


def test_values_compare_as_the_task_gets_them() -> None:
    with Harness(app) as harness:
        send.enqueue_sync("a", tags=["x", "y"])
        total.enqueue_sync(1, 2, three=3)
        harness.assert_enqueued(send, "a", tags=("x", "y"))  # type: ignore[call-overload]  # becomes a list
        harness.assert_enqueued(send, "a", tags=ANY)
        assert "tags: expected None, got ['x', 'y']" in failure(harness, send, "a")
        harness.assert_enqueued(total, 1, 2, three=3)
        assert "numbers: expected (1,), got (1, 2)" in failure(harness, total, 1)
        assert "tags: expected ['x'], got ['x', 'y']" in failure(harness, send, "a", tags=["x"])
        assert "    to: - expected, + got" in failure(harness, send, Odd())


def test_options_are_what_options_says() -> None:
    with Harness(app) as harness:
        at = datetime(2030, 1, 2, tzinfo=UTC)
        send.options(priority=9, delay=60, headers={"trace": "7", "user": "u"}).enqueue_sync("a")
        send.options(at=at, expires=at + timedelta(hours=1), limit_by="customer:7").enqueue_sync("b")
        send.options(unique="k", unique_until="started", retry=Retry(attempts=2), timeout=5).enqueue_sync("c")
        report.enqueue_sync(3)
        found = harness.assert_enqueued(send.options(priority=9, delay=timedelta(minutes=1), headers={"user": "u"}))
        assert [job.job for job in harness.enqueued(send.options(priority=9))] == [found]
        harness.assert_enqueued(send.options(at=at, expires=at + timedelta(hours=1), limit_by="customer:7"), "b")
        harness.assert_enqueued(send.options(unique="k", unique_until="started", retry=Retry(attempts=2), timeout=5))
        harness.assert_enqueued(report.options(unique=True), 3)
        harness.assert_enqueued(report, 3)
        told = failure(harness, send.options(queue="sms", delay=90, at=None, headers={"user": "v"}), "a")
        assert "was enqueued with to='a', body='hi', tags=None, queue='sms', delay=" in told
        assert "queue: expected 'sms', got 'mail'" in told
        assert "delay: expected datetime.timedelta(seconds=90), got datetime.timedelta(seconds=60)" in told
        assert "headers: expected {'user': 'v'}, got {'user': 'u'}" in told
        send.options(unique=True).enqueue_sync("d")
        harness.assert_enqueued(send.options(unique=True), "d")
        assert "unique: expected '" in failure(harness, send.options(unique=True), "c")
        report.options(unique="otherwise").enqueue_sync(4)
        harness.assert_enqueued(report, 4)  # what the task says of itself is not what the test asks for
        assert "unique: expected 'k2', got None" in failure(harness, send.options(unique="k2"), "a")


def test_an_option_and_a_parameter_of_the_same_name() -> None:
    with Harness(app) as harness:
        queued.enqueue_sync("argument")
        harness.assert_enqueued(queued.options(queue="default"), queue="argument")
        told = failure(harness, queued.options(queue="other"), queue="else")
        assert "    queue: expected 'else', got 'argument'" in told
        assert "    option queue: expected 'other', got 'default'" in told


def test_what_there_was_instead_the_nearest_first() -> None:
    with Harness(app) as harness:
        send.enqueue_sync("c", "wrong", tags=["x"])
        send.enqueue_sync("b", "hi")
        report.enqueue_sync(1)
        report.enqueue_sync(2)
        assert failure(harness, send, "a", "hi") == (
            "no job of 'shop.send' was enqueued with to='a', body='hi', tags=None\n"
            "2 of the task were enqueued, the nearest first:\n"
            "  shop.send(to='b', body='hi', tags=None)\n"
            "    to: expected 'a', got 'b'\n"
            "  shop.send(to='c', body='wrong', tags=['x'])\n"
            "    to: expected 'a', got 'c'\n"
            "    body: expected 'hi', got 'wrong'\n"
            "    tags: expected None, got ['x']\n"
            "jobs of other tasks: 2 of shop.report"
        )


def test_nothing_at_all_and_too_much() -> None:
    with Harness(app) as harness:
        assert failure(harness, empty) == "no job of 'shop.empty' was enqueued\nnothing was enqueued at all"
        harness.assert_not_enqueued()
        app.enqueue_many_sync(send.bind(f"{number}", "x" * 500) for number in range(30))
        told = failure(harness, send, "a", "x" * 501)
        assert "... and 20 more" in told
        assert max(map(len, told.splitlines())) < 620
        with pytest.raises(AssertionError) as raised:
            harness.assert_not_enqueued()
        assert str(raised.value).startswith("30 jobs were enqueued, where none should be:\n  shop.send(to='0', ")
        assert str(raised.value).endswith("... and 20 more")


def test_long_values_are_shown_line_by_line() -> None:
    with Harness(app) as harness:
        send.enqueue_sync("a", tags=[f"tag number {number}" for number in range(20)])
        told = failure(harness, send, "a", tags=[f"tag number {number}" for number in range(20) if number != 7])
        assert "    tags: - expected, + got\n" in told
        assert "      +  'tag number 7',\n" in told
        assert "-  'tag" not in told


def test_it_was_not() -> None:
    with Harness(app) as harness:
        send.enqueue_sync("a")
        harness.assert_not_enqueued(report)
        harness.assert_not_enqueued(send, "b")
        harness.assert_not_enqueued(send.options(priority=9))
        with pytest.raises(AssertionError, match="1 job was enqueued, where none should be"):
            harness.assert_not_enqueued(send, "a", ANY)


def test_the_list_counts_and_shows_everything() -> None:
    with Harness(app) as harness:
        for to in ("a", "b", "a"):
            send.options(delay=60, unique=f"{to}-key").enqueue_sync(to)
        assert len(harness.enqueued()) == 2  # the third was a duplicate: nothing was stored
        (job,) = harness.enqueued(send, "b")
        assert (job.task, job.queue, job.priority, job.unique) == ("shop.send", "mail", 5, "b-key")
        assert job.arguments == {"to": "b", "body": "hi", "tags": None}
        assert job.delay == timedelta(minutes=1)
        assert (job.at, job.expires, job.limit_by, job.headers) == (None, None, None, {})
        assert repr(job) == "shop.send(to='b', body='hi', tags=None)"


def test_wrong_use() -> None:
    other = App("memory://")

    @other.task(name="t")
    def t() -> None: ...

    with Harness(app) as harness:
        with pytest.raises(UsageError, match=r"missing a required argument: 'to'; the task is send\(to: str.*ANY"):
            harness.assert_enqueued(send, body="x")  # type: ignore[call-overload]
        with pytest.raises(UsageError, match="unexpected keyword argument 'prioriy'"):
            harness.assert_enqueued(send, "a", prioriy=3)  # type: ignore[call-overload]
        with pytest.raises(UsageError, match="expected a task, got function"):
            harness.assert_enqueued(test_wrong_use)  # type: ignore[call-overload]
        with pytest.raises(UsageError, match="belongs to another App"):
            harness.assert_enqueued(t)


def test_a_harness_describes_its_jobs() -> None:
    with Harness(app) as harness:
        assert harness.describe() == "none was enqueued"
        empty.enqueue_sync()
        harness.run_sync()
        app.enqueue_many_sync(report.bind(day) for day in range(25))
        lines = harness.describe().splitlines()
        assert lines[:2] == ["shop.empty(): #1 succeeded", "shop.report(day=0): has not run"]
        assert lines[-1] == "... and 6 more"
        assert repr(harness) == "<Harness of <App memory://, 5 tasks>: 26 jobs, 1 attempts>"
