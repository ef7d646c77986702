"""What a million waiting jobs cost: claim and settle, at the store port, beside ten thousand."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop

from bench.figure import Aim, Group, Metric, Probe

if TYPE_CHECKING:
    from windlass.store.port import Store

BATCH = 200
BURST = 10
"""Batches between two looks at the other queue."""


def ours(folder: Path, *, few: int, many: int, measured: int) -> dict[str, float]:
    """Cost per job of settle with claim, while few and while many wait; taken in turns."""
    urls = {count: f"sqlite:///{folder / f'{count}.db'}" for count in (few, many)}
    return uvloop.run(compare(urls, few, many, measured))


async def compare(urls: dict[int, str], few: int, many: int, measured: int) -> dict[str, float]:
    """The same, on these stores."""
    lines = {count: _Line(url) for count, url in urls.items()}
    for count, line in lines.items():
        await line.fill(count + measured)
    return await alternate({count: line.burst for count, line in lines.items()}, few, many, measured)


async def alternate(
    bursts: dict[int, Callable[[], Awaitable[int]]], few: int, many: int, measured: int
) -> dict[str, float]:
    """Take bursts in turns until each queue has given ``measured`` jobs; medians."""
    costs: dict[int, list[float]] = {few: [], many: []}
    for _ in range(measured // (BATCH * BURST)):
        for count, burst in bursts.items():
            began = time.perf_counter()
            jobs = await burst()
            costs[count].append((time.perf_counter() - began) / jobs * 1e6)
    at_few, at_many = statistics.median(costs[few]), statistics.median(costs[many])
    return {"few": at_few, "many": at_many, "ratio": at_many / at_few}


class _Line:
    """One store with one session, driven by hand."""

    def __init__(self, url: str) -> None:
        from windlass.connect import connect
        from windlass.core.ids import new_id
        from windlass.core.model import Settings

        self._store: Store = connect(url, Settings())
        self._session = new_id()
        self._request = 0
        self._held: list[tuple[bytes, int]] = []

    async def fill(self, jobs: int) -> None:
        from windlass.core.ids import new_id
        from windlass.core.model import MAX_BATCH, NewJob, Session

        await self._store.open(Session(id=self._session, node="bench", pid=1))
        for first in range(0, jobs, MAX_BATCH):
            batch = [
                NewJob(id=new_id(), task="add", payload=b'{"a":%d,"b":1}' % number)
                for number in range(first, min(first + MAX_BATCH, jobs))
            ]
            await self._store.enqueue(batch, first_sent=await self._store.now())

    async def burst(self) -> int:
        """Settle what is held and claim more, some times over."""
        from windlass.core.lifecycle import Outcome
        from windlass.core.model import ClaimRequest, Lane, Settled, Settlement

        settled = 0
        for _ in range(BURST):
            self._request += 1
            request = ClaimRequest(self._request, (Lane("default", "", BATCH),))
            batch = [Settlement(job, token, Outcome.SUCCEEDED, b"3") for job, token in self._held]
            if batch:
                result = await self._store.settle(self._session, batch, request)
                assert set(result.answers) == {Settled.APPLIED}
                answer = result.claim
            else:
                answer = await self._store.claim(self._session, request)
            assert answer is not None
            assert len(answer.jobs) == BATCH
            self._held = [(job.id, job.token) for job in answer.jobs]
            settled += len(answer.jobs)
        return settled


def floor(folder: Path, *, few: int, many: int, measured: int) -> dict[str, float]:
    """The same by hand."""
    return asyncio.run(_floor(folder, few, many, measured))


async def _floor(folder: Path, few: int, many: int, measured: int) -> dict[str, float]:
    from bench.floors.depth import ByHand

    lines = {count: ByHand(folder / f"{count}.db", count + measured, BATCH, BURST) for count in (few, many)}
    return await alternate({count: line.burst for count, line in lines.items()}, few, many, measured)


GROUPS = [
    Group(
        name="depth",
        store="sqlite",
        metrics=(
            Metric("ratio", "depth: 1 M waiting / 10 k", "x", Aim(at_most=1.3)),
            Metric("many", "claim + settle, 1 M waiting", "us/job"),
            Metric("few", "claim + settle, 10 k waiting", "us/job"),
        ),
        ours=Probe("bench.depth:ours"),
        floor=Probe("bench.depth:floor"),
        scale={"few": 10_000, "many": 1_000_000, "measured": 40_000},
        quick={"few": 1_000, "many": 20_000, "measured": 4_000},
    )
]
