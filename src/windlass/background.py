"""A worker in a thread of this process: for scripts, notebooks and web apps."""

from __future__ import annotations

import atexit
import os
from types import TracebackType

from windlass.blocking import LoopThread
from windlass.client import Client
from windlass.core.errors import UsageError
from windlass.engine.config import WorkerConfig
from windlass.engine.worker import Worker


class WorkerThread:
    """A worker with a thread and an event loop of its own; it stops at the end of the ``with`` block, when `stop` is
    called, or when the process ends. Does not survive a fork."""

    def __init__(self, client: Client, config: WorkerConfig) -> None:
        self._client = client
        self._config = config
        self._thread: LoopThread | None = LoopThread("windlass-worker")
        self._inherited: LoopThread | None = None
        """In a forked child: kept, so that no destructor closes what the parent still uses."""
        self._worker: Worker | None = None
        self._process = os.getpid()
        try:
            self._thread.submit(self._start()).result()
        except BaseException:
            self._end_thread()
            raise
        atexit.register(self.stop)

    async def _start(self) -> None:
        self._worker = Worker(self._client.origin, self._client.tasks, self._config, self._client.middleware)
        await self._worker.start()

    @property
    def running(self) -> bool:
        """Whether it has not been stopped, and runs in this process."""
        return self._thread is not None and self._process == os.getpid()

    def stop(self, grace: float | None = None) -> None:
        """Stop claiming, let running attempts go on for ``grace`` seconds (``None``: as configured), give the rest
        back, and end the thread. Idempotent."""
        if self._process != os.getpid():
            # A forked child: thread and worker are its parent's.
            self._thread, self._inherited = None, self._thread
        thread = self._thread
        if thread is None:
            return
        if thread.is_this:
            raise UsageError("a worker thread cannot be stopped by a task that runs on it")
        atexit.unregister(self.stop)
        try:
            thread.submit(self._stop(grace)).result()
        finally:
            self._end_thread()

    async def _stop(self, grace: float | None) -> None:
        assert self._worker is not None
        await self._worker.stop(grace)
        await self._client.aclose()

    def _end_thread(self) -> None:
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.stop()

    def __enter__(self) -> WorkerThread:
        return self

    def __exit__(self, kind: type[BaseException] | None, _: object, __: TracebackType | None) -> None:
        self.stop(None if kind is None else 0.0)

    def __repr__(self) -> str:
        return f"<WorkerThread {'running' if self.running else 'stopped'}>"
