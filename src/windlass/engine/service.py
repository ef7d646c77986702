"""A loop that is kept alive until somebody stops it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

log = logging.getLogger("windlass.engine")

FIRST_BACK_OFF = 0.1
LONGEST_BACK_OFF = 5.0


class Service:
    """Runs one coroutine function; if it raises, logs and runs it again after a back-off. A return ends the service.

    `start` and `stop` are idempotent, and `stop` before `start` is allowed.
    """

    def __init__(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        self.name = name
        self._run = run
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._keep_running(), name=f"windlass-{self.name}")

    async def stop(self) -> None:
        """Cancel the loop and wait until it has ended."""
        task = self._task
        if task is None:
            return
        task.cancel()
        await asyncio.wait({task})

    async def wait(self) -> None:
        """Wait until the service ends by itself, is stopped, or is cancelled by somebody else."""
        if self._task is not None:
            await asyncio.wait({self._task})

    @property
    def ended(self) -> bool:
        """Whether it was started and runs no more."""
        return self._task is not None and self._task.done()

    async def _keep_running(self) -> None:
        back_off = FIRST_BACK_OFF
        while True:
            started = asyncio.get_running_loop().time()
            try:
                return await self._run()
            except Exception:
                log.exception("%s failed; it starts again in %.1f s", self.name, back_off)
            if asyncio.get_running_loop().time() - started > LONGEST_BACK_OFF:
                back_off = FIRST_BACK_OFF
            await asyncio.sleep(back_off)
            back_off = min(back_off * 2, LONGEST_BACK_OFF)
