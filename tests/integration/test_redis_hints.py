"""Whom a Redis store tells of a job: of many that are idle as few as there are jobs, and one more."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest

from tests.integration.engine_harness import LEASE, Running, Switch, enqueue, new_job, new_session, running, spec
from tests.servers.redis import RedisServer
from windlass.core.lifecycle import Outcome, State
from windlass.core.model import ClaimRequest, Lane, Parent, Settings, Settled, Settlement
from windlass.core.records import JobResult, Reason
from windlass.core.requirements import Offer
from windlass.engine import worker as worker_module
from windlass.store.redis import RedisStore


@spec
async def work() -> None: ...


@pytest.fixture
async def store(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RedisStore]:
    """A store on which nobody polls."""
    monkeypatch.setattr(worker_module, "POLL", 3600.0)
    made = RedisStore(redis_url, Settings(lease=LEASE))
    await made.connect()
    yield made
    await made.aclose()


async def idle_worker(stack: AsyncExitStack, store: object, **config: object) -> Running:
    worker = await stack.enter_async_context(running(store, work, **config))  # type: ignore[arg-type]
    await worker.signals.wait_for("idle")
    return worker


async def done(ends: asyncio.Queue[None], count: int = 1) -> None:
    async with asyncio.timeout(10):
        for _ in range(count):
            await ends.get()


async def test_a_job_wakes_two_of_many(store: RedisStore) -> None:
    ends: asyncio.Queue[None] = asyncio.Queue()

    @spec
    async def tell() -> None:
        ends.put_nowait(None)

    calls = Switch(store)
    async with AsyncExitStack() as stack:
        for _ in range(20):
            worker = await stack.enter_async_context(running(calls, tell))  # type: ignore[arg-type]
            await worker.signals.wait_for("idle")
        for jobs in (1, 3):
            before = len(calls.named("claim"))
            await enqueue(store, *(new_job("tell") for _ in range(jobs)))
            await done(ends, jobs)
            await asyncio.sleep(0.2)  # whoever else was told has looked by now
            looks = len(calls.named("claim")) - before
            # Each that was told looks; who found something looks once more, and so does who found another in between.
            assert jobs <= looks <= 3 * (jobs + 1)


async def test_a_job_that_needs_something_wakes_who_has_it(store: RedisStore) -> None:
    """Were idle workers told by queue alone, two of those that cannot run it might be."""
    ends: asyncio.Queue[None] = asyncio.Queue()

    @spec
    async def tell() -> None:
        ends.put_nowait(None)

    needy = replace(tell, requires="gpu=1")
    async with AsyncExitStack() as stack:
        for _ in range(20):
            await idle_worker(stack, store)
        worker = await stack.enter_async_context(running(store, needy, offer=Offer.of({"gpu": 1})))
        await worker.signals.wait_for("idle")
        for _ in range(10):
            await enqueue(store, new_job("tell", requires="gpu=1"))
            await done(ends)
            await worker.signals.wait_for("idle")


async def test_who_is_full_is_told_of_nothing(store: RedisStore) -> None:
    """A hint that nobody can follow is a job that waits."""
    ends: asyncio.Queue[None] = asyncio.Queue()
    held: asyncio.Queue[None] = asyncio.Queue()
    let_go = asyncio.Event()

    @spec
    async def hold() -> None:
        held.put_nowait(None)
        await let_go.wait()

    @spec
    async def tell() -> None:
        ends.put_nowait(None)

    async with AsyncExitStack() as stack:
        for _ in range(6):
            worker = await stack.enter_async_context(running(store, hold, tell, concurrency=1))
            await worker.signals.wait_for("idle")
        for _ in range(5):
            await enqueue(store, new_job("hold"))
            await done(held)
        for _ in range(10):
            await enqueue(store, new_job("tell"))
            await done(ends)
        let_go.set()


async def test_a_dead_session_swallows_no_hint(store: RedisStore) -> None:
    """One that waited for jobs, and will never look again."""
    ends: asyncio.Queue[None] = asyncio.Queue()

    @spec
    async def tell() -> None:
        ends.put_nowait(None)

    dead, session = store.twin(), new_session()
    await dead.connect()
    await dead.open(session)
    dead.subscribe(["ready/default", f"session/{session.id.hex()}"], lambda: None)
    async with running(store, tell) as worker:
        await worker.signals.wait_for("idle")
        for number in range(1, 11):
            await dead.claim(session.id, ClaimRequest(number, (Lane("default", "", 1),)))
            await enqueue(store, new_job("tell"))
            await done(ends)
            await worker.signals.wait_for("idle")
    await dead.aclose()


async def test_a_machine_that_dies_with_its_workers_swallows_no_hint(store: RedisStore) -> None:
    """Its connections are closed, and the server knows it long before their leases are over."""
    ends: asyncio.Queue[None] = asyncio.Queue()

    @spec
    async def tell() -> None:
        ends.put_nowait(None)

    async with running(store, tell) as worker:
        await worker.signals.wait_for("idle")
        for number in range(1, 9):
            dead, session = store.twin(), new_session()
            await dead.connect()
            await dead.open(session)
            dead.subscribe(["ready/default", f"session/{session.id.hex()}"], lambda: None)
            await dead.claim(session.id, ClaimRequest(number, (Lane("default", "", 1),)))
            await dead.aclose()
        for _ in range(4):
            await enqueue(store, new_job("tell"))
            await done(ends)


async def test_a_job_that_the_call_itself_takes_wakes_nobody(store: RedisStore) -> None:
    """The next step of a chain goes to who ended the one before."""
    session, lanes = new_session(), (Lane("default", "", 1),)
    parent = new_job("work")
    child = new_job("work", parents=[Parent(parent.id)])
    await store.open(session)
    await enqueue(store, parent, child)
    assert [job.id for job in (await store.claim(session.id, ClaimRequest(1, lanes))).jobs] == [parent.id]
    calls = Switch(store)
    async with AsyncExitStack() as stack:
        await idle_worker(stack, calls)
        before = len(calls.named("claim"))
        settlement = Settlement(parent.id, 1, Outcome.SUCCEEDED, result=b"null")
        answer = await store.settle(session.id, [settlement], ClaimRequest(2, lanes))
        assert answer.claim is not None
        assert [job.id for job in answer.claim.jobs] == [child.id]
        await asyncio.sleep(0.3)
        assert len(calls.named("claim")) == before


async def test_who_closes_its_session_waits_for_nothing(store: RedisStore, redis_server: RedisServer) -> None:
    async with AsyncExitStack() as stack:
        await idle_worker(stack, store, queues={"one": 1, "two": 1})
        keys = _keys(redis_server)
        lanes = {f":idle:{queue}\0{requires}" for queue in ("one", "two") for requires in ("", "process")}
        assert {key[key.index(":idle:") :] for key in keys if ":idle:" in key} == lanes
    assert not [key for key in _keys(redis_server) if ":idle:" in key]


@pytest.mark.parametrize(("size", "asked"), [(2, 0), (4096, 0), (4097, 1)])
async def test_the_hint_of_an_end_carries_a_short_result(
    store: RedisStore, redis_server: RedisServer, size: int, asked: int
) -> None:
    result = b"1" * size
    job_id, settlement, session = await _claimed(store, result)
    finished = asyncio.Event()
    subscription = store.subscribe([f"finished/{job_id.hex()}"], finished.set)
    assert await store.results([job_id]) == [None]
    assert (await store.settle(session, [settlement])).answers == [Settled.APPLIED]
    async with asyncio.timeout(10):
        await finished.wait()
    before = _scripts(redis_server)
    expected = JobResult(job_id, State.SUCCEEDED, Reason(0), result, None)
    assert await store.results([job_id, job_id]) == [expected, expected]
    assert _scripts(redis_server) - before == asked
    assert await store.results([job_id]) == [expected]
    assert _scripts(redis_server) - before == asked + 1, "what was told is told once"
    subscription.close()


async def test_a_result_that_nobody_takes_is_forgotten_with_the_subscription(
    store: RedisStore, redis_server: RedisServer
) -> None:
    job_id, settlement, session = await _claimed(store, b"1")
    finished = asyncio.Event()
    subscription = store.subscribe([f"finished/{job_id.hex()}"], finished.set)
    await store.now()
    await store.settle(session, [settlement])
    async with asyncio.timeout(10):
        await finished.wait()
    subscription.close()
    before = _scripts(redis_server)
    (found,) = await store.results([job_id])
    assert found is not None
    assert found.result == b"1"
    assert _scripts(redis_server) - before == 1


async def _claimed(store: RedisStore, result: bytes) -> tuple[bytes, Settlement, bytes]:
    (job_id,) = await enqueue(store, new_job("work"))
    session = new_session()
    await store.open(session)
    (job,) = (await store.claim(session.id, ClaimRequest(1, (Lane("default", "", 1),)))).jobs
    return job_id, Settlement(job_id, job.token, Outcome.SUCCEEDED, result=result), session.id


def _scripts(server: RedisServer) -> int:
    """How many scripts the server has run."""
    said = re.search(rb"cmdstat_evalsha:calls=(\d+)", server.ask(b"INFO commandstats\r\n"))
    return int(said[1]) if said else 0


def _keys(server: RedisServer) -> list[str]:
    return server.ask(b"KEYS *\r\n").decode(errors="replace").split("\r\n")
