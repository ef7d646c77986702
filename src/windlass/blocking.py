"""The blocking façade: coroutines for callers that have no event loop, or whose loop is busy with them.

One thread per process owns one event loop; blocking twins (``*_sync``) send their coroutine there and wait. So they
work from Flask and Django, from threads, from a notebook whose own loop is running, and after a fork: the child starts
its own thread and leaves what it inherited alone.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

from windlass.context import current
from windlass.core.errors import BlockingCallInLoop, UsageError

T = TypeVar("T")


class LoopThread:
    """A daemon thread that runs an event loop."""

    def __init__(self, name: str) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    @property
    def is_this(self) -> bool:
        """Whether the caller runs on it."""
        return threading.get_ident() == self._thread.ident

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Start the coroutine there."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop)

    def stop(self) -> None:
        """End the loop and the thread. Idempotent."""
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self.loop.stop)
            self._thread.join()
            self.loop.close()


_lock = threading.Lock()
_shared: LoopThread | None = None
_inherited: list[object] = []
"""What a fork brought along: kept, so that no destructor closes what the parent still uses."""


def loop_thread() -> LoopThread:
    """The process's own loop thread, started at first use."""
    global _shared  # noqa: PLW0603 - there is one per process, by design
    with _lock:
        if _shared is None:
            _shared = LoopThread("windlass-blocking")
        return _shared


def run(make: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run the coroutine that ``make`` makes on the process's own loop thread, and wait for it.

    Raises `BlockingCallInLoop` where waiting would stop what it waits for.
    """
    return wait_for(submit(make))


def submit(make: Callable[[], Coroutine[Any, Any, T]]) -> Future[T]:
    """As `run`, without the waiting."""
    check_may_block()
    return loop_thread().submit(make())


def wait_for(future: Future[T]) -> T:
    """Wait for what `submit` gave; an interrupted wait cancels it."""
    try:
        return future.result()
    except BaseException:
        future.cancel()
        raise


def check_may_block() -> None:
    """Raise `BlockingCallInLoop` on the façade's own thread, and in a task that runs on a worker's event loop.

    A running loop alone is no reason: in a notebook there always is one, and it waits for the cell anyway.
    """
    if _shared is not None and _shared.is_this:
        raise BlockingCallInLoop("a blocking call inside a coroutine of the blocking façade; await the async twin")
    try:
        asyncio.get_running_loop()
        attempt = current()
    except (RuntimeError, UsageError):
        return
    raise BlockingCallInLoop(
        f"a blocking call in task {attempt.task!r} would stop the worker's event loop; "
        "await the async twin (without _sync), or make the task a plain def, which runs in a thread"
    )


def _forget_parent() -> None:
    """In a forked child: the parent's thread is not here, its loop is not ours."""
    global _shared, _lock  # noqa: PLW0603 - as above
    _lock = threading.Lock()
    if _shared is not None:
        _inherited.append(_shared)
        _shared = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_parent)
