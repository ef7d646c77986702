"""Floors of enqueue and drain on Redis: one process, one event loop, scripts, and nothing overlaps.

``promises`` keeps what Windlass keeps of each job: an ordered index of ids, a position by priority and sequence, counts
by state, the proof (session, token, request), when it started, result and retention; and looks whether the session is
alive and the queue is limited. ``reference`` is the least that can be called a queue: leased, fenced, results kept.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import redis.asyncio as aredis
import uvloop
from uuid_utils import uuid7

from bench.floors.queue import decode, encode, payload
from tests.servers.redis import RedisServer

BATCH = 200
SCRIPTS = {
    "reference": {
        "enqueue": """
            local line = {}
            for i = 1, #ARGV, 3 do
              redis.call('HSET', '{f}:j:' .. ARGV[i], 'k', ARGV[i + 1], 'p', ARGV[i + 2], 's', 'ready')
              line[#line + 1] = redis.call('INCR', '{f}:seq')
              line[#line + 1] = ARGV[i]
            end
            redis.call('ZADD', '{f}:line', unpack(line))""",
        "claim": """
            local out, held = {}, {}
            local got = redis.call('ZPOPMIN', '{f}:line', ARGV[2])
            for i = 1, #got, 2 do
              local key = '{f}:j:' .. got[i]
              local token = redis.call('HINCRBY', key, 't', 1)
              redis.call('HSET', key, 's', 'running', 'w', ARGV[1])
              local v = redis.call('HMGET', key, 'k', 'p')
              local n = #out
              out[n + 1], out[n + 2], out[n + 3], out[n + 4] = got[i], token, v[1], v[2]
              held[#held + 1] = got[i]
            end
            if #held > 0 then redis.call('SADD', '{f}:held:' .. ARGV[1], unpack(held)) end
            return out""",
        "settle": """
            local applied = 0
            for i = 3, #ARGV, 3 do
              local key = '{f}:j:' .. ARGV[i]
              local v = redis.call('HMGET', key, 't', 'w')
              if v[1] == ARGV[i + 1] and v[2] == ARGV[1] then
                redis.call('HSET', key, 's', 'done', 'r', ARGV[i + 2])
                redis.call('EXPIRE', key, 86400)
                redis.call('SREM', '{f}:held:' .. ARGV[1], ARGV[i])
                applied = applied + 1
              end
            end
            return applied""",
    },
    "promises": {
        "enqueue": """
            local line, ids, n = {}, {}, #ARGV / 3
            local now = redis.call('TIME')[1]
            local seq = redis.call('INCRBY', '{f}:seq', n) - n
            for i = 1, #ARGV, 3 do
              local key = '{f}:j:' .. ARGV[i]
              if redis.call('EXISTS', key) == 0 then
                seq = seq + 1
                redis.call('HSET', key, 'k', ARGV[i + 1], 's', '2', 'n', seq, 'b', now, 'i', '5')
                redis.call('SET', '{f}:p:' .. ARGV[i], ARGV[i + 2])
                line[#line + 1], line[#line + 2] = 4 * 562949953421312 + seq, ARGV[i]
                ids[#ids + 1], ids[#ids + 2] = 0, ARGV[i]
              end
            end
            redis.call('ZADD', '{f}:line', unpack(line))
            redis.call('ZADD', '{f}:ids', unpack(ids))
            redis.call('HINCRBY', '{f}:n', 'ready', n)
            redis.call('SPUBLISH', '{f}:ready', '')""",
        "claim": """
            local out, held, keys, now = {}, {}, {}, redis.call('TIME')[1]
            local life = redis.call('HMGET', '{f}:s:' .. ARGV[1], 'revoked', 'request')
            if life[1] or tonumber(life[2] or 0) >= tonumber(ARGV[3]) then return redis.error_reply('refused') end
            redis.call('HSET', '{f}:s:' .. ARGV[1], 'request', ARGV[3])
            if redis.call('EXISTS', '{f}:limits') == 1 then return redis.error_reply('limited') end
            local got = redis.call('ZPOPMIN', '{f}:line', ARGV[2])
            for i = 1, #got, 2 do keys[#keys + 1] = '{f}:p:' .. got[i] end
            local payloads = #keys > 0 and redis.call('MGET', unpack(keys))
            for i = 1, #got, 2 do
              local key = '{f}:j:' .. got[i]
              local v = redis.call('HMGET', key, 'k', 't', 'a', 'b', 'n')
              local token = (v[2] or 0) + 1
              redis.call('HSET', key, 's', '3', 't', token, 'a', (v[3] or 0) + 1, 'w', ARGV[1], 'q', ARGV[3], 'st', now)
              local n = #out
              out[n + 1], out[n + 2], out[n + 3], out[n + 4] = got[i], token, v[1], payloads[(i + 1) / 2]
              held[#held + 1], held[#held + 2] = got[i], ARGV[3] .. ' ' .. token .. ' ' .. got[i + 1]
            end
            if #held > 0 then
              redis.call('HSET', '{f}:held:' .. ARGV[1], unpack(held))
              redis.call('HINCRBY', '{f}:n', 'ready', -#got / 2)
              redis.call('HINCRBY', '{f}:n', 'running', #got / 2)
            end
            return out""",
        "settle": """
            local applied, ids, purge, now = 0, {}, {}, redis.call('TIME')[1]
            for i = 3, #ARGV, 3 do
              local key = '{f}:j:' .. ARGV[i]
              local v = redis.call('HMGET', key, 't', 'w', 's', 'n')
              if v[1] == ARGV[i + 1] and v[2] == ARGV[1] and v[3] == '3' then
                redis.call('HSET', key, 's', '4', 'o', '1', 'fi', now, 'pu', now + 86400, 'r', ARGV[i + 2])
                ids[#ids + 1] = ARGV[i]
                purge[#purge + 1], purge[#purge + 2] = now + 86400, ARGV[i]
                applied = applied + 1
              end
            end
            if applied > 0 then
              redis.call('HDEL', '{f}:held:' .. ARGV[1], unpack(ids))
              redis.call('ZADD', '{f}:purge', unpack(purge))
              redis.call('HINCRBY', '{f}:n', 'running', -applied)
              redis.call('HINCRBY', '{f}:n', 'succeeded', applied)
              redis.call('PUBSUB', 'SHARDNUMSUB', '{f}:finished')
            end
            return applied""",
    },
}


class Floor:
    """The three verbs."""

    def __init__(self, port: int, floor: str) -> None:
        self.client = aredis.Redis(port=port)
        self._run = {name: self.client.register_script(text) for name, text in SCRIPTS[floor].items()}
        self._session = uuid7().bytes
        self._request = 0

    async def enqueue(self, payloads: list[bytes]) -> None:
        """Store jobs, in scripts of 200."""
        for first in range(0, len(payloads), BATCH):
            parts: list[Any] = []
            for one in payloads[first : first + BATCH]:
                parts += (uuid7().bytes, b"add", one)
            await self._run["enqueue"](keys=["{f}"], args=parts)

    async def claim(self, most: int) -> list[Any]:
        """Take jobs: id, token, task, payload, one after the other."""
        self._request += 1
        found: list[Any] = await self._run["claim"](keys=["{f}"], args=[self._session, most, self._request])
        return found

    async def settle(self, ends: list[Any]) -> None:
        """End attempts: id, token, result, one after the other."""
        applied = await self._run["settle"](keys=["{f}"], args=[self._session, 0, *ends])
        assert applied * 3 == len(ends), "jobs were lost"


def bulk(folder: Path, *, floor: str, jobs: int) -> dict[str, float]:
    """Jobs per second in batches of 1,000."""
    del folder  # the server has one of its own

    async def run(port: int) -> float:
        stored = Floor(port, floor)
        await stored.enqueue([payload(0, 0)])
        began = time.perf_counter()
        await _fill(stored, jobs)
        seconds = time.perf_counter() - began
        await stored.client.aclose()
        return seconds

    with RedisServer("--appendfsync", "everysec") as server:
        return {"bulk": jobs / uvloop.run(run(server.port))}


def coroutines(folder: Path, *, floor: str, jobs: int, at_once: int) -> dict[str, float]:
    """Jobs per second from so many coroutines, each awaiting one enqueue after the other; gathered meanwhile."""
    del folder  # the server has one of its own

    async def run(port: int) -> float:
        stored = Floor(port, floor)
        gathered: list[tuple[bytes, asyncio.Future[None]]] = []
        numbers = iter(range(jobs))
        came = asyncio.Event()

        async def produce() -> None:
            for number in numbers:
                future = asyncio.get_running_loop().create_future()
                gathered.append((payload(number, number), future))
                came.set()
                await future

        async def send() -> None:
            while True:
                await came.wait()
                came.clear()
                batch = gathered[:]
                gathered.clear()
                await stored.enqueue([one for one, _ in batch])
                for _, future in batch:
                    future.set_result(None)

        sender = asyncio.create_task(send())
        await stored.enqueue([payload(0, 0)])
        began = time.perf_counter()
        await asyncio.gather(*(produce() for _ in range(at_once)))
        seconds = time.perf_counter() - began
        sender.cancel()
        await stored.client.aclose()
        return seconds

    with RedisServer("--appendfsync", "everysec") as server:
        return {"coroutines": jobs / uvloop.run(run(server.port))}


async def _fill(stored: Floor, jobs: int) -> None:
    for first in range(0, jobs, 1000):
        await stored.enqueue([payload(number, number + 1) for number in range(first, min(first + 1000, jobs))])


def drain(folder: Path, *, floor: str, jobs: int, slots: int) -> dict[str, float]:
    """Jobs per second of claim, run, encode and settle, one after the other."""
    del folder  # the server has one of its own

    async def add(a: int, b: int) -> int:
        return a + b

    async def attempt(one: bytes) -> bytes:
        args, kwargs = decode(one)
        async with asyncio.timeout(30):
            return encode(await add(*args, **kwargs))

    async def run(port: int) -> float:
        stored = Floor(port, floor)
        await _fill(stored, jobs)
        began = time.perf_counter()
        while taken := await stored.claim(slots):
            results = await asyncio.gather(*(attempt(one) for one in taken[3::4]))
            ends: list[Any] = []
            for job_id, token, result in zip(taken[::4], taken[1::4], results, strict=True):
                ends += (job_id, token, result)
            await stored.settle(ends)
        seconds = time.perf_counter() - began
        await stored.client.aclose()
        return seconds

    with RedisServer("--appendfsync", "everysec") as server:
        return {"drain": jobs / uvloop.run(run(server.port))}


def trips(folder: Path, *, trips: int) -> dict[str, float]:
    """Enqueue, claim, run, settle, all here and one after the other: three round trips and no waking."""
    del folder  # the server has one of its own
    from bench.roundtrip import WARM_UP, percentiles

    async def run(port: int) -> list[float]:
        stored = Floor(port, "promises")
        took = []
        for number in range(WARM_UP + trips):
            began = time.perf_counter()
            await stored.enqueue([payload(number, 1)])
            job_id, token, _, one = await stored.claim(1)
            args, _ = decode(one)
            await stored.settle([job_id, token, encode(sum(args))])
            took.append(time.perf_counter() - began)
        await stored.client.aclose()
        return took[WARM_UP:]

    with RedisServer("--appendfsync", "everysec") as server:
        return percentiles(uvloop.run(run(server.port)))
