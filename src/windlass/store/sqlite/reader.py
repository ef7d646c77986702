"""The thread that reads, on a connection of its own, so that nobody who looks waits for somebody who writes."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, NamedTuple, TypeVar

from windlass.store.sqlite.connection import open_connection
from windlass.store.sqlite.failures import translate
from windlass.store.sqlite.insights import Snapshot
from windlass.store.sqlite.schema import check_version, stored_version
from windlass.store.sqlite.writer import resolve

T = TypeVar("T")


class _Question(NamedTuple):
    ask: Callable[[Snapshot], Any]
    future: asyncio.Future[Any]


class Reader:
    """Owns the thread and its connection; started with the first question. Belongs to one event loop."""

    def __init__(self, path: str, loop: asyncio.AbstractEventLoop) -> None:
        self._path = path
        self._loop = loop
        self._queue: SimpleQueue[_Question | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="windlass-sqlite-reader", daemon=True)
        self._snapshot: Snapshot | None = None
        self._ended: asyncio.Future[None] = loop.create_future()
        self.gate = threading.Lock()
        """Held whenever this thread is inside SQLite: a fork waits for it."""

    def put(self, ask: Callable[[Snapshot], T]) -> asyncio.Future[T]:
        """Have a question answered at one moment of the store."""
        if not self._thread.ident:
            self._thread.start()
        future: asyncio.Future[T] = self._loop.create_future()
        self._queue.put(_Question(ask, future))
        return future

    def end(self) -> None:
        """Have the thread end after all that was asked before."""
        self._queue.put(None)

    async def stop(self) -> None:
        """Wait until the thread has ended."""
        if self._thread.ident:
            await self._ended

    def inherited(self) -> sqlite3.Connection | None:
        """In a forked child: return the connection, to be kept and never touched."""
        return None if self._snapshot is None else self._snapshot.db

    def _run(self) -> None:
        try:
            while (question := self._queue.get()) is not None:
                with self.gate:
                    answer = self._answer(question.ask)
                resolve(self._loop, [(question.future, answer)])
        finally:
            with self.gate:
                if self._snapshot is not None:
                    self._snapshot.db.close()
            resolve(self._loop, [(self._ended, None)])

    def _answer(self, ask: Callable[[Snapshot], Any]) -> Any:
        try:
            if self._snapshot is None:
                self._snapshot = Snapshot(open_connection(self._path))
            db = self._snapshot.db
            db.execute("BEGIN")
            try:
                check_version(stored_version(db), self._path)
                return ask(self._snapshot)
            finally:
                db.execute("COMMIT")
        except sqlite3.Error as error:
            return translate(error, self._path)
        except Exception as error:  # noqa: BLE001 - it is raised in the caller
            return error
