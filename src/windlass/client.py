"""What an app knows of its store: an opened store for each event loop, shared by all that runs on that loop."""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from windlass.context import Middleware
from windlass.core.errors import BlockingCallInLoop
from windlass.core.signing import SigningKey
from windlass.core.task import TaskSpec
from windlass.engine.enqueuer import Enqueuer
from windlass.engine.waiting import ResultWaiter
from windlass.store.port import Store

if TYPE_CHECKING:
    from windlass.telemetry import Tracing


class Inline(Protocol):
    """Runs what is ready, where it is called from."""

    async def run(self) -> object: ...
    def run_sync(self) -> object: ...


@dataclass(slots=True, eq=False)
class Opened:
    """A store on one event loop, with the services of callers on that loop."""

    store: Store
    enqueuer: Enqueuer
    results: ResultWaiter
    guard: AsyncGenerator[None, None] | None = None
    """Ends with the loop, and closes the store then."""
    connected: bool = False

    async def aclose(self) -> None:
        """Let go of everything. Idempotent."""
        await self.enqueuer.aclose()
        await self.results.aclose()
        await self.store.aclose()


@dataclass(slots=True, eq=False, weakref_slot=True)
class Client:
    """The registered tasks, and the way to the store from any event loop."""

    connect: Callable[[], Store]
    """Makes the store, unopened; called once in a process, at first use."""
    tasks: dict[str, TaskSpec] = field(default_factory=dict)
    """By name and by alias."""
    middleware: list[Middleware] = field(default_factory=list)
    enqueue_hooks: list[Middleware] = field(default_factory=list)
    """Those of the middleware that hear of jobs about to be stored."""
    tracing: Tracing | None = None
    """One of the middleware, if the app makes spans."""
    working_loops: set[asyncio.AbstractEventLoop] = field(default_factory=set)
    """Loops on which a worker of the app runs beside other code."""
    builtins: dict[str, Any] = field(default_factory=dict)
    """Recipes of tasks of our own, by name; there are some once a workflow is declared."""
    signing_key: Callable[[], SigningKey | None] = lambda: None
    """The key of function calls; raises `InvalidOption` if it is none."""
    inline: Inline | None = None
    """Called when jobs have been enqueued; only tests set it (`windlass.testing.Harness`)."""
    _origin: Store | None = None
    """Never opened itself: each event loop has a twin of it."""
    _by_loop: dict[asyncio.AbstractEventLoop, Opened] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        _clients.add(self)

    @property
    def origin(self) -> Store:
        """The store, to ask for its url, settings and capabilities. Raises what `connect` raises."""
        with self._lock:
            if self._origin is None:
                self._origin = self.connect()
            return self._origin

    @contextmanager
    def elsewhere(self, connect: Callable[[], Store]) -> Iterator[dict[asyncio.AbstractEventLoop, Opened]]:
        """Use another store as long as the block runs, for tests; what was open before is in use again afterwards.
        Gives what is opened meanwhile, for the caller to close."""
        with self._lock:
            before = self.connect, self._origin, self._by_loop
            self.connect, self._origin, self._by_loop = connect, None, {}
        try:
            yield self._by_loop
        finally:
            with self._lock:
                self.connect, self._origin, self._by_loop = before

    async def opened(self) -> Opened:
        """The store of the running event loop. Raises `StoreError` if it cannot be opened."""
        opened = self._by_loop.get(asyncio.get_running_loop())
        if opened is None or not opened.connected:
            for gone in self._take_gone():
                await gone.store.aclose()
            opened = self._opened_here()
            await opened.store.connect()
            await self._guard(opened)
            opened.connected = True
        return opened

    def _opened_here(self) -> Opened:
        loop = asyncio.get_running_loop()
        origin = self.origin
        with self._lock:
            opened = self._by_loop.get(loop)
            if opened is None:
                store = origin.twin() if self.tracing is None else self.tracing.traced(origin.twin())
                opened = self._by_loop[loop] = Opened(store, Enqueuer(store), ResultWaiter(store))
            return opened

    def _take_gone(self) -> list[Opened]:
        """Take out of use what belongs to loops that were closed without a chance to close it: not by
        ``asyncio.run``."""
        with self._lock:
            return [self._by_loop.pop(loop) for loop in list(self._by_loop) if loop.is_closed()]

    async def _guard(self, opened: Opened) -> None:
        """Have the store closed when ``asyncio.run`` ends: it closes the generators that are still open then, and that
        is the only thing that an event loop does for a library before it goes."""
        if opened.guard is None:
            opened.guard = self._closing_at_the_end(opened)
            await anext(opened.guard)

    async def _closing_at_the_end(self, opened: Opened) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            self._forget(opened)
            await opened.aclose()

    async def aclose(self) -> None:
        """Let go of the store on the running event loop. Idempotent; a later use opens it anew."""
        opened = self._by_loop.get(asyncio.get_running_loop())
        if opened is not None:
            self._forget(opened)
            await opened.aclose()
            if opened.guard is not None:
                await opened.guard.aclose()

    def _forget(self, opened: Opened) -> None:
        """Take it out of use; by now somebody may have opened another one on the same loop."""
        loop = asyncio.get_running_loop()
        if self._by_loop.get(loop) is opened:
            del self._by_loop[loop]

    def check_may_wait(self) -> None:
        """Raise `BlockingCallInLoop` on the thread of an event loop that runs a worker of this app: a blocking wait
        would stop the very worker that could end it."""
        if self.working_loops and asyncio._get_running_loop() in self.working_loops:
            raise BlockingCallInLoop(
                "a blocking wait for a result on the event loop that runs this app's worker would never end; "
                "await job.result(), or run the worker with app.start_worker_thread()"
            )

    def abandon(self) -> None:
        """In a forked child: leave everything to the parent, without a word to the store."""
        _inherited.append((self._origin, self._by_loop))
        # The origin was never opened: what it knows (a name, a path) is good here, too, but its locks may be held.
        self._origin, self._by_loop, self._lock = None, {}, threading.Lock()


_clients: weakref.WeakSet[Client] = weakref.WeakSet()
_inherited: list[object] = []
"""Kept, so that no destructor closes what the parent still uses."""


def _abandon_all() -> None:
    for client in list(_clients):
        client.abandon()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_abandon_all)
