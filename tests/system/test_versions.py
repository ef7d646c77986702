"""Two versions of an application on one store: what one of them cannot run waits for the other; nothing dies of it."""

import asyncio
import shutil
import signal
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from threading import Event
from uuid import UUID

import pytest

from tests.system.supervised import Supervised, wait_until, worker_command
from tests.system.versions import new, old
from windlass import Job, RemoteError
from windlass.core.errors import InvalidResult
from windlass.core.lifecycle import State
from windlass.store.sqlite import SQLiteStore
from windlass.testing import invariants, snapshot

ROOT = Path(__file__).parents[2]
VERSIONS = "tests.system.versions"


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where both versions, here and in the processes that a test starts, find their store and write their log. One for
    good: an app looks its URL up once, and the tests here may be run in several goes, with others in between."""
    yield tmp_path_factory.mktemp("versions")
    for app in (old.app, new.app):
        app.close_sync()


@pytest.fixture(scope="module", autouse=True)
def versions(folder: Path) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WINDLASS_URL", f"sqlite:///{folder}/jobs.db")
        patch.setenv("VERSIONS_LOG", str(folder / "log"))
        yield


@contextmanager
def working(version: str, *arguments: str) -> Iterator[Supervised]:
    """Run a worker of one version as long as the block runs."""
    with Supervised(worker_command("--app", f"{VERSIONS}.{version}:app", *arguments), ROOT) as worker:
        worker.ready()
        yield worker
        worker.signal(signal.SIGTERM)
        assert worker.ended() == 0


def put_back(job: Job[str]) -> str:
    """Wait until a worker has put a job back that it cannot run; answers the reason that it gave."""
    wait_until(lambda: job.info_sync().errors, "a worker to put the job back")
    info = job.info_sync()
    assert info.status != "dead"
    assert (info.attempt, info.failures, info.losses) == (0, 0, 0), "what nobody could run counts as nothing"
    return info.errors[-1]


# ------------------------------------------------------------------------------- the old version meets a job first


def test_a_task_that_only_the_new_version_has_waits_for_it() -> None:
    with working("old"):
        job = new.refund.enqueue_sync(5)
        assert put_back(job).endswith("UnknownTask: task 'refund' is not registered with this worker")
        with working("new"):
            assert job.result_sync(20) == "new: 5 back"


def test_a_renamed_task_runs_under_either_name() -> None:
    """The new version knows both names; the old one puts back what the new one's producers enqueue."""
    before = old.send.enqueue_sync("ann")
    with working("new"):
        assert before.result_sync(20) == "new: delivered to ann"
    after = new.deliver.enqueue_sync("bob")
    with working("old"):
        assert "'deliver' is not registered" in put_back(after)
        assert old.send.enqueue_sync("eve").result_sync(20) == "old: sent to eve"
        with working("new"):
            assert after.result_sync(20) == "new: delivered to bob"


def test_an_added_argument_is_never_left_out() -> None:
    """Not even where it says what its default says: the old version knows nothing of it."""
    with working("old"):
        assert new.resize.enqueue_sync("cat").result_sync(20) == "old: cat at 80 %"
        wide, as_it_is = new.resize.enqueue_sync("dog", width=64), new.resize.enqueue_sync("emu", width=None)
        for job in (wide, as_it_is):
            assert "argument `width`" in put_back(job)
        with working("new"):
            assert wide.result_sync(20) == "new: dog at 90 %, 64"
            assert as_it_is.result_sync(20) == "new: emu at 90 %, as it is"


def test_what_is_passed_is_what_runs_also_where_the_default_is_another() -> None:
    said, unsaid = old.resize.enqueue_sync("cat", quality=80), old.resize.enqueue_sync("dog")
    with working("new"):
        assert said.result_sync(20) == "new: cat at 80 %, as it is"
        assert unsaid.result_sync(20) == "new: dog at 90 %, as it is"


# ------------------------------------------------------------------------------- the new version meets a job first


def test_a_removed_argument_is_not_ignored() -> None:
    """Whoever passed it meant it: the job waits for a version that takes it."""
    with working("new"):
        assert old.notify.enqueue_sync(7).result_sync(20) == "new: 7"
        job = old.notify.enqueue_sync(7, channel="phone")
        assert "argument `channel`" in put_back(job)
        with working("old"):
            assert job.result_sync(20) == "old: 7 by phone"


def test_an_argument_of_another_type_waits_for_who_takes_it() -> None:
    with working("new"):
        cents = old.charge.enqueue_sync(100)
        assert "argument `cents`: expected `str`, got `int`" in put_back(cents)
        with working("old"):
            assert cents.result_sync(20) == "old: 100"
    with working("old"):
        text = new.charge.enqueue_sync("1.00")
        assert "argument `cents`: expected `int`, got `str`" in put_back(text)
        with working("new"):
            assert text.result_sync(20) == "new: 1.00"


def test_a_queue_that_was_renamed_is_served_as_long_as_somebody_names_it() -> None:
    before = old.archive.enqueue_sync("a")
    with working("new"):
        assert new.archive.enqueue_sync("b").result_sync(20) == "new: b"
        assert before.status_sync() == "ready", "no task of the new version names its queue any more"
    with working("new", "--queue", "files"):
        assert before.result_sync(20) == "new: a"


# ------------------------------------------------------------------------------------------ what comes of the job


def test_a_result_of_another_type_is_refused_by_who_asks_not_lost() -> None:
    mine, theirs = old.total.enqueue_sync(), new.total.enqueue_sync()
    with working("new"):
        assert theirs.result_sync(20) == [1, 2]
        with pytest.raises(InvalidResult, match=r"expected `int`, got `array`; the task is total\(\) -> int"):
            mine.result_sync(20)
    assert mine.status_sync() == "succeeded"
    assert new.app.job(mine.id).result_sync(0) == [1, 2]


def test_an_error_of_a_class_that_only_one_version_knows_is_read_by_the_other() -> None:
    mine = old.pay.enqueue_sync()
    with working("new"), pytest.raises(RemoteError, match="ShopClosed: come back tomorrow") as caught:
        mine.result_sync(20)
    assert not isinstance(caught.value, new.ShopClosed), "the old version does not list it"
    theirs = new.pay.enqueue_sync()
    with working("old"), pytest.raises(RemoteError, match="CardRefused: no money"):
        theirs.result_sync(20)


# ---------------------------------------------------------------------------------------------- while all goes on


def test_an_idle_worker_lets_those_go_first_who_can_run_what_it_cannot() -> None:
    with working("old"):
        first = new.refund.enqueue_sync(0)
        put_back(first)
        with working("new"):
            first.result_sync(20)
            jobs = []
            for n in range(20):  # one after the other, so that both are idle each time
                jobs.append(new.refund.enqueue_sync(n))
                jobs[-1].result_sync(20)
    went_wrong = [job for job in jobs if job.info_sync().errors]
    assert len(went_wrong) < 5, "where each was as likely to take them as the other, half of them"


def test_workers_get_the_new_version_one_by_one_under_load(tmp_path: Path, folder: Path) -> None:
    """Producers of both go on meanwhile. What was acknowledged has run once, by a version that has its task."""
    code = tmp_path / "shop.py"
    shutil.copy(old.__file__, code)
    enough = Event()
    with (
        ThreadPoolExecutor() as pool,
        Supervised(worker_command("--app", "shop:app", "--processes", "2"), tmp_path) as workers,
    ):
        workers.ready(2)
        producing = pool.submit(produce, enough)
        try:
            wait_until(lambda: len(ran(folder)) > 100, "the old version to run some")
            shutil.copy(new.__file__, code)
            workers.signal(signal.SIGHUP)
            for _ in range(2):
                workers.next(r"worker \d+ stopped")
            until = len(ran(folder)) + 100
            wait_until(lambda: len(ran(folder)) > until, "the new version to run some")
        finally:
            enough.set()
        jobs = producing.result()
        results = {job.id: job.result_sync(20) for job in jobs}
        workers.signal(signal.SIGTERM)
        assert workers.ended() == 0
    ends = Counter(result[:3] for result in results.values())
    assert min(ends["old"], ends["new"]) > 50, ends
    audit(folder, jobs, results)


def produce(enough: Event) -> list[Job[str]]:
    """Enqueue jobs of both versions until there are enough; answers those that were acknowledged."""
    jobs: list[Job[str]] = []
    for n in count():
        if enough.is_set():
            break
        jobs += [old.greet.enqueue_sync("ann", 0.005), old.send.enqueue_sync("bob")]
        if n % 10 == 0:
            jobs += [
                new.refund.enqueue_sync(n),
                new.resize.enqueue_sync("cat", width=n),
                new.deliver.enqueue_sync("eve"),
            ]
    return jobs


def ran(folder: Path) -> list[tuple[str, str]]:
    """(version, job id) of each attempt that was started."""
    log = folder / "log"
    lines = log.read_text().splitlines() if log.exists() else []
    return [(version, job_id) for version, job_id, _ in map(str.split, lines)]


def audit(folder: Path, jobs: list[Job[str]], results: dict[str, str]) -> None:
    """Each has one record, which is final, and was started once, by the version whose result it has."""
    found = asyncio.run(look(folder))
    invariants.check(found)
    assert len(results) == len(jobs), "an id was acknowledged twice"
    assert Counter(found.jobs[UUID(job.id).bytes].state for job in jobs) == {State.SUCCEEDED: len(jobs)}
    started = Counter((version, job_id) for version, job_id in ran(folder) if job_id in results)
    assert started == Counter((result[:3], job_id) for job_id, result in results.items())
    only_new = [job for job in jobs if job.task in ("refund", "deliver", "resize")]
    assert only_new
    assert all(results[job.id].startswith("new") for job in only_new)


async def look(folder: Path) -> snapshot.Snapshot:
    store = SQLiteStore(folder / "jobs.db")
    try:
        return await snapshot.take(store)
    finally:
        await store.aclose()
