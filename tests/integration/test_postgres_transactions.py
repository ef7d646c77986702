"""Jobs that are stored inside a transaction of the user's own: with it, or not at all."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import psycopg
import psycopg.rows
import pytest
import sqlalchemy
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session as BlockingSession

from tests.servers.database import Database
from windlass import App
from windlass.core.errors import CapabilityMissing, DuplicateJob, InvalidOption, UsageError
from windlass.core.ids import from_text
from windlass.core.lifecycle import State
from windlass.core.records import JobRecord
from windlass.store.postgres.store import PostgresStore

Enqueue = Callable[..., Awaitable[str]]
"""Enqueues inside the transaction, and answers the job's id."""


@pytest.fixture
def app(postgres_database: Database) -> App:
    postgres_database.store()  # empty
    app = App(postgres_database.url)

    @app.task(name="add", limit_by=None)
    async def add(a: int, b: int) -> int:
        return a + b

    return app


class Abandoned(Exception):
    """What the user's own work raises."""


# ------------------------------------------------------------------------------------------------------ drivers


@asynccontextmanager
async def _asyncpg(url: str, app: App) -> AsyncIterator[Enqueue]:
    connection = await asyncpg.connect(url)
    try:
        async with connection.transaction():

            async def enqueue(*args: Any, **how: Any) -> str:
                return (await app.tasks["add"].options(connection=connection, **how).enqueue(*args)).id

            yield enqueue
    finally:
        await connection.close()


@asynccontextmanager
async def _asyncpg_pool(url: str, app: App) -> AsyncIterator[Enqueue]:
    async with (
        asyncpg.create_pool(url, min_size=1, max_size=1) as pool,
        pool.acquire() as connection,
        connection.transaction(),
    ):

        async def enqueue(*args: Any, **how: Any) -> str:
            return (await app.tasks["add"].options(connection=connection, **how).enqueue(*args)).id

        yield enqueue


@asynccontextmanager
async def _psycopg_async(url: str, app: App) -> AsyncIterator[Enqueue]:
    rows: Any = psycopg.rows.dict_row  # whatever the user likes his rows to be
    async with await psycopg.AsyncConnection.connect(url, row_factory=rows) as connection:

        async def enqueue(*args: Any, **how: Any) -> str:
            return (await app.tasks["add"].options(connection=connection, **how).enqueue(*args)).id

        yield enqueue


@asynccontextmanager
async def _psycopg(url: str, app: App) -> AsyncIterator[Enqueue]:
    with psycopg.connect(url) as connection:

        async def enqueue(*args: Any, **how: Any) -> str:
            return app.tasks["add"].options(connection=connection, **how).enqueue_sync(*args).id

        yield enqueue


@asynccontextmanager
async def _psycopg_autocommit(url: str, app: App) -> AsyncIterator[Enqueue]:
    with psycopg.connect(url, autocommit=True) as connection, connection.transaction():

        async def enqueue(*args: Any, **how: Any) -> str:
            return (await app.tasks["add"].options(connection=connection, **how).enqueue(*args)).id

        yield enqueue


def _with_driver(url: str, driver: str) -> str:
    return url.replace("postgresql://", f"postgresql+{driver}://")


@asynccontextmanager
async def _sqlalchemy(url: str, app: App) -> AsyncIterator[Enqueue]:
    engine = sqlalchemy.create_engine(_with_driver(url, "psycopg"))
    try:
        with engine.begin() as connection:

            async def enqueue(*args: Any, **how: Any) -> str:
                return app.tasks["add"].options(connection=connection, **how).enqueue_sync(*args).id

            yield enqueue
    finally:
        engine.dispose()


@asynccontextmanager
async def _sqlalchemy_session(url: str, app: App) -> AsyncIterator[Enqueue]:
    engine = sqlalchemy.create_engine(_with_driver(url, "psycopg"))
    try:
        with BlockingSession(engine) as session, session.begin():

            async def enqueue(*args: Any, **how: Any) -> str:
                return app.tasks["add"].options(connection=session, **how).enqueue_sync(*args).id

            yield enqueue
    finally:
        engine.dispose()


@asynccontextmanager
async def _sqlalchemy_async(url: str, app: App, driver: str = "asyncpg") -> AsyncIterator[Enqueue]:
    engine = create_async_engine(_with_driver(url, driver))
    try:
        async with engine.begin() as connection:

            async def enqueue(*args: Any, **how: Any) -> str:
                return (await app.tasks["add"].options(connection=connection, **how).enqueue(*args)).id

            yield enqueue
    finally:
        await engine.dispose()


@asynccontextmanager
async def _sqlalchemy_async_session(url: str, app: App) -> AsyncIterator[Enqueue]:
    engine = create_async_engine(_with_driver(url, "psycopg"))
    try:
        async with AsyncSession(engine) as session, session.begin():

            async def enqueue(*args: Any, **how: Any) -> str:
                return (await app.tasks["add"].options(connection=session, **how).enqueue(*args)).id

            yield enqueue
    finally:
        await engine.dispose()


DRIVERS = [
    _asyncpg,
    _asyncpg_pool,
    _psycopg_async,
    _psycopg,
    _psycopg_autocommit,
    _sqlalchemy,
    _sqlalchemy_session,
    _sqlalchemy_async,
    _sqlalchemy_async_session,
]
drivers = pytest.mark.parametrize("transaction", DRIVERS, ids=lambda driver: driver.__name__.strip("_"))


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[PostgresStore]:
    store = PostgresStore(url)
    try:
        yield store
    finally:
        await store.aclose()


async def read(store: PostgresStore, *ids: str) -> list[JobRecord | None]:
    return await store.get_jobs([from_text(job_id) for job_id in ids])


# ------------------------------------------------------------------------------------------------------ with it, or not


@drivers
async def test_what_is_rolled_back_was_never_stored(app: App, postgres_database: Database, transaction: Any) -> None:
    async with opened(postgres_database.url) as store:
        try:
            async with transaction(postgres_database.url, app) as enqueue:
                job_id = await enqueue(1, 2, unique="k", limit_by="g:1")
                assert await read(store, job_id) == [None]
                raise Abandoned
        except Abandoned:
            pass
        assert await read(store, job_id) == [None]
        assert await store.counts() == {}
        # And the key is free.
        async with transaction(postgres_database.url, app) as enqueue:
            again = await enqueue(1, 2, unique="k")
        assert [record and record.id for record in await read(store, again)] == [from_text(again)]


@drivers
async def test_what_is_committed_wakes_a_worker(app: App, postgres_database: Database, transaction: Any) -> None:
    async with app, app.worker(concurrency=2):
        await asyncio.sleep(0)
        async with transaction(postgres_database.url, app) as enqueue:
            ids = [
                await enqueue(1, 2),
                await enqueue(2, 3, unique="k", priority=9, limit_by="g:1"),
                await enqueue(3, 4, delay=0.01, expires=3600, timeout=5),
            ]
        found = [await app.job(job_id).result(timeout=20) for job_id in ids]
        assert found == [3, 5, 7]


@drivers
async def test_a_hint_comes_with_the_commit(app: App, postgres_database: Database, transaction: Any) -> None:
    async with opened(postgres_database.url) as store:
        await store.connect()
        heard = asyncio.Event()
        store.subscribe(["ready/mail"], heard.set)
        async with transaction(postgres_database.url, app) as enqueue:
            await enqueue(1, 2, queue="mail")
            await store.now()  # a trip, after which a hint would have been there
            assert not heard.is_set()
        await asyncio.wait_for(heard.wait(), 10)


@drivers
async def test_jobs_are_stored_as_by_the_store_itself(app: App, postgres_database: Database, transaction: Any) -> None:
    """Field by field, but for what differs by nature."""
    how: list[dict[str, Any]] = [
        {},
        {"queue": "mail", "priority": 2, "headers": {"a": "\N{SNOWMAN}"}, "timeout": 3},
        {"delay": 60, "expires": 3600, "unique": "k'\"\\", "unique_until": "started", "limit_by": "g:%s $1"},
    ]
    async with opened(postgres_database.url) as store, app:
        async with transaction(postgres_database.url, app) as enqueue:
            inside = [await enqueue(1, 2, **one) for one in how]
        theirs = await read(store, *inside)
        postgres_database.store()
        ours = await read(store, *[(await app.tasks["add"].options(**one).enqueue(1, 2)).id for one in how])
    for one, other in zip(theirs, ours, strict=True):
        assert one is not None
        assert other is not None
        for name in ("task", "queue", "requires", "priority", "state", "payload", "options", "unique_key", "limit_key"):
            assert getattr(one, name) == getattr(other, name)
        assert _spans(one) == _spans(other)


def _spans(record: JobRecord) -> list[int | None]:
    return [at and at - record.enqueued_at for at in (record.due_at, record.expires_at)]


async def test_a_unique_key_is_judged_inside(app: App, postgres_database: Database) -> None:
    url = postgres_database.url
    async with app:
        first = await app.tasks["add"].options(unique="k").enqueue(1, 1)
        async with _asyncpg(url, app) as enqueue:
            assert await enqueue(1, 1, unique="k") == first.id
            with pytest.raises(DuplicateJob):
                await enqueue(1, 1, unique="k", on_conflict="raise")
            assert await enqueue(1, 1, unique="k", on_conflict="replace") != first.id
        assert [str(one) for one in (await read_states(url, first.id))] == ["cancelled"]


async def read_states(url: str, *ids: str) -> list[str]:
    async with opened(url) as store:
        return [record.state.word if record else "unknown" for record in await read(store, *ids)]


# ------------------------------------------------------------------------------------------------------ strangers


async def test_an_open_transaction_that_holds_a_key_delays_nobody_else(app: App, postgres_database: Database) -> None:
    """Nor one that brought a new task, queue and limit key with it. Only the same key waits, and then is judged."""
    url = postgres_database.url
    add = app.tasks["add"]
    async with app:
        async with asyncio.timeout(20):
            async with _asyncpg(url, app) as enqueue:
                held = await enqueue(1, 1, unique="k", queue="new", limit_by="g:1")
                same = asyncio.create_task(add.options(unique="k").enqueue(1, 1))
                others = [
                    add.enqueue(1, 1),
                    add.options(unique="other").enqueue(1, 1),
                    add.options(queue="new").enqueue(1, 1),
                    add.options(queue="new", limit_by="g:1").enqueue(1, 1),
                    app.enqueue_many([add.bind(1, 1), add.options(unique="third").bind(1, 1)]),
                ]
                await asyncio.gather(*others)
                # A worker goes on, too; what is not committed it does not see.
                async with app.worker(queues=["default", "new"]):
                    await (await add.options(queue="new", limit_by="g:1").enqueue(4, 5)).result(timeout=10)
                assert not same.done()
            assert (await same).id == held


async def test_what_an_open_transaction_replaces_delays_nobody_else(app: App, postgres_database: Database) -> None:
    """Even where the job that it replaced was the only one of its limit key, and others have that key."""
    url = postgres_database.url
    add = app.tasks["add"]
    async with app:
        keyed = {"limit_by": "g:1", "queue": "later"}
        await app.set_limit(key="g", concurrency=1)
        replaced = await add.options(unique="k", **keyed).enqueue(1, 1)
        async with asyncio.timeout(20), _asyncpg(url, app) as enqueue:
            newer = await enqueue(2, 2, unique="k", on_conflict="replace", **keyed)
            async with app.worker(queues=["default", "later"]):
                jobs = [await add.options(**keyed).enqueue(4, 5), await add.options(limit_by="g:1").enqueue(5, 6)]
                assert [await job.result(timeout=10) for job in jobs] == [9, 11]
        async with app.worker(queues=["default", "later"]):
            assert await app.job(newer).result(timeout=10) == 4
        assert await read_states(url, replaced.id, newer) == ["cancelled", "succeeded"]
        await app.set_limit(key="g")


async def test_a_key_that_is_held_for_long_is_an_error_that_says_so(
    app: App, postgres_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("windlass.store.postgres.store._KEY_PATIENCE", 0.2)
    monkeypatch.setattr("windlass.engine.enqueuer.RETRY_FOR", 0.5)
    async with app, _asyncpg(postgres_database.url, app) as enqueue:
        await enqueue(1, 1, unique="k")
        with pytest.raises(Exception, match="a transaction that has not ended holds the unique key 'k'"):
            await app.tasks["add"].options(unique="k").enqueue(1, 1)


# ------------------------------------------------------------------------------------------------------ refused


async def test_what_is_no_connection_with_a_transaction_is_refused(app: App, postgres_database: Database) -> None:
    add = app.tasks["add"]
    connection = await asyncpg.connect(postgres_database.url)
    try:
        with pytest.raises(UsageError, match="no transaction open"):
            await add.options(connection=connection).enqueue(1, 1)
        with pytest.raises(UsageError, match="to be awaited"):
            add.options(connection=connection).enqueue_sync(1, 1)
    finally:
        await connection.close()
    with (
        psycopg.connect(postgres_database.url, autocommit=True) as blocking,
        pytest.raises(UsageError, match="no transaction open"),
    ):
        add.options(connection=blocking).enqueue_sync(1, 1)
    lite = sqlalchemy.create_engine("sqlite://")
    with lite.connect() as other, pytest.raises(UsageError, match="leads to sqlite"):
        add.options(connection=other).enqueue_sync(1, 1)
    lite.dispose()
    for nothing in (3, object(), "postgresql://"):
        with pytest.raises(UsageError, match="expected a connection of asyncpg"):
            await add.options(connection=nothing).enqueue(1, 1)
    with pytest.raises(UsageError, match="one by one"):
        await app.enqueue_many([add.options(connection=object()).bind(1, 1)])
    await app.aclose()


@pytest.mark.parametrize("url", ["memory://", "sqlite:///x.db"])
async def test_a_store_that_cannot_says_so(url: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    app = App(url)

    @app.task
    async def add(a: int, b: int) -> int:
        return a + b

    with pytest.raises(CapabilityMissing, match="cannot store a job inside your own transaction"):
        await add.options(connection=object()).enqueue(1, 2)
    with pytest.raises(CapabilityMissing):
        add.options(connection=object()).enqueue_sync(1, 2)


# ------------------------------------------------------------------------------------------------------ plain SQL


async def test_plain_sql_stores_a_job(app: App, postgres_database: Database) -> None:
    connection = await asyncpg.connect(postgres_database.url)
    try:
        # Whatever the search path: the function knows its own.
        await connection.execute("CREATE SCHEMA IF NOT EXISTS evil; SET search_path = evil")
        async with app, app.worker(queues=["default", "mail"]):
            first = await connection.fetchval("""SELECT windlass.enqueue('add', '{"a": 1, "b": 2}')""")
            async with connection.transaction():
                second = await connection.fetchval(
                    """SELECT windlass.enqueue('add', '{"a": 3, "b": 4}', queue => 'mail', priority => 9,
                    delay => '10 ms', expires => '1 hour', unique_key => 'k', limit_key => 'g:1')"""
                )
                same = await connection.fetchval("SELECT windlass.enqueue('add', '{}', unique_key => 'k')")
            assert same == second
            assert await app.job(str(first)).result(timeout=10) == 3
            assert await app.job(str(second)).result(timeout=10) == 7
            assert first.version == 7
    finally:
        await connection.close()


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("enqueue('')", "task ''"),
        ("enqueue('a b')", "task 'a b'"),
        ("enqueue('add', '[1]')", "expected a JSON object"),
        ("enqueue('add', queue => 'no way')", "queue 'no way'"),
        ("enqueue('add', priority => 10)", "priority 10"),
        ("enqueue('add', delay => '-1 s')", "not into the past"),
        ("enqueue('add', delay => '1 s', at => now())", "give one of the two"),
        ("enqueue('add', unique_key => '')", "1 to 500 characters"),
        ("enqueue('add', unique_key => 'k', on_conflict => 'explode')", "on_conflict 'explode'"),
        ("enqueue('add', jsonb_build_object('a', repeat('x', 300000)))", "exceed the limit of 262144"),
    ],
)
async def test_plain_sql_is_refused_where_it_enters(postgres_database: Database, call: str, said: str) -> None:
    connection = await asyncpg.connect(postgres_database.url)
    try:
        with pytest.raises(asyncpg.PostgresError, match=said):
            await connection.fetchval(f"SELECT windlass.{call}")
    finally:
        await connection.close()


async def test_a_user_with_few_rights_may_enqueue(app: App, postgres_database: Database) -> None:
    """With the rights that the how-to page names, and no others."""
    owner = await asyncpg.connect(postgres_database.url)
    await owner.execute("""
        DROP ROLE IF EXISTS producer; CREATE ROLE producer LOGIN;
        GRANT USAGE ON SCHEMA windlass TO producer;
        GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA windlass TO producer;
        GRANT USAGE ON ALL SEQUENCES IN SCHEMA windlass TO producer;
    """)
    producer = await asyncpg.connect(postgres_database.url.replace("postgres@", "producer@"))
    try:
        job = await producer.fetchval("""SELECT windlass.enqueue('add', '{"a": 1, "b": 2}', limit_key => 'g')""")
        async with opened(postgres_database.url) as store:
            assert [one and one.state for one in await read(store, str(job))] == [State.READY]
    finally:
        await producer.close()
        await owner.execute("DROP OWNED BY producer; DROP ROLE producer")
        await owner.close()


def test_options_contradict_as_ever(app: App) -> None:
    with pytest.raises(InvalidOption):
        app.tasks["add"].options(connection=object(), delay=-1)
