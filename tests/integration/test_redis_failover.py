"""A replica takes the place of its server, at the same address: what a store object makes of it."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.integration.redis_harness import enqueue, store_on
from tests.integration.sqlite_harness import new_job, open_session, request
from tests.servers.proxy import Proxy
from tests.servers.redis import RedisReplica, RedisServer
from windlass.core.errors import StoreReadOnly, StoreUnavailable
from windlass.core.lifecycle import Outcome, State
from windlass.core.model import Settled, Settlement
from windlass.store.redis import RedisStore


@pytest.fixture
def primary() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def replica(primary: RedisServer) -> Iterator[RedisReplica]:
    with RedisReplica(primary) as server:
        server.catch_up()
        yield server


@pytest.fixture
def address(primary: RedisServer, replica: RedisReplica) -> Iterator[Proxy]:
    with Proxy(primary.port) as proxy:
        yield proxy


@pytest.fixture
async def store(address: Proxy) -> AsyncIterator[RedisStore]:
    async with store_on(f"redis://127.0.0.1:{address.port}/0?timeout=5") as store:
        await store.connect()
        yield store


async def test_connections_to_a_server_that_became_a_replica_are_left(
    store: RedisStore, replica: RedisReplica, address: Proxy
) -> None:
    """Nobody cuts them. The first call that the old server refuses goes to the new one, and hints come from there."""
    heard, ended = asyncio.Event(), asyncio.Event()
    subscription = store.subscribe(["ready/default"], heard.set)
    job = new_job()
    await enqueue(store, job)
    session = await open_session(store)
    (taken,) = (await store.claim(session, request(1))).jobs
    waiting = store.subscribe([f"finished/{job.id.hex()}"], ended.set)
    await store.now()
    replica.swap()
    address.lead_to(replica.port)
    done = Settlement(taken.id, taken.token, Outcome.SUCCEEDED, result=b"1")
    assert (await store.settle(session, [done])).answers == [Settled.APPLIED]
    heard.clear()
    ended.clear()
    async with asyncio.timeout(10):
        await heard.wait()  # whoever is back may have missed something
        await ended.wait()
    await store.now()
    heard.clear()
    await enqueue(store, new_job())
    async with asyncio.timeout(10):
        await heard.wait()
    assert b"finished" not in replica.ask(b"PUBSUB SHARDCHANNELS nothing*\r\n")
    assert b"ready/default" in replica.ask(b"PUBSUB SHARDCHANNELS\r\n")
    waiting.close()
    subscription.close()


async def test_while_the_address_leads_to_a_replica_writes_are_refused_as_such(
    store: RedisStore, replica: RedisReplica, address: Proxy
) -> None:
    job = new_job()
    await enqueue(store, job)
    replica.swap()
    for _ in range(3):
        with pytest.raises(StoreReadOnly, match="read-only replica"):
            await enqueue(store, new_job())
    assert await store.counts() == {("default", State.READY): 1}
    address.lead_to(replica.port)
    await enqueue(store, new_job())
    assert await store.counts() == {("default", State.READY): 2}


async def test_a_server_that_misses_its_replicas_takes_nothing(
    store: RedisStore, primary: RedisServer, replica: RedisReplica
) -> None:
    primary.ask(b"CONFIG SET min-replicas-to-write 1\r\n")
    await enqueue(store, new_job())
    replica.kill()
    async with asyncio.timeout(20):
        while b"connected_slaves:0" not in primary.ask(b"INFO replication\r\n"):  # noqa: ASYNC110 - it says so to nobody
            await asyncio.sleep(0.05)
    with pytest.raises(StoreUnavailable, match="cannot serve just now"):
        await enqueue(store, new_job())
    assert await store.counts() == {("default", State.READY): 1}


async def test_a_replica_that_lost_its_server_and_serves_nothing_stale(
    store: RedisStore, primary: RedisServer, replica: RedisReplica, address: Proxy
) -> None:
    """`MASTERDOWN`, between the death of the one and the promotion of the other."""
    await enqueue(store, new_job())
    replica.catch_up()
    replica.ask(b"CONFIG SET replica-serve-stale-data no\r\n")
    primary.kill()
    address.lead_to(replica.port)
    async with asyncio.timeout(20):
        while b"master_link_status:down" not in replica.ask(b"INFO replication\r\n"):  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.05)
    with pytest.raises(StoreUnavailable, match="cannot serve just now"):
        await enqueue(store, new_job())
    replica.promote()
    assert await store.counts() == {("default", State.READY): 1}
    await enqueue(store, new_job())
