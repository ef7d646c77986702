"""The thread that writes: whatever has gathered goes into one transaction.

Verbs are functions of a `Transaction`, put into a queue. The thread takes the lock that all processes share, runs what
is there, commits, lets the lock go, and resolves all futures in one step on the loop. Nothing is acknowledged before
its commit returned, and a verb whose caller has gone is carried out all the same.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple, TypeVar

from windlass.core.clock import Instant
from windlass.core.errors import SchemaMismatch, StoreUnavailable
from windlass.core.model import Settings
from windlass.store.sqlite.connection import check_place, open_connection
from windlass.store.sqlite.failures import is_busy, refused, translate
from windlass.store.sqlite.lock import WriteLock
from windlass.store.sqlite.schema import check_version, prepare
from windlass.store.sqlite.transaction import Transaction
from windlass.store.sqlite.turn import PATIENCE, Turn
from windlass.store.sqlite.wake import Sender

T = TypeVar("T")
_log = logging.getLogger("windlass.store.sqlite")

_HOLD = 0.008
"""Seconds after which a transaction takes no further verb, so that other processes wait for 10 ms at most."""
CLOSING = 5.0
"""Seconds that closing waits for the thread; it holds nothing that the end of the process would not free."""


class NeedsCare(Exception):
    """A verb's fast path met something that it cannot judge; run it again, alone, after a rollback."""


class Verb(NamedTuple):
    """One call of the port that waits to be carried out."""

    run: Callable[[Transaction], Any]
    """What it returns is the answer; an exception that it *returns* is raised in the caller. One that it raises costs
    the whole group a rollback."""
    future: asyncio.Future[Any]


Answers = list[tuple[asyncio.Future[Any], Any]]


class Writer:
    """Owns the thread, its connection and its lock. Belongs to one event loop."""

    # Made by the thread.
    _lock: WriteLock
    _turn: Turn[Verb]
    _tx: Transaction

    def __init__(
        self,
        path: str,
        settings: Settings,
        clock: Callable[[], Instant],
        loop: asyncio.AbstractEventLoop,
        sender: Sender,
    ) -> None:
        self._path = path
        self._settings = settings
        self._clock = clock
        self._loop = loop
        self._sender = sender
        self._nobody_sleeps = False
        """The last look at who waits for hints found nobody."""
        self._queue: SimpleQueue[Verb | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="windlass-sqlite-writer", daemon=True)
        self.gate = threading.Lock()
        """Held whenever this thread is inside SQLite: a fork waits for it."""
        self._ended: asyncio.Future[None] = loop.create_future()
        self.opened: asyncio.Future[bool] = loop.create_future()
        """Whether the file was created; or why it could not be opened."""
        # Nobody may be left to hear of it.
        self.opened.add_done_callback(lambda opened: opened.cancelled() or opened.exception())

    def start(self) -> None:
        """Start the thread; `opened` tells how it went."""
        self._thread.start()

    def put(self, run: Callable[[Transaction], T | Exception]) -> asyncio.Future[T]:
        """Have a verb carried out."""
        future: asyncio.Future[T] = self._loop.create_future()
        self._queue.put(Verb(run, future))
        return future

    def end(self) -> None:
        """Have the thread end after all that was put before."""
        self._queue.put(None)

    async def stop(self) -> None:
        """Wait until the thread has ended, unless it waits for somebody else."""
        await asyncio.wait([self._ended], timeout=CLOSING)
        if hasattr(self, "_turn"):
            self._turn.end()

    # ------------------------------------------------------------------------------------------- the thread

    def _run(self) -> None:
        try:
            opened = self._open()
        except Exception as error:  # noqa: BLE001 - it is raised in the caller
            self._answer([(self.opened, self._meaning(error))])
            opened = False
        try:
            while opened and (verb := self._queue.get()) is not None:
                self._write(verb)
        finally:
            if hasattr(self, "_tx"):
                with self.gate:
                    self._tx.db.close()
            if hasattr(self, "_lock"):
                self._lock.close()
            self._sender.close()
            self._answer([(self._ended, None)])

    def inherited(self) -> sqlite3.Connection | None:
        """In a forked child: close the lock's descriptors; return the connection, to be kept and never touched."""
        if hasattr(self, "_lock"):
            self._lock.close()
        self._sender.close()
        return self._tx.db if hasattr(self, "_tx") else None

    def _open(self) -> bool:
        check_place(self._path)
        self._lock = WriteLock(self._path)
        self._turn = Turn(self._path, self._lock, self._loop, self._give_up)
        if not self._turn.take(Verb(_nothing, self.opened)):
            return False
        try:
            with self.gate:
                db = open_connection(self._path)
                try:
                    created = prepare(db, self._path)
                    self._tx = Transaction(db, self._clock, self._settings)
                except BaseException:
                    db.close()
                    raise
        finally:
            self._lock.release()
        self._answer([(self.opened, created)])
        return True

    def _write(self, first: Verb) -> None:
        """Carry out this verb and what gathers behind it."""
        if not self._turn.take(first):
            return
        group = [first]
        answers: Answers = []
        alone = False
        try:
            with self.gate:
                try:
                    if self._begin(group):
                        self._together(group, answers)
                except NeedsCare:
                    alone = True
                except Exception as error:  # noqa: BLE001 - it is raised in the callers
                    # Who is to blame? Not every verb, unless there is but one, or the commit itself failed.
                    alone = 1 < len(group) > len(answers)
                    answers = self._failed(group, error)
                self._tx.rollback()
            told = self._is_awaited()
        finally:
            self._lock.release()
        if alone:
            for verb in group:
                self._write_alone(verb)
        else:
            self._answer(answers)
            self._hint(told)

    def _together(self, group: list[Verb], answers: Answers) -> None:
        """Run the group, which grows by what has gathered meanwhile, and commit."""
        tx = self._tx
        until = time.perf_counter() + _HOLD
        verb: Verb | None = group[0]
        while verb is not None:
            answers.append((verb.future, verb.run(tx)))
            if time.perf_counter() > until:
                break
            try:
                verb = self._queue.get_nowait()
            except Empty:
                break
            if verb is None:
                self._queue.put(None)
            else:
                group.append(verb)
        tx.commit()

    def _write_alone(self, verb: Verb) -> None:
        """Carry out one verb in a transaction of its own, so that one bad verb fails alone."""
        if not self._turn.take(verb):
            return
        answers: Answers = []
        try:
            with self.gate:
                while not answers:
                    try:
                        if not self._begin([verb]):
                            break
                        answer = verb.run(self._tx)
                        self._tx.commit()
                        answers = [(verb.future, answer)]
                    except NeedsCare:
                        self._tx.rollback()
                    except Exception as error:  # noqa: BLE001 - it is raised in the caller
                        answers = self._failed([verb], error)
                self._tx.rollback()
            told = self._is_awaited()
        finally:
            self._lock.release()
        self._answer(answers)
        self._hint(told)

    def _begin(self, group: list[Verb]) -> bool:
        """Begin a transaction; if that fails, it fails for all that wait, and the answer is False."""
        patience = time.monotonic() + PATIENCE
        while True:
            try:
                self._tx.begin(undisturbed=self._lock.undisturbed)
                check_version(self._tx.version, self._path)
                return True
            except (sqlite3.Error, SchemaMismatch) as error:
                # Busy? Everybody who knows our lock is out: this is somebody with another program.
                if isinstance(error, sqlite3.Error) and is_busy(error) and time.monotonic() < patience:
                    continue
                self._answer(self._failed([*group, *self._gathered()], error))
                return False

    def _gathered(self) -> list[Verb]:
        """Take all verbs that wait off the queue."""
        found: list[Verb] = []
        try:
            while (verb := self._queue.get_nowait()) is not None:
                found.append(verb)
            self._queue.put(None)
        except Empty:
            pass
        return found

    def _failed(self, group: list[Verb], error: Exception) -> Answers:
        return [(verb.future, self._meaning(error)) for verb in group]

    def _give_up(self, verb: Verb, error: StoreUnavailable) -> None:
        """On the loop: fail what waits. The thread goes on waiting for the lock, and later verbs with it."""
        _resolve([(each.future, error) for each in [verb, *self._gathered()]])

    def _answer(self, answers: Answers) -> None:
        resolve(self._loop, answers)

    def _is_awaited(self) -> bool:
        """With the lock still held, after the commit: whether somebody may wait for what was done.

        Who goes to sleep first says so in the file's name, then here, and then looks at the store. The mark is cleared
        under the lock, and the names are read again after that: so no hint is lost between two writers.
        """
        page = self._lock.page
        if self._nobody_sleeps and page.sleeping:
            page.sleeping = False
            page.sleeping = self._sender.has_listeners()
        self._nobody_sleeps = False
        return bool(self._tx.hints) and page.sleeping

    def _hint(self, awaited: bool) -> None:
        if awaited:
            self._nobody_sleeps = not self._sender.send(self._tx.hints)

    def _meaning(self, error: Exception) -> Exception:
        if isinstance(error, sqlite3.Error):
            return translate(error, self._path)
        if isinstance(error, OSError):
            return refused(error, self._path)
        return error


def _nothing(_: Transaction) -> None:
    """Opening is a verb that does nothing."""


def resolve(loop: asyncio.AbstractEventLoop, answers: Answers) -> None:
    """From another thread: resolve all these futures in one step of the loop."""
    try:
        loop.call_soon_threadsafe(_resolve, answers)
    except RuntimeError:
        _log.debug("the event loop was closed before %d answers of the store", len(answers))


def _resolve(answers: Answers) -> None:
    for future, answer in answers:
        if future.done():
            continue
        if isinstance(answer, BaseException):
            future.set_exception(answer)
        else:
            future.set_result(answer)
