"""Signals that a test can await."""

from __future__ import annotations

import asyncio
from collections import Counter

from windlass.engine.signals import Signals


class RecordingSignals(Signals):
    """Counts what a worker emits. Use it on the worker's own event loop."""

    __slots__ = ("_changed", "counts")

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._changed = asyncio.Event()

    def emit(self, name: str, count: int = 1) -> None:
        self.counts[name] += count
        self._changed.set()

    async def wait_for(self, name: str, count: int = 1, *, timeout: float = 10.0) -> None:
        """Return once ``count`` things called ``name`` have happened in all. Raises ``TimeoutError``."""
        async with asyncio.timeout(timeout):
            while self.counts[name] < count:
                self._changed.clear()
                await self._changed.wait()
