"""The tasks that are measured. The store is the one that ``WINDLASS_URL`` names."""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING

from windlass import App

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider


def _tracing() -> TracerProvider | bool:
    """What ``BENCH_TRACING`` says: see `bench.watched`."""
    sampler = os.environ.get("BENCH_TRACING")
    if sampler is None:
        return False
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON

    return TracerProvider(sampler={"out": ALWAYS_OFF, "all": ALWAYS_ON}[sampler])


app = App(tracing=_tracing())


BUSY = float(os.environ.get("BENCH_BUSY", "0"))
"""Seconds for which `add` keeps the processor."""


@app.task
async def add(a: int, b: int) -> int:
    """Do next to nothing, unless ``BENCH_BUSY`` says otherwise."""
    if BUSY:
        end = time.perf_counter() + BUSY
        while time.perf_counter() < end:
            pass
    return a + b


@app.task
async def sleep(seconds: float) -> None:
    """Wait, as most tasks do most of the time."""
    await asyncio.sleep(seconds)


@app.task
async def stamp() -> float:
    """Say when it ran: seconds since the epoch."""
    return time.time()
