"""A scheduler alone, in a process of its own, whose clock is wrong by so many seconds: ``... URL SKEW``."""

from __future__ import annotations

import asyncio
import sys
import time

from windlass.connect import connect
from windlass.core.model import Settings
from windlass.engine.scheduler import Scheduler
from windlass.engine.signals import SILENT
from windlass.store.port import Store
from windlass.store.sqlite import SQLiteStore


def make_store(url: str, skew: float) -> Store:
    """A file has the clock of whoever uses it; a server has its own."""
    if url.startswith("sqlite:///"):
        path = url.removeprefix("sqlite:///")
        return SQLiteStore(path, Settings(), clock=lambda: round((time.time() + skew) * 1_000_000))
    return connect(url, Settings())


async def main(url: str, skew: float) -> None:
    """Schedule until killed."""
    store = make_store(url, skew)
    await store.connect()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await Scheduler(store, SILENT, {}).run()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], float(sys.argv[2])))
