"""Webhooks where whole worker processes die: between a death and its telling, and of the job itself."""

import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.integration.webhook_receiver import SECRET, Receiver
from tests.system.supervised import Supervised, wait_until, worker_command
from windlass import App

TASKS = """\
import os, signal
from windlass import App, Retry
from windlass.webhooks import Endpoint, send_webhooks

app = App({store!r}, lease=1)
send_webhooks(app, Endpoint({url!r}, secret={secret!r}), every=0.2, retry=Retry(attempts=5, delay=0.1))


@app.task(name="fails")
async def fails() -> None:
    raise ValueError("no")


@app.task(name="kills")
async def kills() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def receiver(tmp_path: Path, url: str) -> Iterator[Receiver]:
    receiver = Receiver()
    (tmp_path / "tasks.py").write_text(TASKS.format(store=url, url=receiver.url, secret=SECRET))
    yield receiver
    receiver.close()


def work(folder: Path, *options: str) -> Supervised:
    return Supervised(worker_command("--app", "tasks:app", *options), folder)


async def test_a_worker_that_is_killed_after_a_death_and_before_the_telling_loses_none(
    tmp_path: Path, url: str, receiver: Receiver
) -> None:
    app = App(url, lease=1)
    store = await app.store()
    with work(tmp_path, "--queue", "default") as silent:  # it sends nothing: so it can be killed before anybody does
        worker = silent.started()
        silent.ready()
        jobs = [app.job(one) for one in await _enqueue(url, "fails", 3)]
        for _ in range(3):
            silent.next("is dead")
        wait_until(lambda: _dead(url) == 3, "three dead jobs in the store")
        for process in [*psutil.Process(silent.process.pid).children(recursive=True), silent.process]:
            process.send_signal(signal.SIGKILL)
        wait_until(lambda: not psutil.pid_exists(worker), "the worker to be gone")
    assert receiver.ids == []
    with work(tmp_path) as working:
        working.ready()
        await receiver.until(3)
        working.signal(signal.SIGTERM)
        working.ended()
    assert sorted(one["data"]["job"] for one in receiver.taken) == sorted(job.id for job in jobs)
    assert receiver.forged == 0
    await store.aclose()
    await app.aclose()


async def test_a_job_that_takes_its_workers_along_is_told_of(tmp_path: Path, url: str, receiver: Receiver) -> None:
    with work(tmp_path) as working:
        working.ready()
        (job,) = await _enqueue(url, "kills", 1)
        (said,) = await receiver.until(1)
        working.signal(signal.SIGTERM)
        working.ended()
    data = said["data"]
    assert (data["job"], data["reason"], data["error"]) == (job, "lost", None)
    assert data["losses"] >= 2


async def _enqueue(url: str, task: str, count: int) -> list[str]:
    app = App(url, lease=1)

    @app.task(name=task)
    async def stored() -> None: ...

    jobs = await app.enqueue_many(stored.bind() for _ in range(count))
    await app.aclose()
    return [job.id for job in jobs]


def _dead(url: str) -> int:
    app = App(url, lease=1)
    try:
        return app.jobs(status="dead").count_sync()
    finally:
        app.close_sync()
