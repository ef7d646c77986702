"""Floor of a drain in memory: a deque, a dict of what is held, a dict of results; on one event loop."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from pathlib import Path

import msgspec
import uvloop

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, int]).decode


def drain(folder: Path, *, jobs: int, slots: int) -> dict[str, float]:
    """Jobs per second of claim, run, encode and settle."""
    del folder
    return {"drain": jobs / uvloop.run(_drain(jobs, slots))}


async def _drain(jobs: int, slots: int) -> float:
    async def add(a: int, b: int) -> int:
        return a + b

    loop = asyncio.get_running_loop()
    ready = deque((number, _encode({"a": number, "b": number + 1})) for number in range(jobs))
    held: dict[int, int] = {}
    results: dict[int, bytes] = {}
    tasks: set[asyncio.Task[None]] = set()
    room = asyncio.Event()

    async def attempt(number: int, token: int, payload: bytes) -> None:
        result = _encode(await add(**_decode(payload)))
        assert held.pop(number) == token
        results[number] = result
        room.set()

    began = time.perf_counter()
    while len(results) < jobs:
        while ready and len(held) < slots:
            number, payload = ready.popleft()
            held[number] = 1
            task = loop.create_task(attempt(number, 1, payload))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        room.clear()
        await room.wait()
    return time.perf_counter() - began
