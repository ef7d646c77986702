"""A worker in a thread of this process: for scripts, notebooks and web apps."""

from __future__ import annotations

import asyncio
import atexit
import logging
import math
import os
import threading
from concurrent.futures import Future
from types import TracebackType

from windlass.client import Client
from windlass.core.errors import UsageError
from windlass.engine.config import WorkerConfig
from windlass.engine.worker import Worker

log = logging.getLogger("windlass.engine")

MARGIN = 15.0
"""Seconds beyond the grace time that an end may take, before the thread is left behind."""
FIRST_BACK_OFF, LONGEST_BACK_OFF = 1.0, 30.0
"""Seconds before a worker that was brought down is replaced."""


class WorkerThread:
    """A worker with a thread and an event loop of its own; it stops at the end of the ``with`` block, when `stop` is
    called, or when the process ends. Does not survive a fork.

    A task that brings it down, by stopping its event loop or cancelling what is not its own, counts as one that killed
    its worker: the error log says so, another worker takes its place, and what the first one held is run again when its
    lease is over.
    """

    def __init__(self, client: Client, config: WorkerConfig) -> None:
        self._client = client
        self._config = config
        self._process = os.getpid()
        self._loop = asyncio.new_event_loop()
        self._worker: Worker | None = None
        self._started: Future[None] = Future()
        self._stop_asked = threading.Event()
        self._stopping: list[asyncio.Task[None]] = []
        self._thread = threading.Thread(target=self._run, name="windlass-worker", daemon=True)
        self._thread.start()
        try:
            self._started.result()
        except BaseException:
            self.stop(0.0)
            raise
        atexit.register(self.stop)

    @property
    def running(self) -> bool:
        """Whether it runs, in this process; also while a worker that was brought down is being replaced."""
        return self._process == os.getpid() and self._thread.is_alive()

    def stop(self, grace: float | None = None) -> None:
        """Stop claiming, let running attempts go on for ``grace`` seconds (``None``: as configured), give the rest
        back, and end the thread. Idempotent. A thread whose event loop is blocked is left behind after a while."""
        if self._process != os.getpid() or not self._thread.is_alive():
            return
        if threading.current_thread() is self._thread:
            raise UsageError("a worker thread cannot be stopped by a task that runs on it")
        atexit.unregister(self.stop)
        self._stop_asked.set()
        try:
            self._loop.call_soon_threadsafe(self._begin_stop, grace)
        except RuntimeError:
            pass  # it has just ended by itself
        patience = (self._config.grace if grace is None else grace) + MARGIN
        self._thread.join(None if patience == math.inf else patience)
        if self._thread.is_alive():
            log.error("the worker's thread does not end, its event loop is blocked: it is left behind")

    # ------------------------------------------------------------------------------------------- the thread

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        back_off = FIRST_BACK_OFF
        try:
            while not self._lives_to_its_end():
                if self._stop_asked.wait(back_off):
                    break
                back_off = min(back_off * 2, LONGEST_BACK_OFF)
        finally:
            self._loop.run_until_complete(self._client.aclose())
            self._loop.close()

    def _lives_to_its_end(self) -> bool:
        """Run one worker; answers whether it ended in order."""
        work = self._loop.create_task(self._work(), name="windlass-worker")
        try:
            self._loop.run_until_complete(work)
        except BaseException as error:  # noqa: BLE001 - whatever a task has raised into the loop
            if not self._started.done():
                self._started.set_exception(error)
                return True
            what = f"{type(error).__name__}: {error}"
            log.error("a task brought the worker down (%s); what it held is run again when its lease is over", what)  # noqa: TRY400 - the traceback is asyncio's own
            self._clear_away(work)
            return False
        return True

    async def _work(self) -> None:
        worker = Worker(self._client.origin, self._client.tasks, self._config, self._client.middleware)
        await worker.start()
        self._worker = worker
        if not self._started.done():
            self._started.set_result(None)
        if self._stop_asked.is_set():
            await worker.stop(0.0)
        await worker.wait()
        if self._stopping:
            await asyncio.wait(self._stopping)

    def _begin_stop(self, grace: float | None) -> None:
        if self._worker is not None:
            self._stopping.append(self._loop.create_task(self._worker.stop(grace)))

    def _clear_away(self, work: asyncio.Task[None]) -> None:
        """End what is left of a worker that was brought down, without a word to the store: its session is reaped, and
        the loss counted, as if its process had died."""
        worker, self._worker = self._worker, None  # nobody begins to stop it any more
        for _ in range(3):
            try:
                self._loop.run_until_complete(self._abandon(work, worker))
                break
            except BaseException:
                log.debug("clearing away was interrupted", exc_info=True)
        self._stopping.clear()

    async def _abandon(self, work: asyncio.Task[None], worker: Worker | None) -> None:
        for stop in self._stopping:
            stop.cancel()
        work.cancel()
        await asyncio.wait({work})
        if not work.cancelled():
            work.exception()  # it is known
        if worker is not None:
            await worker.abandon()
        if self._stopping:
            await asyncio.wait(self._stopping)

    def __enter__(self) -> WorkerThread:
        return self

    def __exit__(self, kind: type[BaseException] | None, _: object, __: TracebackType | None) -> None:
        self.stop(None if kind is None else 0.0)

    def __repr__(self) -> str:
        return f"<WorkerThread {'running' if self.running else 'stopped'}>"
