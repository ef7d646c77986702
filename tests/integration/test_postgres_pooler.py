"""PgBouncer between a store and its server, with two connections for all clients."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import asyncpg
import pytest

from tests.servers.pgbouncer import PgBouncer
from tests.servers.postgres import PostgresServer
from windlass import App
from windlass.core.ids import new_id
from windlass.core.lifecycle import Outcome, State
from windlass.core.model import ClaimRequest, Lane, NewJob, Session, Settled, Settlement, Unique
from windlass.store.postgres import wake
from windlass.store.postgres.store import PostgresStore


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with PostgresServer(fsync="off") as server:
        yield server


@pytest.fixture(scope="module", params=["transaction", "session"])
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def pooler(server: PostgresServer, mode: str) -> Iterator[PgBouncer]:
    # In session mode each connection of a client has one of the server's for itself.
    with PgBouncer(server, mode, size=2 if mode == "transaction" else 50) as pooler:
        yield pooler


@pytest.fixture
async def schema(server: PostgresServer, pooler: PgBouncer) -> AsyncIterator[str]:
    """The part of a URL that names an empty layout, created through the pooler."""
    store = PostgresStore(f"{pooler.url}?schema=through")
    assert await store.migrate()
    await store.aclose()
    yield "?schema=through"
    connection = await asyncpg.connect(server.url)
    await connection.execute("DROP SCHEMA through CASCADE")
    await connection.close()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A listener believes soon that nothing reaches it."""
    monkeypatch.setattr(wake, "_PATIENCE", 0.5)


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[PostgresStore]:
    store = PostgresStore(url)
    try:
        yield store
    finally:
        await store.aclose()


async def work(store: PostgresStore, jobs: int) -> None:
    """Enqueue one by one, at the same time, then claim and settle all of them."""
    now = await store.now()
    batch = [NewJob(id=new_id(), task="t", payload=b"{}", unique=Unique(f"{n}")) for n in range(jobs)]
    await asyncio.gather(*(store.enqueue([job], first_sent=now) for job in batch))
    session = Session(id=new_id(), node="n", pid=1)
    await store.open(session)
    claimed = (await store.claim(session.id, ClaimRequest(1, (Lane("default", "", jobs),)))).jobs
    assert len(claimed) == jobs
    ended = [Settlement(job.id, job.token, Outcome.SUCCEEDED, b"1") for job in claimed]
    more = ClaimRequest(2, (Lane("default", "", jobs),))
    assert set((await store.settle(session.id, ended, more)).answers) == {Settled.APPLIED}
    assert [result and result.result for result in await store.results([job.id for job in batch])] == [b"1"] * jobs
    await store.close(session.id)


async def test_a_pooler_is_found_by_itself(pooler: PgBouncer, schema: str) -> None:
    """Nothing that one call leaves behind on a connection is counted on by the next: several stores share them."""
    async with opened(pooler.url + schema) as store, opened(pooler.url + schema) as other:
        for _ in range(3):
            await work(store, 100)
            await work(other, 20)
        assert await store.counts() == {("default", State.SUCCEEDED): 360}


async def test_strangers_find_the_poolers_connections_as_they_were(
    server: PostgresServer, pooler: PgBouncer, schema: str
) -> None:
    async with opened(pooler.url + schema) as store:
        await work(store, 50)
        await store.counts()
        stranger = await asyncpg.connect(pooler.url, statement_cache_size=0)
        for _ in range(10):
            async with stranger.transaction():
                assert await stranger.fetchval("SHOW search_path") == '"$user", public'
                assert await stranger.fetchval("SHOW enable_seqscan") == "on"
                assert await stranger.fetchval("SELECT count(*) FROM pg_prepared_statements") == 0
        await stranger.close()


@pytest.mark.usefixtures("impatient")
async def test_hints_pass_where_the_mode_or_the_url_lets_them(
    server: PostgresServer, pooler: PgBouncer, mode: str, schema: str, caplog: pytest.LogCaptureFixture
) -> None:
    direct = f"{pooler.url}{schema}&listen={quote(server.url, safe='')}"
    for url in (direct, pooler.url + schema):
        async with opened(url) as store, opened(url) as other:
            await store.connect()
            heard = asyncio.Event()
            store.subscribe(["ready/default"], heard.set)
            await other.enqueue([NewJob(id=new_id(), task="t", payload=b"{}")], first_sent=await other.now())
            if url == direct or mode == "session":
                await asyncio.wait_for(heard.wait(), 10)
                assert "passes on no notifications" not in caplog.text
            else:
                assert "workers find new jobs by polling only; give the server's own URL as listen=" in caplog.text


async def test_workers_work_through_it(pooler: PgBouncer, schema: str) -> None:
    app = App(pooler.url + schema)

    @app.task
    async def add(a: int, b: int) -> int:
        return a + b

    async with app.worker(concurrency=10):
        jobs: list[Any] = await app.enqueue_many(add.bind(n, n) for n in range(200))
        assert [await job.result(timeout=20) for job in jobs] == [2 * n for n in range(200)]
    await app.aclose()
