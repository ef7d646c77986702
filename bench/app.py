"""The tasks that are measured. The store is the one that ``WINDLASS_URL`` names."""

from __future__ import annotations

import asyncio
import time

from windlass import App

app = App()


@app.task
async def add(a: int, b: int) -> int:
    """Do next to nothing."""
    return a + b


@app.task
async def sleep(seconds: float) -> None:
    """Wait, as most tasks do most of the time."""
    await asyncio.sleep(seconds)


@app.task
async def stamp() -> float:
    """Say when it ran: seconds since the epoch."""
    return time.time()
