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
from windlass.core.errors import StoreUnavailable
from windlass.core.model import Settings
from windlass.store.sqlite.connection import check_place, open_connection
from windlass.store.sqlite.failures import is_busy, refused, translate
from windlass.store.sqlite.lock import WriteLock
from windlass.store.sqlite.schema import prepare
from windlass.store.sqlite.transaction import Hints, Transaction

T = TypeVar("T")
_log = logging.getLogger("windlass.store.sqlite")

_HOLD = 0.008
"""Seconds after which a transaction takes no further verb, so that other processes wait for 10 ms at most."""
CLOSING = 5.0
"""Seconds that closing waits for the thread; it holds nothing that the end of the process would not free."""
PATIENCE = 10.0
"""Seconds that callers wait for somebody who does not let the lock go."""


class NeedsCare(Exception):
    """A verb's fast path met something that it cannot judge; run it again, alone, after a rollback."""


class Verb(NamedTuple):
    """One call of the port that waits to be carried out."""

    run: Callable[[Transaction], Any]
    """What it returns is the answer; an exception that it *returns* is raised in the caller. One that it raises costs
    the whole group a rollback."""
    future: asyncio.Future[Any]


Answers = list[tuple[asyncio.Future[Any], Any]]


class _Stuck:
    """A verb whose thread waits for the lock."""

    def __init__(self, verb: Verb) -> None:
        self.verb = verb
        self.since = time.monotonic()
        self.given_up = False


class Writer:
    """Owns the thread, its connection and its lock. Belongs to one event loop."""

    # Made by the thread.
    _lock: WriteLock
    _tx: Transaction

    def __init__(
        self,
        path: str,
        settings: Settings,
        clock: Callable[[], Instant],
        loop: asyncio.AbstractEventLoop,
        send: Callable[[Hints], None],
    ) -> None:
        self._path = path
        self._settings = settings
        self._clock = clock
        self._loop = loop
        self._send = send
        self._queue: SimpleQueue[Verb | None] = SimpleQueue()
        self._created = False
        self._stuck: _Stuck | None = None
        self._guard = threading.Lock()
        self._watch: asyncio.TimerHandle | None = None
        self._thread = threading.Thread(target=self._run, name="windlass-sqlite-writer", daemon=True)
        self.gate = threading.Lock()
        """Held whenever this thread is inside SQLite: a fork waits for it."""
        self._ended: asyncio.Future[None] = loop.create_future()
        self.opened: asyncio.Future[bool] = loop.create_future()
        """Whether the file was created; or why it could not be opened."""

    def start(self) -> None:
        """Start the thread; `opened` tells how it went."""
        self._thread.start()

    def put(self, run: Callable[[Transaction], T | Exception]) -> asyncio.Future[T]:
        """Have a verb carried out."""
        future: asyncio.Future[T] = self._loop.create_future()
        self._queue.put(Verb(run, future))
        return future

    async def stop(self) -> None:
        """Have the thread end after all that was put before, and wait for it, unless it waits for somebody else."""
        self._queue.put(None)
        await asyncio.wait([self._ended], timeout=CLOSING)
        if self._watch is not None:
            self._watch.cancel()

    # ------------------------------------------------------------------------------------------- the thread

    def _run(self) -> None:
        try:
            self._open()
        except Exception as error:
            self._answer([(self.opened, self._meaning(error)), (self._ended, None)])
            return
        self._answer([(self.opened, self._created)])
        try:
            while (verb := self._queue.get()) is not None:
                self._write(verb)
        finally:
            with self.gate:
                self._tx.db.close()
            self._lock.close()
            self._answer([(self._ended, None)])

    def inherited(self) -> sqlite3.Connection | None:
        """In a forked child: close the lock's descriptors; return the connection, to be kept and never touched."""
        if hasattr(self, "_lock"):
            self._lock.close()
        return self._tx.db if hasattr(self, "_tx") else None

    def _open(self) -> None:
        check_place(self._path)
        self._lock = WriteLock(self._path)
        try:
            self._lock.acquire()
            try:
                with self.gate:
                    self._tx = self._prepare()
            finally:
                self._lock.release()
        except BaseException:
            self._lock.close()
            raise

    def _prepare(self) -> Transaction:
        db = open_connection(self._path)
        try:
            self._created = prepare(db, self._path)
            return Transaction(db, self._clock, self._settings)
        except BaseException:
            db.close()
            raise

    def _write(self, first: Verb) -> None:
        """Carry out this verb and what gathers behind it."""
        if not self._take_turn(first):
            return
        group = [first]
        answers: Answers = []
        alone = False
        try:
            with self.gate:
                try:
                    self._begin()
                    self._together(group, answers)
                except NeedsCare:
                    alone = True
                except Exception as error:
                    # Who is to blame? Not every verb, unless there is but one, or the commit itself failed.
                    alone = 1 < len(group) > len(answers)
                    answers = [(verb.future, self._meaning(error)) for verb in group]
                if self._tx.db.in_transaction or alone:
                    self._tx.rollback()
        finally:
            self._lock.release()
        if alone:
            for verb in group:
                self._write_alone(verb)
        else:
            self._answer(answers)
            self._hint()

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
        if not self._take_turn(verb):
            return
        try:
            with self.gate:
                answer = self._run_alone(verb)
        finally:
            self._lock.release()
        self._answer([(verb.future, answer)])
        self._hint()

    def _run_alone(self, verb: Verb) -> Any:
        while True:
            try:
                self._begin()
                answer = verb.run(self._tx)
                self._tx.commit()
                return answer
            except NeedsCare:
                self._tx.rollback()
            except Exception as error:
                self._tx.rollback()
                return self._meaning(error)

    def _begin(self) -> None:
        patience = time.monotonic() + PATIENCE
        while True:
            try:
                self._tx.begin()
                return
            except sqlite3.OperationalError as error:
                # Everybody who knows our lock is out: this is somebody with another program.
                if not is_busy(error) or time.monotonic() > patience:
                    raise

    def _answer(self, answers: Answers) -> None:
        resolve(self._loop, answers)

    def _hint(self) -> None:
        if self._tx.hints:
            self._send(self._tx.hints)

    def _meaning(self, error: Exception) -> Exception:
        if isinstance(error, sqlite3.Error):
            return translate(error, self._path)
        if isinstance(error, OSError):
            return refused(error, self._path)
        return error

    # --------------------------------------------------------------------------------- waiting for the lock

    def _take_turn(self, verb: Verb) -> bool:
        """Take the lock; say whether the verb still wants to be carried out."""
        if self._lock.try_acquire():
            return True
        stuck = self._stuck = _Stuck(verb)
        self._loop.call_soon_threadsafe(self._watch_over)
        self._lock.acquire()
        with self._guard:
            self._stuck = None
            if not stuck.given_up:
                return True
        self._lock.release()
        return False

    def _watch_over(self) -> None:
        """On the loop: look every second whether the thread still waits."""
        if self._watch is None and self._stuck is not None:
            self._watch = self._loop.call_later(1, self._look)

    def _look(self) -> None:
        self._watch = None
        with self._guard:
            stuck = self._stuck
            if stuck is not None and time.monotonic() - stuck.since > PATIENCE:
                stuck.given_up = True
        if stuck is not None and stuck.given_up:
            self._give_up(stuck.verb)
        self._watch_over()

    def _give_up(self, verb: Verb) -> None:
        """Fail what waits. The thread goes on waiting, and later verbs with it for as long."""
        error = StoreUnavailable(
            f"{self._path}: {self._lock.holder()} has held the write lock for more than {PATIENCE:g} s"
        )
        waiting: list[Verb | None] = [verb]
        while True:
            try:
                waiting.append(self._queue.get_nowait())
            except Empty:
                break
        if None in waiting:
            self._queue.put(None)
        _resolve([(each.future, error) for each in waiting if each is not None])


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
