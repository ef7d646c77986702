"""Spike: Windlass's hot verbs as Lua scripts on a real Redis. Run: python bench/spikes/redis/spike.py [--quick]"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Coroutine, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import redis.asyncio as aredis
import uvloop
from redis.exceptions import ResponseError

sys.path.insert(0, str(Path(__file__).parent.parent))
from common import PAYLOAD, RESULT, Report, med, new_id, pct
from servers import redis_server

LUA = Path(__file__).parent
LEASE = 9_000_000
DAY = 86_400_000_000
BYTES = 4 << 20  # payload bytes of one claim
QUICK = "--quick" in sys.argv


def load(name: str) -> str:
    """A script with its `--!include` lines replaced by the shared parts."""
    lines = (LUA / f"{name}.lua").read_text().splitlines()
    return "\n".join((LUA / f"{x[11:].strip()}.lua").read_text() if x.startswith("--!include") else x for x in lines)


class Store:
    """The verbs, by hand: one EVALSHA per chunk, the chunks of one call pipelined in one round trip."""

    def __init__(self, client: aredis.Redis, chunk: int = 200) -> None:
        self.r, self.chunk, self.ns = client, chunk, b"{spike}"
        self.sha: dict[str, str] = {}

    async def load(self) -> Store:
        for verb in ("open", "enqueue", "claim", "settle", "unclaim", "renew", "reap"):
            self.sha[verb] = await self.r.script_load(load(verb))
        return self

    async def run(self, verb: str, *args: Any) -> Any:
        return await self.r.evalsha(self.sha[verb], 1, self.ns, *args)

    async def enqueue(self, jobs: Sequence[tuple[Any, ...]]) -> list[int]:
        """jobs: (id, task, lane, priority, payload, delay, parents)."""
        if len(jobs) <= self.chunk:
            return await self.run("enqueue", *[x for j in jobs for x in j])
        pipe = self.r.pipeline(transaction=False)
        for k in range(0, len(jobs), self.chunk):
            pipe.evalsha(self.sha["enqueue"], 1, self.ns, *[x for j in jobs[k : k + self.chunk] for x in j])
        return [x for part in await pipe.execute() for x in part]

    async def claim(self, session: bytes, request: int, limit: int, *lanes: bytes, payload: int = BYTES) -> list[Any]:
        flat = await self.run("claim", session, request, limit, payload, *lanes)
        return [flat[i : i + 7] for i in range(0, len(flat), 7)]

    async def settle(
        self, session: bytes, done: Sequence[tuple[Any, ...]], request: int = 0, limit: int = 0, lanes: Sequence[bytes] = ()
    ) -> tuple[bytes, list[Any], bytes]:
        """done: (id, token, kind, data, delay). Chunks of settlements; the last one carries the claim."""
        parts = [done[k : k + self.chunk] for k in range(0, len(done), self.chunk)] or [()]
        pipe = self.r.pipeline(transaction=False)
        for n, part in enumerate(parts):
            last = n == len(parts) - 1
            pipe.evalsha(self.sha["settle"], 1, self.ns, session, DAY, request if last else 0, limit, BYTES, len(lanes), *lanes,
                         *[x for s in part for x in s])
        answers = await pipe.execute()
        flat = answers[-1][1]
        return b"".join(a[0] for a in answers), [flat[i : i + 7] for i in range(0, len(flat), 7)], answers[-1][2]


def job(lane: bytes = b"a", priority: int = 5, delay: int = 0, parents: bytes = b"", payload: bytes = PAYLOAD) -> tuple[Any, ...]:
    return (new_id(), b"mail.send", lane, priority, payload, delay, parents)


async def refused(call: Coroutine[Any, Any, Any], why: str) -> None:
    try:
        await call
    except ResponseError as error:
        assert str(error) == why, error
    else:
        raise AssertionError(f"not refused: {why}")


async def check(s: Store) -> None:
    """Each verb once, then the faults."""
    r, ns = s.r, s.ns.decode()
    await r.flushdb()
    one, two = new_id(), new_id()
    await refused(s.claim(one, 1, 1, b"a"), "REFUSED unknown")
    await s.run("open", one, LEASE)
    await s.run("open", two, LEASE)
    jobs = [job(priority=p) for p in (1, 5, 9, 5)]
    assert await s.enqueue(jobs) == [1, 1, 1, 1]
    assert await s.enqueue([*jobs, jobs[0]]) == [0] * 5, "idempotent by id"
    assert await r.zcard(f"{ns}:l:a") == 4
    ids = [j[0] for j in jobs]
    got = await s.claim(one, 1, 3, b"b", b"a")
    assert [g[0] for g in got] == [ids[2], ids[1], ids[3]], "priority, then FIFO"
    assert all(g[1] == b"1" and g[3] == PAYLOAD for g in got)
    await refused(s.claim(one, 1, 1, b"a"), "REFUSED late")
    # settle: success, retry, release, each repeated; a stranger; a wrong token
    done = [(ids[2], 1, "succeeded", RESULT, 0), (ids[1], 1, "retry", b"boom", 1000), (ids[3], 1, "release", b"", 0)]
    assert (await s.settle(two, done))[0] == b"lll"
    assert (await s.settle(one, [(ids[2], 2, "succeeded", RESULT, 0)]))[0] == b"l"
    answers, claimed, no = await s.settle(one, done, 2, 5, [b"a"])
    assert answers == b"aaa" and no == b""
    assert [g[0] for g in claimed] == [ids[3], ids[0]], "released to its old position, before the lower priority"
    assert (await s.settle(one, done))[0] == b"rrr"
    assert (await s.settle(one, [(ids[2], 1, "dead", b"", 0)]))[0] == b"l", "same proof, other outcome"
    assert await r.zscore(f"{ns}:due", ids[1]) and await r.zscore(f"{ns}:purge", ids[2])
    # unclaim: request 2 is given back, a late request 3 is refused
    assert await s.run("unclaim", one, 3, 200) == 0
    assert await s.run("unclaim", one, 2, 200) == 2 and await s.run("unclaim", one, 2, 200) == 0
    await refused(s.claim(one, 3, 1, b"a"), "REFUSED late")
    assert (await s.settle(one, [(ids[3], 2, "succeeded", b"1", 0)]))[0] == b"l", "given back: lost"
    got = await s.claim(one, 4, 5, b"a")
    assert [g[0] for g in got] == [ids[3], ids[0]] and [g[1] for g in got] == [b"3", b"2"]
    # renew: a row of an answered request that the worker does not hold goes back; what it does not have is lost
    await s.run("open", two, LEASE)
    stranger = new_id()
    await r.sadd(f"{ns}:c:".encode() + one, ids[0])
    lost, cancel, back = await s.run("renew", one, LEASE, 3, ids[0] + stranger)
    assert (lost, cancel, back) == ([stranger], [ids[0]], []), "request 4 is not answered yet"
    lost, cancel, back = await s.run("renew", one, LEASE, 4, ids[0])
    assert (lost, back) == ([], [ids[3]])
    assert (await s.settle(one, [(ids[0], 2, "retry", b"", 0)]))[0] == b"a"
    assert await r.hget(f"{ns}:j:".encode() + ids[0], "s") == b"cancelled"
    # reap: compare-and-set, lease end, revocation, zombie, the second loss makes a suspect
    three, four = new_id(), new_id()
    await s.run("open", three, LEASE)
    assert (await s.claim(three, 1, 1, b"a"))[0][0] == ids[3]
    await s.run("renew", three, LEASE, 1, ids[3])
    assert await s.run("reap", three, 0, 200) == -2 and await s.run("reap", three, 1, 200) == -3
    await r.hset(f"{ns}:s:".encode() + three, "u", 1)
    assert await s.run("reap", three, 1, 200) == 1 and await s.run("reap", three, 1, 200) == -1
    assert (await s.settle(three, [(ids[3], 4, "succeeded", b"1", 0)]))[0] == b"l", "zombie"
    await refused(s.run("renew", three, LEASE, 1, ids[3]), "REFUSED unknown")
    await s.run("open", four, 0)
    many = [job() for _ in range(300)]
    await s.enqueue(many)
    assert len(await s.claim(four, 1, 301, b"a")) == 301
    first = await s.run("reap", four, 0, 100)
    assert 0 < first <= 100
    await refused(s.run("renew", four, LEASE, 1, b""), "REFUSED revoked")
    await refused(s.claim(four, 2, 1, b"a"), "REFUSED revoked")
    still = (await r.hkeys(f"{ns}:h:".encode() + four))[0]
    token = 5 if still == ids[3] else 1
    assert (await s.settle(four, [(still, token, "succeeded", b"1", 0)]))[0] == b"a", "before its turn: still succeeds"
    while await s.run("reap", four, 0, 100) > 0:
        pass
    if still != ids[3]:
        assert await r.zscore(f"{ns}:x:a", ids[3]), "second loss: suspect"
    assert await r.zcard(f"{ns}:l:a") + await r.zcard(f"{ns}:x:a") == 300
    # a claim stops at its byte bound, but one job always comes; what was not taken keeps its place
    await r.flushdb()
    await s.run("open", one, LEASE)
    big = [job(payload=bytes(1000)) for _ in range(5)]
    await s.enqueue(big)
    assert [g[0] for g in await s.claim(one, 1, 5, b"a", payload=1)] == [big[0][0]]
    assert [g[0] for g in await s.claim(one, 2, 5, b"b", b"a", payload=1001)] == [big[1][0], big[2][0]]
    # edges: a child waits for both, a wide parent leaves a cursor, an unknown parent is refused whole
    await r.flushdb()
    await s.run("open", one, LEASE)
    a, b = job(), job()
    child = job(parents=a[0] + b[0])
    await refused(s.enqueue([job(parents=new_id())]), "UNKNOWN PARENT")
    await s.enqueue([a, b, child])
    wide = [job(parents=a[0]) for _ in range(400)]
    await s.enqueue(wide)
    assert len(await s.claim(one, 1, 9, b"a")) == 2
    assert (await s.settle(one, [(a[0], 1, "succeeded", b"1", 0)]))[0] == b"a"
    assert await r.zcard(f"{ns}:l:a") == 255 and await r.sismember(f"{ns}:cursor", a[0])
    assert (await s.settle(one, [(b[0], 1, "succeeded", b"1", 0)]))[0] == b"a"
    assert await r.zscore(f"{ns}:l:a", child[0]) and await r.zcard(f"{ns}:l:a") == 256


async def fill(s: Store, n: int) -> float:
    await s.r.flushdb()
    t = time.perf_counter()
    for _ in range(0, n, 1000):
        await s.enqueue([job() for _ in range(1000)])
    return n / (time.perf_counter() - t)


async def cpu(r: aredis.Redis) -> float:
    info = await r.info("cpu")
    return float(info["used_cpu_user"] + info["used_cpu_sys"])


async def drain(s: Store, jobs: int, batch: int) -> tuple[float, float, float]:
    """Settle+claim in one call, the next one sent while this batch "runs": two batches are held. -> jobs/s, client and server µs per job"""
    session = new_id()
    await s.run("open", session, LEASE)
    running = await s.claim(session, 1, batch, b"a")
    request, settled = 1, 0
    server, client, t = await cpu(s.r), time.process_time(), time.perf_counter()
    pending: list[tuple[Any, ...]] = []
    while settled < jobs and (pending or running or request < 3):
        request += 1
        call = asyncio.ensure_future(s.settle(session, pending, request, batch, [b"a"]))
        await asyncio.sleep(0)
        outcome = [(g[0], g[1], "succeeded", RESULT, 0) for g in running]  # the batch at hand runs meanwhile
        answers, running, _ = await call
        assert answers == b"a" * len(pending)
        settled += len(pending)
        pending = outcome
    assert settled >= jobs, settled
    wall = time.perf_counter() - t
    figures = (settled / wall, (time.process_time() - client) / settled * 1e6, (await cpu(s.r) - server) / settled * 1e6)
    await s.settle(session, pending + [(g[0], g[1], "release", b"", 0) for g in running])
    return figures


async def timed(make: Callable[[], Coroutine[Any, Any, Any]]) -> float:
    t = time.perf_counter()
    await make()
    return (time.perf_counter() - t) * 1e3


async def measure(s: Store, port: int, say: Report) -> None:
    r = s.r
    rates = [await fill(s, 20_000) for _ in range(3)]
    say(f"enqueue, batches of 1000 in scripts of {s.chunk}: {med(rates):,.0f}/s")
    for chunk in (50, 200, 500, 1000):
        s.chunk = chunk
        rates = [await fill(s, 10_000) for _ in range(3)]
        await r.config_resetstat()
        drained = [await drain(s, 20_000, 400) for _ in range(3) if await fill(s, 22_000)]
        say(f"  chunk {chunk:4}: enqueue {med(rates):7,.0f}/s; drain by 400: {med([d[0] for d in drained]):7,.0f}/s, "
            f"client {med([d[1] for d in drained]):.1f} µs, server {med([d[2] for d in drained]):.1f} µs per job")
    s.chunk = 200
    base: dict[int, float] = {}
    for waiting in (10_000, 50_000) if QUICK else (10_000, 1_000_000):
        await fill(s, waiting + 22_000 * (waiting < 100_000))
        memory = (await r.info("memory"))["used_memory"] / (await r.dbsize())
        for batch in (200, 400, 1000):
            drained = [await drain(s, 6_000 if waiting < 100_000 else 20_000, batch) for _ in range(3)]
            rate = med([d[0] for d in drained])
            ratio = f", {rate / base[batch]:.2f} of the small one" if batch in base else ""
            base.setdefault(batch, rate)
            say(f"settle+claim by {batch:4}, {waiting:,} waiting: {rate:,.0f}/s; client {med([d[1] for d in drained]):.1f} µs, "
                f"server {med([d[2] for d in drained]):.1f} µs per job{ratio}; {memory:,.0f} B per job")
            if waiting < 100_000:
                await fill(s, waiting + 22_000)
    await fill(s, 10_000)
    times: dict[str, list[float]] = {"renew 1000": [], "renew 1000, gives back 200": [], "unclaim 1000": [], "reap 1000": [],
                                     "claim 1000 in one script": [], "claim of 64 empty lanes": []}
    for _ in range(9):
        session = new_id()
        await s.run("open", session, 0)
        got: list[Any] = []

        async def claim() -> None:
            got[:] = await s.claim(session, 1, 1000, b"a")  # noqa: B023

        times["claim 1000 in one script"].append(await timed(claim))
        held = b"".join(g[0] for g in got)
        times["renew 1000"].append(await timed(lambda: s.run("renew", session, LEASE, 1, held)))  # noqa: B023
        times["renew 1000, gives back 200"].append(await timed(lambda: s.run("renew", session, 0, 1, held[3200:])))  # noqa: B023

        async def unclaim() -> None:
            while await s.run("unclaim", session, 1, 200) == 200:  # noqa: B023
                pass

        times["unclaim 1000"].append(await timed(unclaim))
        await s.claim(session, 2, 1000, b"a")

        async def reap() -> None:
            while await s.run("reap", session, 2, 200) >= 0:  # noqa: B023
                pass

        times["reap 1000"].append(await timed(reap))
        await s.run("open", session, 0)
        times["claim of 64 empty lanes"].append(await timed(lambda: s.claim(session, 1, 1, *[b"e%d" % k for k in range(64)])))  # noqa: B023
        await fill(s, 3000)
    for name, values in times.items():
        say(f"{name}: median {med(values):.2f} ms, worst of 9 {max(values):.2f} ms")
    await r.flushdb()
    session = new_id()
    await s.run("open", session, LEASE)
    latency = []
    for k in range(1, 1001):
        t = time.perf_counter()
        await s.enqueue([job()])
        got = await s.claim(session, k, 1, b"a")
        await s.settle(session, [(got[0][0], got[0][1], "succeeded", RESULT, 0)])
        latency.append((time.perf_counter() - t) * 1e3)
    say(f"idle enqueue, claim, settle in turn: p50 {pct(latency, 0.5):.3f} ms, p99 {pct(latency, 0.99):.3f} ms")
    # chains: every job has one child; both halves drained
    rates = []
    for _ in range(3):
        await r.flushdb()
        for _ in range(10):
            heads = [job() for _ in range(1000)]
            await s.enqueue([*heads, *(job(parents=h[0]) for h in heads)])
        rates.append((await drain(s, 18_000, 400))[0])
    say(f"pairs parent -> child, settle+claim by 400: {med(rates):,.0f} jobs/s")
    # several workers on one server
    for workers in (2, 4):
        rates = []
        for _ in range(3):
            await fill(s, 60_000)
            stores = [await Store(aredis.Redis(port=port)).load() for _ in range(workers)]
            t = time.perf_counter()
            await asyncio.gather(*(drain(x, 40_000 // workers, 200) for x in stores))
            rates.append(40_000 / (time.perf_counter() - t))
            for x in stores:
                await x.r.aclose()
        say(f"{workers} sessions in one process, by 200: {med(rates):,.0f} jobs/s together")
    for kib in (4, 64, 256):
        line = []
        for bound in (1 << 40, BYTES):
            spent = []
            for _ in range(3):
                await r.flushdb()
                await s.run("open", session, LEASE)
                for _ in range(10):
                    await s.enqueue([job(payload=bytes(kib * 1024)) for _ in range(20)])
                got = []

                async def claim_big() -> None:
                    got[:] = await s.claim(session, 1, 200, b"a", payload=bound)  # noqa: B023

                spent.append(await timed(claim_big))
            line.append(f"{len(got)} jobs in {med(spent):.1f} ms")
        say(f"claim of 200 with {kib} KiB payloads: unbounded {line[0]}; bounded to 4 MiB {line[1]}")
    # fan-out: one settlement that releases 256 edges
    release = []
    for _ in range(9):
        await r.flushdb()
        await s.run("open", session, LEASE)
        parent = job()
        await s.enqueue([parent])
        await s.enqueue([job(parents=parent[0]) for _ in range(256)])
        await s.claim(session, 1, 1, b"a")
        release.append(await timed(lambda: s.settle(session, [(parent[0], 1, "succeeded", RESULT, 0)])))  # noqa: B023
    say(f"settle that releases 256 edges: median {med(release):.2f} ms")


async def main() -> None:
    with redis_server() as port:
        client = aredis.Redis(port=port)
        s = await Store(client).load()
        await check(s)
        info = await client.info("server")
        say = Report("redis", f"Redis {info['redis_version']}, AOF everysec", f"redis-py {version('redis')}, hiredis {version('hiredis')}")
        say("all assertions hold")
        if "--check" not in sys.argv:
            await measure(s, port, say)
        await client.aclose()


uvloop.run(main())
