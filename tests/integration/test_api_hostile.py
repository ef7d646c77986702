"""Records from a hostile or broken producer, under a real worker: dead or put back, with a reason; it goes on."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from windlass import App, RemoteError
from windlass.core.ids import new_id, to_text
from windlass.core.lifecycle import State
from windlass.core.model import NewJob
from windlass.core.records import JobRecord
from windlass.core.remote import decode_error

SOON = 10.0
BODIES = {
    "list": b"[]",
    "number": b"42",
    "null": b"null",
    "string": b'"x"',
    "nothing": b"",
    "pickle": b"\x80\x04\x95\x1d\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x06system\x94\x93\x94.",
    "yaml": b"!!python/object/apply:os.system ['touch owned']",
    "gzip": b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff",
    "deep": b'{"n":' + b"[" * 100_000,
    "digits": b'{"n":' + b"9" * 100_000 + b"}",
    "nan": b'{"n":NaN}',
    "surrogate": b'{"n":"\\ud800"}',
    "not text": b'{"n":"\xff\xfe"}',
    "truncated": b'{"n":1',
    "two": b'{"n":1}{"n":2}',
}
"""Bytes that no version of any task could read."""


@pytest.fixture(params=["memory", "sqlite"])
async def app(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[App]:
    app = App("memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/w.db")
    yield app
    await app.aclose()


async def put(app: App, task: str, *payloads: bytes) -> list[bytes]:
    """Store jobs past the codec, as another program could."""
    jobs = [NewJob(id=new_id(), task=task, payload=payload) for payload in payloads]
    store = await app.store()
    await store.enqueue(jobs, first_sent=await store.now())
    return [job.id for job in jobs]


async def record(app: App, job: bytes) -> JobRecord:
    [found] = await (await app.store()).get_jobs([job])
    assert found is not None
    return found


async def test_bytes_that_cannot_be_decoded_are_dead_at_once_and_kept(app: App) -> None:
    ran: list[object] = []

    @app.task(name="eats")
    async def eats(n: int) -> int:
        ran.append(n)
        return n

    jobs = await put(app, "eats", *BODIES.values())
    async with app.worker():
        for job, (name, body) in zip(jobs, BODIES.items(), strict=True):
            with pytest.raises(RemoteError, match="cannot be decoded"):
                await app.job(to_text(job)).result(SOON)
            found = await record(app, job)
            assert (found.state, found.payload) == (State.DEAD, body), name
        assert await (await eats.enqueue(5)).result(SOON) == 5
    assert ran == [5]


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        (b"{}", "argument `n`: it is missing"),
        (b'{"n":"1"}', "argument `n`: expected `int`, got `str`"),
        (b'{"n":1,"extra":2}', "argument `extra`: this version of the task has no such parameter"),
        (b'{"n":{"py/object":"os.system"}}', "argument `n`: expected `int`, got `object`"),
    ],
)
async def test_arguments_that_the_hints_reject_wait_for_a_worker_that_accepts_them(
    app: App, payload: bytes, said: str
) -> None:
    @app.task(name="eats")
    async def eats(n: int) -> int:
        return n

    [job] = await put(app, "eats", payload)
    async with app.worker(), asyncio.timeout(SOON):
        while not (found := await record(app, job)).errors:  # noqa: ASYNC110 - nobody is told of a job put back
            await asyncio.sleep(0.01)
    assert found.state in (State.SCHEDULED, State.READY)
    assert (found.attempt, found.failures) == (0, 0)
    assert said in decode_error(found.errors[-1]).message


async def test_options_and_errors_that_cannot_be_decoded_stop_nobody(app: App) -> None:
    @app.task(name="eats")
    async def eats(n: int) -> int:
        return n

    store = await app.store()
    jobs = [
        NewJob(id=new_id(), task="eats", payload=b'{"n":1}', options=options)
        for options in (b"", b"[]", b"\x80\x04", b'{"retry":"x","timeout":-5}', b"[" * 100_000)
    ]
    await store.enqueue(jobs, first_sent=await store.now())
    async with app.worker():
        for job in jobs:
            assert await app.job(to_text(job.id)).result(SOON) == 1
