"""What can happen between a store and its server: said in the port's words, and over by itself."""

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.integration.redis_harness import enqueue, now, store_on, url_of
from tests.integration.sqlite_harness import new_job, open_session, request
from tests.servers.proxy import Proxy, Weather
from tests.servers.redis import RedisServer
from windlass.core.clock import Instant
from windlass.core.errors import (
    SchemaMismatch,
    StaleEnqueue,
    StoreFull,
    StoreReadOnly,
    StoreUnavailable,
    UsageError,
)
from windlass.core.lifecycle import Outcome, State
from windlass.core.model import STALE_AFTER, STORED, ClaimedJob, Refusal, Settled, Settlement
from windlass.store.redis import RedisStore


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
async def store(server: RedisServer) -> AsyncIterator[RedisStore]:
    async with store_on(server) as store:
        await store.connect()
        yield store


def done(job: ClaimedJob) -> Settlement:
    return Settlement(job.id, job.token, Outcome.SUCCEEDED, result=b"1")


async def states(store: RedisStore, ids: list[bytes]) -> set[State | None]:
    return {job and job.state for job in await store.get_jobs(ids)}


# ------------------------------------------------------------------------------------------- lost connections


async def test_killed_connections_are_replaced(server: RedisServer, store: RedisStore) -> None:
    session = await open_session(store)
    for number in range(1, 4):
        server.ask(b"CLIENT KILL TYPE normal\r\n")
        await enqueue(store, new_job())
        server.ask(b"CLIENT KILL TYPE normal\r\n")
        answer = await store.claim(session, request(number))
        assert len(answer.jobs) == 1
        assert (await store.settle(session, [done(answer.jobs[0])])).answers == [Settled.APPLIED]


async def test_hints_come_again_after_their_connection_was_killed(server: RedisServer, store: RedisStore) -> None:
    heard = asyncio.Event()
    subscription = store.subscribe(["ready/default"], heard.set)
    await store.now()
    for _ in range(3):
        heard.clear()
        server.ask(b"CLIENT KILL TYPE pubsub\r\n")
        async with asyncio.timeout(10):
            await heard.wait()  # whoever is back may have missed something
        await store.now()
        heard.clear()
        await enqueue(store, new_job())
        async with asyncio.timeout(10):
            await heard.wait()
    subscription.close()


async def test_a_killed_server_comes_back_with_all_it_acknowledged(server: RedisServer, store: RedisStore) -> None:
    heard = asyncio.Event()
    store.subscribe(["ready/default"], heard.set)
    session = await open_session(store)
    ids = [new_job() for _ in range(300)]
    await enqueue(store, *ids)
    (first,) = (await store.claim(session, request(1, most=1))).jobs
    server.kill()
    began = time.monotonic()
    for _ in range(3):
        with pytest.raises(StoreUnavailable, match=r"redis://127\.0\.0\.1:\d+/0 \(tried for 0\.\d s\): "):
            await store.claim(session, request(2))
    assert time.monotonic() - began < 3
    server.start()
    assert await states(store, [job.id for job in ids]) == {State.READY, State.RUNNING}
    assert (await store.settle(session, [done(first)])).answers == [Settled.APPLIED]
    assert len((await store.claim(session, request(2))).jobs) == 200
    heard.clear()
    await enqueue(store, new_job())
    async with asyncio.timeout(10):
        await heard.wait()


async def test_a_paused_server_is_given_up_and_found_again(server: RedisServer, store: RedisStore) -> None:
    job = new_job()
    server.pause()
    try:
        sent = time.time_ns() // 1000
        began = time.monotonic()
        with pytest.raises(StoreUnavailable, match=r"did not answer within 1\.\d s"):
            await store.enqueue([job], first_sent=sent)
        assert 0.9 < time.monotonic() - began < 3
    finally:
        server.resume()
    # Whether the first call was carried out after all nobody knows; the second is answered as if it had been alone.
    assert (await store.enqueue([job], first_sent=sent)).jobs == [STORED]
    assert await states(store, [job.id]) == {State.READY}
    assert (await store.counts()) == {("default", State.READY): 1}


async def test_a_cancelled_call_leaves_no_answer_to_another(server: RedisServer, store: RedisStore) -> None:
    """Whoever is cancelled in the middle of a pipeline takes its connection along."""
    ids = [new_job() for _ in range(1000)]
    session = await open_session(store)
    sent = await now(store)
    cancelled = 0
    for part in range(20):
        call = asyncio.create_task(store.enqueue(ids, first_sent=sent))
        for _ in range(part % 4 + 1):
            await asyncio.sleep(0)
        call.cancel()
        await asyncio.wait([call])
        cancelled += call.cancelled()
        assert await now(store) >= sent
        assert await store.results([new_job().id]) == [None]
    assert cancelled > 5, "the server is too fast for this test"
    assert (await store.enqueue(ids, first_sent=sent)).jobs == [STORED] * 1000
    assert await store.counts() == {("default", State.READY): 1000}
    assert len((await store.claim(session, request(1))).jobs) == 200


async def test_calls_cancelled_while_the_server_is_paused(server: RedisServer, store: RedisStore) -> None:
    ids = [new_job() for _ in range(5)]
    await enqueue(store, *ids)
    server.pause()
    try:
        calls = [asyncio.create_task(store.get_jobs([job.id])) for job in ids]
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(calls[0]), 0.1)
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
    finally:
        server.resume()
    found = await asyncio.gather(*(store.get_jobs([job.id]) for job in reversed(ids)))
    assert [jobs[0] and jobs[0].id for jobs in found] == [job.id for job in reversed(ids)]


async def test_forgotten_scripts_are_sent_again(server: RedisServer, store: RedisStore) -> None:
    session = await open_session(store)
    for number in range(1, 4):
        server.ask(b"SCRIPT FLUSH\r\n")
        await enqueue(store, *(new_job() for _ in range(450)))
        server.ask(b"SCRIPT FLUSH\r\n")
        taken = (await store.claim(session, request(number))).jobs
        server.ask(b"SCRIPT FLUSH\r\n")
        result = await store.settle(session, [done(job) for job in taken])
        assert result.answers == [Settled.APPLIED] * 200
    assert await store.counts() == {("default", State.READY): 750, ("default", State.SUCCEEDED): 600}


# ------------------------------------------------------------------------------------------------ lost answers


async def test_a_lost_answer_of_an_enqueue_makes_no_second_job(server: RedisServer) -> None:
    with Proxy(server.port) as wire:
        async with store_on(f"redis://127.0.0.1:{wire.port}?timeout=1") as store:
            job = new_job()
            sent = await now(store)
            wire.truncate(1)
            assert (await store.enqueue([job], first_sent=sent)).jobs == [STORED], (
                "sent again at once, being idempotent"
            )
            wire.turn(Weather.DEAF)
            with pytest.raises(StoreUnavailable):
                await store.enqueue([new_job(), job], first_sent=sent)
            wire.turn(Weather.FAIR)
            assert (await store.enqueue([job], first_sent=sent)).jobs == [STORED]
            assert await store.counts() == {("default", State.READY): 2}


async def test_a_claim_whose_answer_was_lost_is_not_sent_again(server: RedisServer) -> None:
    with Proxy(server.port) as wire:
        async with store_on(f"redis://127.0.0.1:{wire.port}?timeout=1") as store:
            session = await open_session(store)
            await enqueue(store, *(new_job() for _ in range(3)))
            (first,) = (await store.claim(session, request(1, most=1))).jobs
            await store.settle(session, [done(first)])
            (held,) = (await store.claim(session, request(2, most=1))).jobs
            for number, settlements in ((3, []), (5, [done(held)])):
                wire.truncate(1)
                asked = request(number)
                call = store.settle(session, settlements, asked) if settlements else store.claim(session, asked)
                with pytest.raises(StoreUnavailable):
                    await call
                assert (await store.claim(session, request(number))).refused is Refusal.STALE_REQUEST, "it had arrived"
                await store.unclaim(session, number)
                (again,) = (await store.claim(session, request(number + 1))).jobs
                assert (again.token, again.attempt) == (number - 1, 1)
                if number == 3:
                    await store.unclaim(session, number + 1)
            assert (await store.settle(session, [done(held)])).answers == [Settled.ALREADY]


async def test_connections_cut_at_any_moment(server: RedisServer) -> None:
    """Producers and a worker on a line that is cut again and again: each job is stored and settled once."""
    with Proxy(server.port) as wire:
        async with store_on(f"redis://127.0.0.1:{wire.port}?timeout=1") as store:
            cutting = asyncio.create_task(_cut_again_and_again(wire))
            jobs = [new_job() for _ in range(2000)]
            sent = await _insist(store.now)
            for start in range(0, len(jobs), 100):
                part = jobs[start : start + 100]
                assert (await _insist(lambda part=part: store.enqueue(part, first_sent=sent))).jobs == [STORED] * 100
            cutting.cancel()
            assert await _insist(store.counts) == {("default", State.READY): 2000}


async def _cut_again_and_again(wire: Proxy) -> None:
    while True:
        await asyncio.sleep(0.005)
        wire.cut()


async def _insist(call):  # type: ignore[no-untyped-def]
    async with asyncio.timeout(30):
        while True:
            try:
                return await call()
            except StoreUnavailable:
                continue


# ------------------------------------------------------------------------------------------------- full, old, alien


async def test_a_full_server_refuses_jobs_and_lets_the_rest_be_done() -> None:
    with RedisServer("--maxmemory", "12mb", "--appendonly", "no") as server:
        async with store_on(server) as store:
            session = await open_session(store)
            sent = await now(store)
            with pytest.raises(StoreFull, match="maxmemory is reached; nothing of this call was stored"):
                await _fill(store, sent)
            stored = (await store.counts())["default", State.READY]
            assert stored % 50 == 0
            server.ask(b"CONFIG SET maxmemory 6mb\r\n")  # so that nothing that is done makes room
            number, finished = 0, []
            while taken := (await store.claim(session, request(number := number + 1))).jobs:
                result = await store.settle(session, [done(job) for job in taken])
                assert result.answers == [Settled.APPLIED] * len(taken)
                finished += [job.id for job in taken]
                await store.renew(session, [], number)
            assert len(finished) == stored
            with pytest.raises(StoreFull):
                await _fill(store, sent)
            server.ask(b"CONFIG SET maxmemory 0\r\n")
            await enqueue(store, new_job())


async def _fill(store: RedisStore, sent: Instant) -> None:
    for _ in range(1000):
        await store.enqueue([new_job(payload=b"%08192d" % 7) for _ in range(50)], first_sent=sent)


async def test_a_replica_is_read_only_and_says_so(server: RedisServer, store: RedisStore) -> None:
    ids = [new_job()]
    await enqueue(store, *ids)
    with RedisServer("--replicaof", "127.0.0.1", str(server.port)) as replica:
        async with store_on(replica) as reader:
            async with asyncio.timeout(20):
                while await states(reader, [ids[0].id]) != {State.READY}:  # noqa: ASYNC110 - it catches up by itself
                    await asyncio.sleep(0.05)
            with pytest.raises(StoreReadOnly, match="read-only replica"):
                await enqueue(reader, new_job())


async def test_another_layout_is_refused_by_every_verb(server: RedisServer, store: RedisStore) -> None:
    await enqueue(store, new_job())
    server.ask(b"SET {windlass}:layout 3\r\n")
    with pytest.raises(SchemaMismatch, match="version 3"):
        await enqueue(store, new_job())
    with pytest.raises(SchemaMismatch):
        await store.counts()
    async with store_on(server) as other:
        with pytest.raises(SchemaMismatch):
            await other.connect()
        with pytest.raises(SchemaMismatch):
            await other.migrate()


async def test_an_unreachable_server_is_named(server: RedisServer) -> None:
    server.stop()
    async with store_on(f"redis://me:secret@127.0.0.1:{server.port}/3") as store:
        with pytest.raises(StoreUnavailable) as caught:
            await store.connect()
        assert f"cannot reach redis://127.0.0.1:{server.port}/3 (tried for 0." in str(caught.value)
        assert "secret" not in str(caught.value)
        server.start()
        with pytest.raises(StoreUnavailable, match="look at user and password"):
            await store.connect()


async def test_a_server_that_is_too_old_is_refused() -> None:
    """There is none to be had; what it would say of itself is all that is looked at."""

    visits = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        visits.append(asyncio.current_task())
        while line := await reader.readline():
            if line.strip().upper() == b"INFO":
                writer.write(b"$21\r\nredis_version:6.2.14\r\n\r\n")
            elif line.strip().upper() in (b"SETINFO", b"SELECT"):
                writer.write(b"+OK\r\n")
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as old:
        port = old.sockets[0].getsockname()[1]
        async with store_on(f"redis://127.0.0.1:{port}") as store:
            with pytest.raises(
                StoreUnavailable, match=r"is Redis 6\.2\.14; Windlass needs Redis 7 or later, or Valkey"
            ):
                await store.connect()
        await asyncio.gather(*visits)  # type: ignore[arg-type]


async def test_risky_servers_are_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    with RedisServer("--maxmemory-policy", "allkeys-lru", "--appendonly", "no") as risky, RedisServer() as safe:
        for server in (risky, risky, safe):
            async with store_on(server) as store:
                await store.connect()
    said = [record.message for record in caplog.records if record.name == "windlass.store.redis"]
    assert len(said) == 2, said
    assert "maxmemory-policy is allkeys-lru: when its memory is full, the server throws jobs away" in said[0]
    assert "no append-only file" in said[1]


async def test_a_stale_enqueue_is_refused(store: RedisStore) -> None:
    with pytest.raises(StaleEnqueue, match="first sent 241 s ago"):
        await store.enqueue([new_job()], first_sent=await now(store) - STALE_AFTER - 1_000_000)
    assert await store.counts() == {}


# ---------------------------------------------------------------------------------------------- loops and forks


async def test_a_store_belongs_to_one_loop(store: RedisStore) -> None:
    async def elsewhere() -> None:
        with pytest.raises(UsageError, match="belongs to another event loop"):
            await store.now()

    await asyncio.to_thread(asyncio.run, elsewhere())


@pytest.mark.filterwarnings("ignore")  # of asyncio, which rightly complains of what the loop left open
def test_a_store_whose_loop_ended_is_opened_anew(redis_server: RedisServer) -> None:
    store = RedisStore(url_of(redis_server))

    async def use() -> int:
        return await store.now()

    assert asyncio.run(use()) <= asyncio.run(use())
    asyncio.run(store.aclose())
    gc.collect()
