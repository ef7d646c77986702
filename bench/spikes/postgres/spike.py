"""Spike: Windlass's hot verbs as SQL functions on a real PostgreSQL. Run: python bench/spikes/postgres/spike.py [--quick | --check]"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Coroutine, Sequence
from importlib.metadata import version
from operator import itemgetter
from pathlib import Path
from typing import Any

import asyncpg
import uvloop

sys.path.insert(0, str(Path(__file__).parent.parent))
from common import PAYLOAD, RESULT, Report, med, new_id, pct
from servers import postgres_server

SQL = Path(__file__).parent
LEASE = 9_000_000
DAY = 86_400_000_000
BYTES = 4 << 20  # payload bytes of one claim
QUICK = "--quick" in sys.argv
SUCCEEDED, DEAD, RETRY, RELEASE = range(4)
Job = tuple[bytes, str, int, int, bytes, int, tuple[bytes, ...]]  # id, task, lane, priority, payload, delay, parents
Done = tuple[bytes, int, int, bytes | None, int]  # id, token, outcome, data, delay


async def connect(dsn: str) -> asyncpg.Connection:
    c = await asyncpg.connect(dsn, server_settings={"search_path": "spike"})
    await c.set_type_codec("uuid", schema="pg_catalog", encoder=bytes, decoder=bytes, format="binary")
    return c


class Store:
    """The verbs, by hand: one statement, one round trip, one transaction each."""

    def __init__(self, c: asyncpg.Connection) -> None:
        self.c = c

    async def open(self, session: bytes, lease: int = LEASE) -> None:
        await self.c.execute("INSERT INTO session (id, lease_end) VALUES ($1, now_us() + $2) ON CONFLICT DO NOTHING", session, lease)

    async def enqueue(self, jobs: Sequence[Job], fresh: bool = False) -> list[bytes]:
        parents = [p for j in jobs for p in j[6]]
        children = [j[0] for j in jobs for _ in j[6]]
        columns = [list(x) for x in zip(*(j[:6] for j in jobs), strict=True)]
        return await self.c.fetchval("SELECT enqueue($1, $2, $3, $4, $5, $6, $7, $8, $9)", *columns, parents, children, fresh)

    async def claim(self, session: bytes, request: int, limit: int, *lanes: int, payload: int = BYTES) -> list[Any]:
        return await self.c.fetch("SELECT * FROM claim($1, $2, $3, $4, $5)", session, request, limit, list(lanes), payload)

    async def settle(
        self, session: bytes, done: Sequence[Done], request: int = 0, limit: int = 0, lanes: Sequence[int] = ()
    ) -> tuple[dict[bytes, int], list[Any]]:
        columns = [list(x) for x in zip(*sorted(done, key=itemgetter(0)), strict=True)] or [[]] * 5
        rows = await self.c.fetch("SELECT * FROM settle($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
                                  session, *columns, DAY, request, limit, list(lanes), BYTES)
        return {r[1]: r[0] for r in rows if r[0]}, [r[1:] if isinstance(r, tuple) else tuple(r)[1:] for r in rows if not r[0]]

    async def unclaim(self, session: bytes, request: int) -> int:
        async with self.c.transaction():
            return await self.c.fetchval("SELECT unclaim($1, $2)", session, request)

    async def renew(self, session: bytes, answered: int, held: list[bytes]) -> list[tuple[int, bytes]]:
        return [tuple(r) for r in await self.c.fetch("SELECT * FROM renew($1, $2, $3, $4)", session, LEASE, answered, held)]

    async def reap(self, session: bytes, seen: int, most: int = 200) -> int:
        return await self.c.fetchval("SELECT reap($1, $2, $3)", session, seen, most)


def job(lane: int = 1, priority: int = 5, delay: int = 0, parents: tuple[bytes, ...] = (), payload: bytes = PAYLOAD) -> Job:
    return (new_id(), "mail.send", lane, priority, payload, delay, parents)


async def refused(call: Coroutine[Any, Any, Any], why: str) -> None:
    try:
        await call
    except asyncpg.PostgresError as error:
        assert why in str(error), error
    else:
        raise AssertionError(f"not refused: {why}")


async def clear(s: Store) -> None:
    await s.c.execute("TRUNCATE job, done, edge, session, release_cursor")


async def check(s: Store, other: Store) -> None:
    """Each verb once, then the faults."""
    one, two = new_id(), new_id()
    await refused(s.claim(one, 1, 1, 1), "unknown")
    await s.open(one)
    await s.open(two)
    jobs = [job(priority=p) for p in (1, 5, 9, 5)]
    ids = [j[0] for j in jobs]
    assert await s.enqueue(jobs) == []
    assert sorted(await s.enqueue([*jobs, job(lane=7)])) == sorted(ids), "idempotent by id"
    got = await s.claim(one, 1, 3, 2, 1)
    assert {g[0] for g in got} == {ids[2], ids[1], ids[3]}, "priority, then FIFO"
    assert all(g["token"] == 1 and g["payload"] == PAYLOAD for g in got)
    await refused(s.claim(one, 1, 1, 1), "late")
    done: list[Done] = [(ids[2], 1, SUCCEEDED, RESULT, 0), (ids[1], 1, RETRY, b"boom", 10**9), (ids[3], 1, RELEASE, None, 0)]
    assert (await s.settle(two, done))[0] == dict.fromkeys((ids[1], ids[2], ids[3]), 2)
    assert (await s.settle(one, [(ids[2], 2, SUCCEEDED, RESULT, 0)]))[0] == {ids[2]: 2}
    answers, _ = await s.settle(one, done)
    assert answers == {}, "all applied"
    assert (await s.settle(one, done))[0] == dict.fromkeys((ids[1], ids[2], ids[3]), 1), "already"
    assert (await s.settle(one, [(ids[2], 1, DEAD, None, 0)]))[0] == {ids[2]: 2}, "same proof, other outcome"
    assert await s.enqueue([jobs[2]]) == [ids[2]], "a finished id is known"
    assert await s.c.fetchval("SELECT count(*) FROM job") == 4 and await s.c.fetchval("SELECT purge > 0 FROM done")
    _, claimed = await s.settle(one, [], 2, 1, [1])
    assert claimed[0][0] == ids[3], "released to its old position"
    assert (await s.settle(one, done[2:]))[0] == {ids[3]: 2}, "known only until the next claim"
    # unclaim, and a late request
    assert await s.unclaim(one, 3) == 0
    assert await s.unclaim(one, 2) == 1 and await s.unclaim(one, 2) == 0
    await refused(s.claim(one, 3, 1, 1), "late")
    assert (await s.settle(one, [(ids[3], 2, SUCCEEDED, b"1", 0)]))[0] == {ids[3]: 2}
    got = await s.claim(one, 4, 5, 1)
    assert {(g[0], g[1]) for g in got} == {(ids[3], 3), (ids[0], 1)}
    # renew
    stranger = new_id()
    await s.c.execute("UPDATE job SET cancel = true WHERE id = $1", ids[0])
    assert set(await s.renew(one, 3, [ids[0], stranger])) == {(1, stranger), (2, ids[0])}, "request 4 is not answered yet"
    assert set(await s.renew(one, 4, [ids[0]])) == {(2, ids[0]), (3, ids[3])}
    assert (await s.settle(one, [(ids[0], 1, RETRY, b"", 0)]))[0] == {}
    assert await s.c.fetchval("SELECT state FROM done WHERE id = $1", ids[0]) == 6, "cancelled"
    # reap
    three, four = new_id(), new_id()
    await s.open(three)
    assert (await s.claim(three, 1, 1, 1))[0][0] == ids[3]
    await s.renew(three, 1, [ids[3]])
    assert await s.reap(three, 0) == -2 and await s.reap(three, 1) == -3
    await s.c.execute("UPDATE session SET lease_end = 1 WHERE id = $1", three)
    assert await s.reap(three, 1) == 1 and await s.reap(three, 1) == 0 and await s.reap(three, 1) == -1
    assert (await s.settle(three, [(ids[3], 4, SUCCEEDED, b"1", 0)]))[0] == {ids[3]: 2}, "zombie"
    await refused(s.renew(three, 1, [ids[3]]), "unknown")
    await s.open(four, 0)
    await s.enqueue([job() for _ in range(300)])
    assert len(await s.claim(four, 1, 301, 1)) == 301
    assert await s.reap(four, 0, 100) == 100
    await refused(s.renew(four, 1, []), "revoked")
    await refused(s.claim(four, 2, 1, 1), "revoked")
    still = await s.c.fetchrow("SELECT id, token FROM job WHERE state = 3 LIMIT 1")
    assert (await s.settle(four, [(*still, SUCCEEDED, b"1", 0)]))[0] == {}, "before its turn: still succeeds"
    while await s.reap(four, 0, 100) >= 0:
        pass
    assert await s.c.fetchval("SELECT count(*) FROM job WHERE state = 2 AND losses = 2 AND id = $1", ids[3]) == (still[0] != ids[3])
    # a claim stops at its byte bound, but one job always comes
    await clear(s)
    await s.open(one)
    big = [job(payload=bytes(1000)) for _ in range(5)]
    await s.enqueue(big)
    assert [g[0] for g in await s.claim(one, 1, 5, 1, payload=1)] == [big[0][0]]
    assert {g[0] for g in await s.claim(one, 2, 5, 2, 1, payload=1001)} == {big[1][0], big[2][0]}
    # edges: two parents end at once on two connections; a wide parent leaves a cursor; an unknown parent refuses the whole batch
    await clear(s)
    await s.open(one)
    await s.open(two)
    for _ in range(50):
        a, b = job(), job()
        child = job(parents=(a[0], b[0]))
        await s.enqueue([a, b, child])
        request = time.monotonic_ns()
        assert len(await s.claim(one, request, 1, 1)) == len(await s.claim(two, request, 1, 1)) == 1
        await asyncio.gather(s.settle(one, [(a[0], 1, SUCCEEDED, b"1", 0)]), other.settle(two, [(b[0], 1, SUCCEEDED, b"1", 0)]))
        got = await s.claim(one, request + 1, 9, 1)
        assert [g[0] for g in got] == [child[0]]
        await s.settle(one, [(child[0], 1, SUCCEEDED, b"1", 0)])
    await refused(s.enqueue([job(), job(parents=(new_id(),))]), "unknown parent")
    assert await s.c.fetchval("SELECT count(*) FROM job") == 0
    a = job()
    await s.enqueue([a])
    await s.enqueue([job(parents=(a[0],)) for _ in range(400)])
    await s.claim(one, request + 2, 9, 1)
    await s.settle(one, [(a[0], 1, SUCCEEDED, b"1", 0)])
    assert await s.c.fetchval("SELECT count(*) FROM job WHERE state = 2") == 257
    assert await s.c.fetchval("SELECT parent FROM release_cursor") == a[0]
    # small tables are where the planner prefers other indexes
    await clear(s)
    await s.c.execute("LOAD 'auto_explain'")
    for _ in range(10):
        await s.enqueue([job() for _ in range(100)])
        await explain(s, lambda _: None, "small")
    await clear(s)


async def fill(s: Store, n: int, fresh: bool = True) -> float:
    await clear(s)
    t = time.perf_counter()
    for _ in range(0, n, 1000):
        await s.enqueue([job() for _ in range(1000)], fresh)
    return n / (time.perf_counter() - t)


async def drain(s: Store, jobs: int, batch: int, other: Store | None = None) -> tuple[float, float]:
    """Settle+claim in one call, two batches held; with `other`: settle and claim apart on two connections. -> jobs/s, client µs per job"""
    session = new_id()
    await s.open(session)
    running = await s.claim(session, 1, batch, 1)
    request, settled = 1, 0
    client, t = time.process_time(), time.perf_counter()
    pending: list[Done] = []
    while settled < jobs and (pending or running or request < 3):
        request += 1
        if other:
            calls: Any = asyncio.gather(s.settle(session, pending), other.claim(session, request, batch, 1))
        else:
            calls = asyncio.ensure_future(s.settle(session, pending, request, batch, [1]))
        await asyncio.sleep(0)
        outcome = [(g[0], g[1], SUCCEEDED, RESULT, 0) for g in running]
        answers, running = await calls
        if other:
            answers = answers[0]
        assert answers == {}
        settled += len(pending)
        pending = outcome
    assert settled >= jobs, settled
    wall = time.perf_counter() - t
    await s.settle(session, pending + [(g[0], g[1], RELEASE, None, 0) for g in running])
    return settled / wall, (time.process_time() - client) / settled * 1e6


async def timed(make: Callable[[], Coroutine[Any, Any, Any]]) -> float:
    t = time.perf_counter()
    await make()
    return (time.perf_counter() - t) * 1e3


async def explain(s: Store, say: Callable[[str], None], title: str) -> None:
    """Plans of the statements inside claim and settle, as auto_explain saw them."""
    plans: list[str] = []
    s.c.add_log_listener(listen := lambda _, message: plans.append(message.message))
    session = new_id()
    await s.open(session)
    for setting in ("auto_explain.log_min_duration = 0", "auto_explain.log_nested_statements = on", "auto_explain.log_analyze = on",
                    "auto_explain.log_timing = off", "client_min_messages = log"):
        await s.c.execute(f"SET {setting}")
    got = await s.claim(session, 1, 400, 1)
    await s.settle(session, [(g[0], g[1], SUCCEEDED, RESULT, 0) for g in got], 2, 400, [1])
    await s.c.execute("SET client_min_messages = notice")
    s.c.remove_log_listener(listen)
    assert plans and not any("on held" in plan for plan in plans), "claim and settle must never be driven by the per-session index"
    say(f"--- plans {title}")
    for plan in plans:
        if " job " in plan and "Query Text" in plan:
            nodes = [x for x in plan.splitlines() if any(w in x for w in ("Scan", "Nested", "Join", "Update on", "Delete on", "Insert on", "LockRows", "Sort "))]
            say("\n".join(x.rstrip() for x in nodes if "Query Text" not in x) + "\n")
    await s.unclaim(session, 2)


async def measure(s: Store, other: Store, dsn: str, say: Report) -> None:
    c = s.c
    for fresh in (True, False):
        rates = [await fill(s, 20_000, fresh) for _ in range(3)]
        say(f"enqueue, batches of 1000, {'ids known to be fresh' if fresh else 'ids checked against finished jobs'}: {med(rates):,.0f}/s")
    await fill(s, 20_000)
    await drain(s, 20_000 - 2000, 1000)
    checked = []
    for fresh in (True, False):
        rates = []
        for _ in range(5):
            batch = [job() for _ in range(1000)]
            rates.append(1e6 / await timed(lambda: s.enqueue(batch, fresh)))  # noqa: B023
        checked.append(med(rates))
    say(f"  with 18 000 finished jobs: fresh {checked[0]:,.0f}/s, checked {checked[1]:,.0f}/s")
    base: dict[int, float] = {}
    for waiting in (10_000, 50_000) if QUICK else (10_000, 1_000_000):
        small = waiting < 100_000
        if not small:
            rate = await fill(s, waiting)
            size = await c.fetchval("SELECT pg_total_relation_size('job')") / waiting
            say(f"filled {waiting:,} at {rate:,.0f}/s; {size:.0f} B per job with its indexes")
        for batch in (200, 400, 1000):
            drained = []
            for _ in range(3):
                if small:
                    await fill(s, waiting + 10_000)
                drained.append(await drain(s, 10_000 if small else 20_000, batch))
            rate = med([d[0] for d in drained])
            ratio = f", {rate / base[batch]:.2f} of the small one" if batch in base else ""
            base.setdefault(batch, rate)
            say(f"settle+claim by {batch:4}, {waiting:,} waiting: {rate:,.0f}/s (each {', '.join(f'{d[0]:,.0f}' for d in drained)}); "
                f"client {med([d[1] for d in drained]):.1f} µs per job{ratio}")
    await c.execute("LOAD 'auto_explain'")
    await explain(s, say, "at 1 M waiting, statistics as autovacuum left them")
    apart = med([(await drain(s, 20_000, 400, other))[0] for _ in range(3)])
    say(f"settle and claim apart on two connections, by 400: {apart:,.0f}/s")
    # stale statistics: analysed while the table was empty, then filled with autovacuum off
    await clear(s)
    await c.execute("ALTER TABLE job SET (autovacuum_enabled = off); ALTER TABLE done SET (autovacuum_enabled = off); ANALYZE job; ANALYZE done")
    await fill(s, 50_000 if QUICK else 1_000_000)
    fresh_connection = Store(await connect(dsn))
    await fresh_connection.c.execute("LOAD 'auto_explain'")
    await explain(fresh_connection, say, "at 1 M waiting, statistics taken when the table was empty")
    for n in range(3):
        rate, _ = await drain(fresh_connection, 30_000, 400)
        say(f"stale statistics and no vacuum at all, settle+claim by 400, jobs {n * 30_000:,} to {(n + 1) * 30_000:,}: {rate:,.0f}/s")
    await c.execute("ALTER TABLE job RESET (autovacuum_enabled); ALTER TABLE done RESET (autovacuum_enabled)")
    await fresh_connection.c.close()
    await fill(s, 5_000)
    times: dict[str, list[float]] = {}

    async def note(name: str, make: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        times.setdefault(name, []).append(await timed(make))

    for _ in range(9):
        await fill(s, 3_000)
        session = new_id()
        await s.open(session, 0)
        got: list[Any] = []

        async def claim() -> None:
            got[:] = await s.claim(session, 1, 1000, 1)  # noqa: B023

        async def reap() -> None:
            while await s.reap(session, 2) > 0:  # noqa: B023
                pass

        await note("claim 1000", claim)
        held = [g[0] for g in got]
        await note("renew 1000", lambda: s.renew(session, 1, held))  # noqa: B023
        await note("renew 1000, gives back 200", lambda: s.renew(session, 1, held[200:]))  # noqa: B023
        await note("unclaim 800", lambda: s.unclaim(session, 1))  # noqa: B023
        await s.claim(session, 2, 1000, 1)
        await c.execute("UPDATE session SET lease_end = 0 WHERE id = $1", session)
        await note("reap 1000 by 200", reap)
        await s.open(session, 0)
        await s.open(other_session := new_id())
        await note("claim of 64 empty lanes", lambda: s.claim(other_session, 1, 1, *range(100, 164)))  # noqa: B023
    for name, values in times.items():
        say(f"{name}: median {med(values):.2f} ms, worst of 9 {max(values):.2f} ms")
    await clear(s)
    for title, durable in (("synchronous_commit on", "on"), ("off", "off")):
        await c.execute(f"SET synchronous_commit = {durable}")
        session = new_id()
        await s.open(session)
        latency = []
        for k in range(1, 601):
            t = time.perf_counter()
            await s.enqueue([job()], True)
            got = await s.claim(session, k, 1, 1)
            await s.settle(session, [(got[0][0], got[0][1], SUCCEEDED, RESULT, 0)])
            latency.append((time.perf_counter() - t) * 1e3)
        say(f"idle enqueue, claim, settle in turn, {title}: p50 {pct(latency, 0.5):.3f} ms, p99 {pct(latency, 0.99):.3f} ms")
    await c.execute("SET synchronous_commit = on")
    # chains: every job has one child; both halves drained
    got = []
    rates = []
    for _ in range(3):
        await clear(s)
        for _ in range(10):
            heads = [job() for _ in range(1000)]
            await s.enqueue([*heads, *(job(parents=(h[0],)) for h in heads)])
        rates.append((await drain(s, 18_000, 400))[0])
    say(f"pairs parent -> child, settle+claim by 400: {med(rates):,.0f} jobs/s")
    for workers in (2, 4):
        rates = []
        stores = [Store(await connect(dsn)) for _ in range(workers)]
        for _ in range(3):
            await fill(s, 60_000)
            t = time.perf_counter()
            await asyncio.gather(*(drain(x, 40_000 // workers, 200) for x in stores))
            rates.append(40_000 / (time.perf_counter() - t))
        for x in stores:
            await x.c.close()
        say(f"{workers} sessions in one process, by 200: {med(rates):,.0f} jobs/s together")
    for kib in (4, 64, 256):
        line = []
        body = b'{"x": "%s"}' % new_id().hex().encode() * (kib * 25)
        for bound in (1 << 40, BYTES):
            spent = []
            for _ in range(3):
                await clear(s)
                await s.open(session)
                for _ in range(10):
                    await s.enqueue([job(payload=body[: kib * 1024]) for _ in range(20)])
                got = []

                async def claim_big() -> None:
                    got[:] = await s.claim(session, 1, 200, 1, payload=bound)  # noqa: B023

                spent.append(await timed(claim_big))
            line.append(f"{len(got)} jobs in {med(spent):.1f} ms")
        say(f"claim of 200 with {kib} KiB payloads: unbounded {line[0]}; bounded to 4 MiB {line[1]}")
    await clear(s)
    release = []
    for k in range(9):
        for table in ("job", "done", "edge", "session"):
            await c.execute(f"DELETE FROM {table}")
        await s.open(session)
        parent = job()
        await s.enqueue([parent])
        await s.enqueue([job(parents=(parent[0],)) for _ in range(256)])
        await s.claim(session, k + 1, 1, 1)
        release.append(await timed(lambda: s.settle(session, [(parent[0], 1, SUCCEEDED, RESULT, 0)])))  # noqa: B023
    say(f"settle that releases 256 edges: median {med(release):.2f} ms")


async def main() -> None:
    with postgres_server() as dsn:
        c = await asyncpg.connect(dsn)
        await c.execute((SQL / "schema.sql").read_text())
        for verb in ("enqueue", "claim", "settle", "unclaim", "renew", "reap"):
            await c.execute((SQL / "sql" / f"{verb}.sql").read_text())
        server = await c.fetchval("SHOW server_version")
        await c.close()
        s, other = Store(await connect(dsn)), Store(await connect(dsn))
        await check(s, other)
        say = Report("postgres", f"PostgreSQL {server}, fsync on", f"asyncpg {version('asyncpg')}")
        say("all assertions hold")
        if "--check" not in sys.argv:
            await measure(s, other, dsn, say)
        await s.c.close()
        await other.c.close()


uvloop.run(main())
