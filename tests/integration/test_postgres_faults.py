"""What can go wrong between a store object and its server: on a real one, connection by connection."""

import asyncio
import gc
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from tests.servers.database import Database, migrated
from tests.servers.postgres import PostgresServer
from tests.servers.proxy import Proxy, Weather
from windlass.core.errors import SchemaMismatch, StoreError, StoreReadOnly, StoreUnavailable
from windlass.core.ids import new_id
from windlass.core.lifecycle import Outcome, State
from windlass.core.model import ClaimRequest, Lane, NewJob, Parent, Session, Settled, Settlement
from windlass.core.records import ReplayAnswer
from windlass.store.postgres import link, pool, schema, wake
from windlass.store.postgres.store import PostgresStore


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[PostgresStore]:
    store = PostgresStore(url)
    try:
        yield store
    finally:
        await store.aclose()


@asynccontextmanager
async def administrator(url: str) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


@pytest.fixture
def url(postgres_database: Database) -> str:
    postgres_database.store()  # empty
    return postgres_database.url


@pytest.fixture
def proxy(url: str) -> Iterator[Proxy]:
    with Proxy(int(url.rpartition(":")[2].partition("/")[0])) as proxy:
        yield proxy


def through(proxy: Proxy) -> str:
    return f"postgresql://postgres@127.0.0.1:{proxy.port}/postgres"


async def put(store: PostgresStore, **more: Any) -> bytes:
    job = NewJob(id=new_id(), task="t", payload=b"{}", **more)
    await store.enqueue([job], first_sent=await store.now())
    return job.id


async def until(condition: Callable[[], Awaitable[object]], what: str) -> None:
    end = time.monotonic() + 20
    while not await condition():
        assert time.monotonic() < end, f"waited in vain for {what}"
        await asyncio.sleep(0.01)


async def ours(connection: Any) -> list[int]:
    """The server's processes for connections but this one."""
    rows = await connection.fetch(
        "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
    )
    return [row[0] for row in rows]


# ------------------------------------------------------------------------------------------------------ connections


async def test_connections_that_were_ended_are_not_used_again(url: str) -> None:
    async with opened(url) as store, administrator(url) as admin:
        for _ in range(5):
            await asyncio.gather(*(put(store) for _ in range(20)))
            assert store._link.pool is not None
            connections = store._link.pool.connections()  # a hint that is told later may open another
            for connection in connections:
                await admin.fetchval("SELECT pg_terminate_backend($1)", connection.get_server_pid())
            await until(lambda gone=connections: _heard_good_bye(gone), "the driver to hear of it")
        assert sum((await store.counts()).values()) == 100


async def _heard_good_bye(connections: list[Any]) -> bool:
    return all(connection.is_closed() for connection in connections)


async def test_a_connection_that_the_server_ends_because_it_is_idle_costs_no_call(url: str) -> None:
    """Also where the driver has had no time to hear of it."""
    async with opened(f"{url}?options=-c%20idle_session_timeout%3D50") as store, administrator(url) as admin:
        if admin.get_server_version() < (14,):
            pytest.skip("PostgreSQL 13 ends no idle session")
        for _ in range(3):
            await put(store)
            time.sleep(0.2)  # noqa: ASYNC251 - the loop has no time
        await put(store)
        assert sum((await store.counts()).values()) == 4


async def test_a_call_whose_connection_is_ended_says_so_and_the_next_one_works(url: str) -> None:
    async with opened(url) as store, administrator(url) as admin:
        await store.now()
        async with admin.transaction():
            await admin.execute("LOCK TABLE windlass.bodies")
            call = asyncio.create_task(put(store))
            await until(lambda: _waiting(admin), "the call to wait for the lock")
            for pid in await ours(admin):
                await admin.fetchval("SELECT pg_terminate_backend($1)", pid)
            with pytest.raises(StoreUnavailable, match="terminating connection due to administrator command"):
                await call
        await put(store)
        assert sum((await store.counts()).values()) == 1


async def _waiting(connection: Any) -> bool:
    return bool(await connection.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"))


async def test_a_cancelled_call_leaves_no_connection_in_doubt(url: str) -> None:
    async with opened(f"{url}?pool=2") as store, administrator(url) as admin:
        await store.now()
        for _ in range(6):  # more than there are connections
            async with admin.transaction():
                await admin.execute("LOCK TABLE windlass.bodies")
                call = asyncio.create_task(put(store))
                await until(lambda: _waiting(admin), "the call to wait for the lock")
                call.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await call
        job_id = await put(store)
        assert (await store.get_jobs([job_id]))[0] is not None
        # The server heard of each, and none of its processes waits for ever.
        await until(lambda: _fewer(admin, 4), "the server's processes to end")


async def test_the_opening_of_a_connection_may_be_cancelled_at_any_moment(url: str) -> None:
    """And asyncio has nothing to complain of, which every test looks at in its end."""
    async with opened(url) as store, administrator(url) as admin:
        address = store._link.address
        for steps in range(60):
            opening = asyncio.create_task(pool.open_connection(address))
            for _ in range(steps):
                await asyncio.sleep(0)
            opening.cancel()
            with suppress(asyncio.CancelledError):
                (await opening).terminate()
        gc.collect()
        await until(lambda: _fewer(admin, 1), "the server's processes to end")


async def _fewer(connection: Any, than: int) -> bool:
    return len(await ours(connection)) < than


async def test_who_waits_for_a_connection_may_be_cancelled(url: str) -> None:
    async with opened(f"{url}?pool=1") as store, administrator(url) as admin:
        await store.now()
        async with admin.transaction():
            await admin.execute("LOCK TABLE windlass.bodies")
            holder = asyncio.create_task(put(store))
            await until(lambda: _waiting(admin), "the first call to wait for the lock")
            behind = [asyncio.create_task(store.counts()) for _ in range(3)]
            await asyncio.sleep(0)
            for call in behind:
                call.cancel()
            assert [type(said) for said in await asyncio.gather(*behind, return_exceptions=True)] == [
                asyncio.CancelledError
            ] * 3
        await holder
        assert sum((await store.counts()).values()) == 1


async def test_every_call_has_a_deadline(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link.Link.call, "__kwdefaults__", {"patience": 0.3})
    async with opened(url) as store, administrator(url) as admin:
        await store.now()
        async with admin.transaction():
            await admin.execute("LOCK TABLE windlass.bodies")
            with pytest.raises(StoreUnavailable, match="did not answer in time"):
                await put(store)
        await put(store)


@pytest.mark.parametrize("weather", [Weather.SILENT, Weather.DEAF, Weather.REFUSED])
async def test_a_network_that_is_silent_for_a_while(
    url: str, proxy: Proxy, weather: Weather, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link.Link.call, "__kwdefaults__", {"patience": 0.3})
    monkeypatch.setattr(pool, "CONNECT_PATIENCE", 0.3)
    async with opened(through(proxy)) as store:
        await store.now()
        proxy.turn(weather)
        if weather is Weather.REFUSED:
            proxy.cut()
        for _ in range(3):
            with pytest.raises(StoreUnavailable):
                await store.now()
        proxy.turn(Weather.FAIR)
        await until(lambda: _answers(store), "the store to go on")


async def _answers(store: PostgresStore) -> bool:
    try:
        await store.now()
    except StoreUnavailable:
        return False
    return True


# ------------------------------------------------------------------------------------------------------ hints


async def test_a_listener_that_was_ended_listens_again_and_wakes_for_what_it_missed(url: str) -> None:
    async with opened(url) as store, opened(url) as other, administrator(url) as admin:
        await store.connect()
        await other.now()
        heard = asyncio.Event()
        store.subscribe(["ready/default"], heard.set)
        for _ in range(3):
            heard.clear()
            listeners = await admin.fetch(
                "SELECT pid FROM pg_stat_activity WHERE query LIKE '%probe%' OR query LIKE '%LISTEN%'"
            )
            for (pid,) in listeners:
                await admin.fetchval("SELECT pg_terminate_backend($1) WHERE $1 <> pg_backend_pid()", pid)
            await put(other)
            await asyncio.wait_for(heard.wait(), 10)
        heard.clear()
        await until(lambda: _listens(store), "the listener")
        heard.clear()
        await put(other)
        await asyncio.wait_for(heard.wait(), 10)


async def _listens(store: PostgresStore) -> bool:
    return store._link.listener is not None and store._link.listener._listens.is_set()


async def test_a_listener_whose_connection_is_dead_finds_out_by_itself(
    url: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wake, "_EVERY", 0.1)
    monkeypatch.setattr(wake, "_PATIENCE", 0.2)
    monkeypatch.setattr(pool, "CONNECT_PATIENCE", 0.3)
    async with opened(through(proxy)) as store, opened(url) as other:
        await store.connect()
        heard = asyncio.Event()
        store.subscribe(["ready/default"], heard.set)
        proxy.turn(Weather.SILENT)
        await put(other)  # nobody hears of it, and no connection ends
        await until(lambda: _deaf(store), "the listener to notice")
        proxy.turn(Weather.FAIR)
        await asyncio.wait_for(heard.wait(), 10)  # for what was missed
        await until(lambda: _listens(store), "the listener")
        heard.clear()
        await put(other)
        await asyncio.wait_for(heard.wait(), 10)


async def _deaf(store: PostgresStore) -> bool:
    return not await _listens(store)


async def test_where_no_notification_arrives_everything_else_works(
    url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As behind a pooler in transaction mode, where LISTEN is heard by nobody."""
    monkeypatch.setattr(wake, "_PATIENCE", 0.05)
    monkeypatch.setattr("windlass.store.postgres.store._LISTEN_PATIENCE", 0.3)
    monkeypatch.setattr(wake, "_PROBE", "probe-that-nobody-hears")
    monkeypatch.setattr(wake.Listener, "_hear", lambda *_: None)
    async with opened(url) as store:
        await store.connect()
        await put(store)
    assert "workers find new jobs by polling only; give the server's own URL as listen=" in caplog.text


async def test_a_pooler_in_transaction_mode(url: str) -> None:
    """Every call is a transaction of its own, and no statement is prepared for the next one."""
    async with opened(f"{url}?pooler=transaction&listen={url}") as store:
        await store.connect()
        session = Session(id=new_id(), node="n", pid=1)
        await store.open(session)
        job_id = await put(store)
        (job,) = (await store.claim(session.id, ClaimRequest(1, (Lane("default"),)))).jobs
        await store.settle(session.id, [Settlement(job.id, job.token, Outcome.SUCCEEDED, b"1")])
        assert [result and result.result for result in await store.results([job_id])] == [b"1"]


# ------------------------------------------------------------------------------------- refused by the server


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda url: url.replace("postgres@", "nobody:hunter2@"), "nobody"),
        (lambda url: url.replace("/postgres", "/nowhere"), "nowhere"),
        (
            lambda _: "postgresql://u:hunter2@127.0.0.1:1/db",
            r"cannot reach postgresql://u:\*\*\*@127.0.0.1:1/db \(0\.\d s\)",
        ),
        (lambda _: "postgresql://u:hunter2@host.invalid/db", "cannot reach"),
    ],
)
async def test_a_server_that_cannot_be_reached_is_named(url: str, change: Callable[[str], str], said: str) -> None:
    async with opened(change(url)) as store:
        for verb in (store.connect, store.now, store.migrate):
            with pytest.raises(StoreUnavailable, match=said) as caught:
                await verb()
            assert "hunter2" not in str(caught.value)


async def test_a_server_that_may_not_be_written_to(url: str) -> None:
    async with opened(f"{url}?options=-c%20default_transaction_read_only%3Don") as store:
        assert await store.counts() == {}
        with pytest.raises(StoreReadOnly, match="may not be written to"):
            await put(store)


@pytest.mark.parametrize(
    ("code", "error", "said"),
    [
        ("53100", "StoreFull", "no room left on the disk"),
        ("53300", "StoreUnavailable", "injected"),
        ("57P03", "StoreUnavailable", "injected"),
        ("25P04", "StoreUnavailable", "injected"),  # transaction_timeout
        ("42501", "StoreReadOnly", "may not be written to"),
        ("22012", "StoreError", "injected"),
    ],
)
async def test_what_the_server_raises_is_told_in_the_words_of_the_port(
    url: str, code: str, error: str, said: str
) -> None:
    async with opened(url) as store, administrator(url) as admin, injected(admin, code, times=1000):
        with pytest.raises(StoreError, match=said) as caught:
            await put(store)
        assert type(caught.value).__name__ == error


@pytest.mark.parametrize("code", ["40P01", "40001", "53200", "57P05"])
async def test_what_was_undone_because_of_others_is_done_again(url: str, code: str) -> None:
    async with opened(url) as store, administrator(url) as admin, injected(admin, code, times=3):
        job_id = await put(store)
        assert (await store.get_jobs([job_id]))[0] is not None
        assert sum((await store.counts()).values()) == 1


@asynccontextmanager
async def injected(admin: Any, code: str, times: int) -> AsyncIterator[None]:
    """Have the next inserts fail, so many of them."""
    await admin.execute(f"""
        CREATE SEQUENCE public.failures;
        CREATE FUNCTION public.fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF nextval('public.failures') <= {times} THEN RAISE 'injected' USING ERRCODE = '{code}'; END IF;
            RETURN NEW;
        END $$;
        CREATE TRIGGER fail BEFORE INSERT ON windlass.bodies FOR EACH ROW EXECUTE FUNCTION public.fail();
    """)
    try:
        yield
    finally:
        await admin.execute("DROP FUNCTION public.fail CASCADE; DROP SEQUENCE public.failures")


async def test_two_who_want_the_same_rows_the_other_way_round(url: str) -> None:
    """Deadlocks are broken by the server, and seen by nobody."""
    async with opened(url) as store:
        for _ in range(10):
            ids = [await put(store) for _ in range(8)]
            await asyncio.gather(*(store.cancel(ids[:: 1 if n % 2 else -1]) for n in range(6)))
        assert len(await store.counts()) == 1


async def test_a_replay_and_the_ends_of_its_parents_do_not_lock_each_other_out(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They would be told apart by the server after a second, and one of them would be done again, each time that they
    meet: so a run with a large map could not be retried while workers went on with it."""
    repeated: list[BaseException] = []
    monkeypatch.setattr(pool, "may_be_repeated", repeated.append)
    async with opened(url) as store, opened(url) as other, administrator(url) as admin, administrator(url) as watcher:
        parents = sorted([await put(store), await put(store)])
        child = await put(store, parents=tuple(map(Parent, parents)))
        await store.cancel([child])
        session = Session(id=new_id(), node="n", pid=1)
        await other.open(session)
        held = {job.id: job for job in (await other.claim(session.id, ClaimRequest(1, (Lane("default"),)))).jobs}
        ends = [Settlement(one, held[one].token, Outcome.SUCCEEDED, b"1") for one in reversed(parents)]

        async def waiting(calls: int) -> None:
            await until(
                lambda: watcher.fetchval(
                    "SELECT count(*) = $1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'", calls
                ),
                f"{calls} calls that wait for a lock",
            )

        async with admin.transaction():
            await admin.execute("SELECT FROM windlass.jobs WHERE id = $1 FOR UPDATE", UUID(bytes=parents[0]))
            replaying = asyncio.create_task(store.replay([child]))
            await waiting(1)
            settling = asyncio.create_task(other.settle(session.id, ends))
            await waiting(2)
        assert await replaying == [ReplayAnswer.REPLAYED]
        assert (await settling).answers == [Settled.APPLIED, Settled.APPLIED]
        assert repeated == []


# ------------------------------------------------------------------------------------------------------ life


def test_a_forked_child_opens_its_own_connections(url: str) -> None:
    async def before(store: PostgresStore) -> None:
        await store.connect()
        await put(store)

    with asyncio.Runner() as runner:
        store = PostgresStore(url)
        runner.run(before(store))
        child = os.fork()
        if child == 0:
            status = 1
            try:
                asyncio.events._set_running_loop(None)
                asyncio.run(_in_child(store))
                status = 0
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        # The parent's connections are as they were.
        assert runner.run(_count(store)) == 2
        runner.run(store.aclose())


async def _in_child(store: PostgresStore) -> None:
    await put(store)
    assert await _count(store) == 2
    await store.aclose()


async def _count(store: PostgresStore) -> int:
    return sum((await store.counts()).values())


def test_a_store_whose_loop_has_ended_is_opened_anew(url: str) -> None:
    store = PostgresStore(url)
    for expected in (1, 2):
        with asyncio.Runner() as runner:  # nobody closes it
            runner.run(put(store))
            assert runner.run(_count(store)) == expected
    asyncio.run(store.aclose())


# ------------------------------------------------------------------------------------------------------ the layout


async def test_a_claim_that_took_a_job_outlives_a_crash_of_the_server() -> None:
    """Else others are given the job while the lease of who runs it still holds."""
    with PostgresServer(wal_writer_delay="10s") as server:
        async with opened(server.url) as store:
            await store.migrate()
            job_id = await put(store)
            session = Session(id=os.urandom(16), node="here", pid=1)
            await store.open(session)
            (claimed,) = (await store.claim(session.id, ClaimRequest(1, (Lane("default"),)))).jobs
            server.kill()
        server.start()
        async with opened(server.url) as store:
            (record,) = await store.get_jobs([job_id])
    assert record is not None
    assert (record.state, record.session, record.token) == (State.RUNNING, session.id, claimed.token)


async def test_a_database_without_a_layout_says_what_to_do(url: str) -> None:
    async with opened(f"{url}?schema=nothing_yet") as store:
        for verb in (store.connect, store.counts, lambda: put(store)):
            with pytest.raises(SchemaMismatch, match="run `windlass migrate`"):
                await verb()


async def test_many_who_migrate_at_once_do_it_once(url: str) -> None:
    stores = [PostgresStore(f"{url}?schema=together") for _ in range(5)]
    done = await asyncio.gather(*(store.migrate() for store in stores))
    assert sorted(map(len, done)) == [0, 0, 0, 0, schema.LATEST]
    await stores[0].connect()
    await put(stores[0])
    for store in stores:
        await store.aclose()
    async with administrator(url) as admin:
        await admin.execute("DROP SCHEMA together CASCADE")


async def test_a_layout_of_another_version_is_refused_also_where_it_was_open(url: str) -> None:
    async with opened(url) as store, opened(url) as late, administrator(url) as admin:
        session = Session(id=new_id(), node="somewhere", pid=7)
        await store.open(session)
        await admin.execute("UPDATE windlass.meta SET version = version + 1, oldest = version + 1")
        try:
            with pytest.raises(SchemaMismatch, match="upgrade Windlass"):
                await late.connect()
            with pytest.raises(SchemaMismatch, match="upgrade Windlass"):
                await store.renew(session.id, [], 0)
            with pytest.raises(SchemaMismatch, match="upgrade Windlass"):
                await store.migrate()
        finally:
            await admin.execute(f"UPDATE windlass.meta SET version = {schema.LATEST}, oldest = {schema.LATEST}")


async def test_workers_at_work_are_not_migrated_under(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    step = schema.STEPS[-1]._replace(version=schema.LATEST + 1, script="SELECT 1", title="a step to come")
    async with opened(url) as store, administrator(url) as admin:
        session = Session(id=new_id(), node="somewhere", pid=7)
        await store.open(session)
        await put(store)
        monkeypatch.setattr(schema, "STEPS", (*schema.STEPS, step))
        monkeypatch.setattr(schema, "LATEST", step.version)
        with pytest.raises(SchemaMismatch, match=r"workers of the older layout are at work \(somewhere:7\)"):
            await store.migrate()
        await store.close(session.id)
        assert await store.migrate() == [f"layout {step.version}: a step to come"]
        assert await store.migrate() == []
        await put(store)  # the functions were made anew
        await admin.execute(f"UPDATE windlass.meta SET version = {step.version - 1}, oldest = {step.version - 1}")


async def test_somebody_elses_schema_is_left_alone(url: str) -> None:
    async with administrator(url) as admin:
        await admin.execute("CREATE SCHEMA theirs; CREATE TABLE theirs.meta_data (a int)")
        async with opened(f"{url}?schema=theirs") as store:
            with pytest.raises(SchemaMismatch, match="tables that are not Windlass's"):
                await store.migrate()
        await admin.execute("DROP SCHEMA theirs CASCADE")


async def test_an_old_server_is_refused(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "OLDEST_SERVER", 990000)
    async with opened(f"{url}?schema=old") as store:
        with pytest.raises(StoreError, match="Windlass needs 13 or newer"):
            await store.migrate()


def test_a_database_in_another_encoding_is_refused(tmp_path: Any) -> None:
    del tmp_path
    with migrated(PostgresServer(fsync="off")) as database:

        async def try_it() -> None:
            async with administrator(database.url) as admin:
                await admin.execute(
                    "CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'"
                )
            async with opened(database.url.removesuffix("/postgres") + "/latin") as store:
                with pytest.raises(StoreError, match="needs a database with UTF8"):
                    await store.migrate()

        asyncio.run(try_it())
