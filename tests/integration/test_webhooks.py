"""Webhooks, sent to a real receiver on this machine, which verifies what it gets."""

import asyncio
import base64
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.webhook_receiver import SECRET, Receiver
from windlass import App, Dead, Every, InvalidName, InvalidOption, Job, RemoteError, Retry
from windlass.core.clock import SECOND
from windlass.core.documents import NewDocument
from windlass.core.lifecycle import State
from windlass.core.records import JobRecord
from windlass.engine.deaths import KIND, key_of
from windlass.webhooks import Endpoint, send_webhooks
from windlass.webhooks.messages import MOST, of_deaths
from windlass.webhooks.sending import Sender

SOON = 20


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


def new_app(folder: Path, receiver: Receiver, *on: str) -> App:
    app = App(f"sqlite:///{folder}/windlass.db")
    endpoint = Endpoint(receiver.url, secret=SECRET, on=on)
    send_webhooks(app, endpoint, every=0.2, retry=Retry(attempts=5, delay=0.01, factor=1))
    return app


async def ended(job: Job[Any]) -> None:
    """Wait for a job that dies."""
    with pytest.raises(Exception):  # noqa: B017, PT011 - of whatever
        await job.result(SOON)


async def test_a_dead_job_is_told_of_once_and_signed(tmp_path: Path, receiver: Receiver) -> None:
    app = new_app(tmp_path, receiver, "job.dead")

    @app.task(name="shop.charge", queue="money", retry=Retry(attempts=2, delay=0))
    def charge(card: str) -> None:
        raise ValueError("declined " + "x" * 1000)

    async with app.worker():
        job = await charge.enqueue("4242")
        await ended(job)
        (said,) = await receiver.until(1)
        await ended(await charge.enqueue("4242"))
        await receiver.until(2)
    await app.aclose()
    assert receiver.forged == 0
    data = said["data"]
    assert said["type"] == "job.dead"
    assert said["timestamp"] == data["finished_at"]
    assert (data["job"], data["task"], data["queue"]) == (job.id, "shop.charge", "money")
    assert (data["failures"], data["error"]["type"]) == (2, "ValueError")
    assert len(data["error"]["message"]) <= 500
    assert "4242" not in json.dumps(said), "nobody is sent arguments"
    assert [one["data"]["job"] for one in receiver.taken].count(job.id) == 1


async def test_a_receiver_that_is_ill_is_tried_again_with_the_same_id(tmp_path: Path, receiver: Receiver) -> None:
    app = new_app(tmp_path, receiver, "job.dead")
    receiver.answers = [500, 429, 307]

    @app.task
    async def fails() -> None:
        raise Dead("enough")

    async with app.worker():
        await ended(await fails.enqueue())
        await receiver.until(1)
    await app.aclose()
    assert len(receiver.ids) == 4, "a redirection is a failure as others are"
    assert len(set(receiver.ids)) == 1
    assert len(set(receiver.paths)) == 1, "and is not followed"


async def test_a_receiver_that_is_gone_is_left_alone(tmp_path: Path, receiver: Receiver) -> None:
    receiver.answers = [410]
    app = App(f"sqlite:///{tmp_path}/windlass.db")
    endpoint = Endpoint(receiver.url, secret=SECRET)
    sender = Sender({endpoint.name: endpoint})

    @app.task(retry=Retry(attempts=5, delay=0))
    async def send(name: str, body: str) -> int:
        return await sender.send(name, body)

    async with app.worker():
        for name in (endpoint.name, "no such endpoint"):
            with pytest.raises(RemoteError, match=r"410|no such endpoint"):
                await (await send.enqueue(name, "{}")).result(SOON)
    await app.aclose()
    assert len(receiver.ids) == 1


async def test_a_receiver_that_does_not_answer_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("windlass.webhooks.sending.ANSWER_WITHIN", 0.1)
    silent = socket.create_server(("127.0.0.1", 0))  # the system takes connections for it, and nobody reads
    port = silent.getsockname()[1]
    app = App(f"sqlite:///{tmp_path}/windlass.db")
    endpoint = Endpoint(f"http://127.0.0.1:{port}/", secret=SECRET)
    sender = Sender({endpoint.name: endpoint})

    @app.task
    async def send(name: str) -> int:
        return await sender.send(name, "{}")

    async with app.worker():
        with pytest.raises(Exception, match="ReadTimeout"):
            await (await send.enqueue(endpoint.name)).result(SOON)
    await app.aclose()
    silent.close()


@pytest.mark.parametrize("name", ["busy", "\u65e5" * 200], ids=["short", "as long as names may be"])
async def test_a_fire_time_without_a_job_is_told_of(tmp_path: Path, receiver: Receiver, name: str) -> None:
    app = new_app(tmp_path, receiver, "schedule.missed")
    may_end = asyncio.Event()

    @app.scheduled(Every(seconds=0.5), name=name, overlap="skip")
    async def busy() -> None:
        await may_end.wait()

    async with app.worker():
        said = (await receiver.until(1))[0]
        may_end.set()
    await app.aclose()
    assert said["type"] == "schedule.missed"
    assert said["data"]["schedule"] == name
    assert said["data"]["missed"] >= 1


async def test_a_queue_whose_jobs_wait_is_told_of_once_an_hour(tmp_path: Path, receiver: Receiver) -> None:
    app = new_app(tmp_path, receiver, "queue.age>1")

    @app.task(queue="unserved")
    async def waits() -> None: ...

    await waits.enqueue()
    async with app.worker(["webhooks"]):
        (said,) = await receiver.until(1)
        store = await app.store()
        before = await _looks(app)
        async with asyncio.timeout(SOON):
            while await _looks(app) < before + 2:  # noqa: ASYNC110 - nobody announces looks
                await asyncio.sleep(0.05)
        queues = {one.name: one.ready for one in await store.queues()}
    await app.aclose()
    assert (said["type"], said["data"]["queue"], said["data"]["limit"]) == ("queue.age", "unserved", 1)
    assert said["data"]["age"] >= 1
    assert queues["unserved"] == 1
    assert len(receiver.ids) <= 2, "once, or twice if an hour ended meanwhile"


async def _looks(app: App) -> int:
    return (await app.schedules.get("windlass.webhooks.look")).fired


async def test_documents_of_jobs_that_did_not_die_tell_nothing_and_go(tmp_path: Path, receiver: Receiver) -> None:
    app = new_app(tmp_path, receiver, "job.dead")

    @app.task
    async def works() -> None: ...

    @app.task
    async def fails() -> None:
        raise Dead("enough")

    async with app.worker():
        job = await works.enqueue()
        await job.result(SOON)
        store = await app.store()
        kept = NewDocument(kind=KIND, key=key_of(job._id, 1), body=b"")
        unknown = NewDocument(kind=KIND, key=key_of(bytes(16), 1), body=b"")
        await store.put_documents([kept, unknown])
        await ended(await fails.enqueue())
        await receiver.until(1)
        async with asyncio.timeout(SOON):
            while await store.list_documents(KIND):  # noqa: ASYNC110 - nobody announces it
                await asyncio.sleep(0.05)
    await app.aclose()
    assert [one["data"]["task"].rpartition(".")[2] for one in receiver.taken] == ["fails"]


async def test_what_is_running_yet_is_remembered_and_told_of_when_it_dies(tmp_path: Path, receiver: Receiver) -> None:
    app = new_app(tmp_path, receiver, "job.dead")
    started, may_die = asyncio.Event(), asyncio.Event()

    @app.task
    async def slow() -> None:
        started.set()
        await may_die.wait()
        raise Dead("enough")

    async with app.worker():
        job = await slow.enqueue()
        await started.wait()
        store = await app.store()
        await store.put_documents([NewDocument(kind=KIND, key=key_of(job._id, 1), body=b"")])  # as before a settle
        before = await _looks(app)
        async with asyncio.timeout(SOON):
            while await _looks(app) < before + 3:  # noqa: ASYNC110 - nobody announces looks
                await asyncio.sleep(0.05)
        assert receiver.ids == []
        assert len(await store.list_documents(KIND)) == 1
        may_die.set()
        await receiver.until(1)
    await app.aclose()


def test_of_many_deaths_some_are_told_and_the_others_counted() -> None:
    dead = [
        JobRecord(
            id=n.to_bytes(16, "big"), task=f"t{n % 2}", queue="q", requires="", priority=5, state=State.DEAD,
            payload=b"{}", options=None, token=1, finished_at=n * SECOND,
        )
        for n in range(MOST + 5)
    ]  # fmt: skip
    messages = of_deaths(dead[::-1])
    said = [json.loads(message.body) for message in messages]
    assert [one["data"]["job"][-2:] for one in said[:-1]] == [f"{n:02x}" for n in range(MOST)]
    assert (said[-1]["type"], said[-1]["data"]["jobs"], said[-1]["data"]["tasks"]) == (
        "jobs.dead",
        5,
        {"t0": 3, "t1": 2},
    )
    assert [m.id_for("a") for m in of_deaths(dead)] == [m.id_for("a") for m in messages], "whoever tells it"
    assert not {m.id_for("a") for m in messages} & {m.id_for("b") for m in messages}


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"url": "http://example.org/"}, "https"),
        ({"url": "file:///etc/passwd"}, "https"),
        ({"url": 7}, "https"),
        ({"secret": "hunter2"}, "whsec_"),
        ({"secret": "whsec_" + base64.b64encode(b"short").decode()}, "24 to 64"),
        ({"on": ["job.died"]}, "job.dead"),
        ({"on": ["queue.age>0"]}, "queue.age>300"),
        ({"on": []}, "nothing"),
    ],
)
def test_what_is_no_endpoint_is_refused_and_no_secret_shown(fields: dict[str, Any], why: str) -> None:
    with pytest.raises(InvalidOption, match=why) as caught:
        Endpoint(**{"url": "https://example.org/", "secret": SECRET, **fields})
    assert "hunter2" not in str(caught.value)


def test_an_app_sends_webhooks_once_and_shows_no_url(receiver: Receiver) -> None:
    app = App("memory://")
    endpoint = Endpoint(receiver.url, secret=SECRET)
    for wrong in ([], [endpoint, endpoint]):
        with pytest.raises(InvalidOption):
            send_webhooks(app, wrong)
    send_webhooks(app, endpoint)
    with pytest.raises(InvalidName):
        send_webhooks(app, endpoint)
    assert "hunter2" not in repr(endpoint)
    assert SECRET not in repr(endpoint)
