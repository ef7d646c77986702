"""The tasks that are measured. The store is the one that ``WINDLASS_URL`` names."""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING

from windlass import App

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider


def _provider(wanted: str) -> TracerProvider:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON

    return TracerProvider(sampler=ALWAYS_ON if wanted == "all" else ALWAYS_OFF)


def _app() -> App:
    """An app that is traced as ``BENCH_TRACING`` says: see `bench.watched`."""
    wanted = os.environ.get("BENCH_TRACING")
    if wanted is None:
        return App()
    if wanted != "hand":
        return App(tracing=_provider(wanted))
    from bench.traced_by_hand import ByHand

    return App(middleware=[ByHand(_provider(wanted))])


app = _app()


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
