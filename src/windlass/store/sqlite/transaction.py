"""One write transaction, as the verbs see it."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from typing import Any

from windlass.core.clock import Instant
from windlass.core.model import Settings
from windlass.store.sqlite.names import Names
from windlass.store.statements import statements

_SQL = statements("sqlite")
_READ_META, _DUE_BEFORE = _SQL["read_meta"], _SQL["is_due_before"]
_BLOCK = 4096
"""Sequences reserved at a time."""
MANY = 64
"""A hint names at most so many queues, jobs or sessions; beyond that it goes to everybody who wants any."""


class Hints:
    """What a transaction did that somebody may be waiting for; sent after the commit."""

    __slots__ = ("due", "everybody", "finished", "limits", "ready", "schedules", "sessions")

    def __init__(self) -> None:
        self.ready: set[str] = set()
        """Queues with a job that became claimable."""
        self.finished: list[bytes] = []
        """Jobs that finished; more than `MANY` say just that."""
        self.due: Instant | None = None
        """The earliest instant at which one of the jobs is due that were scheduled."""
        self.everybody = False
        """Something changed that may let jobs start anywhere."""
        self.limits = False
        """A limit record was put."""
        self.schedules = False
        """A schedule is due earlier than any before."""
        self.sessions: set[bytes] = set()
        """Sessions with something waiting for them in `renew`."""

    def clear(self) -> None:
        """Start anew."""
        self.ready.clear()
        self.finished.clear()
        self.due = None
        self.everybody = self.limits = self.schedules = False
        self.sessions.clear()

    def __bool__(self) -> bool:
        return bool(
            self.ready
            or self.everybody
            or self.finished
            or self.due is not None
            or self.sessions
            or self.limits
            or self.schedules
        )

    def scheduled(self, due: Instant) -> None:
        """Note that a job was scheduled."""
        if self.due is None or due < self.due:
            self.due = due


class Transaction:
    """What a verb needs: the connection, the instant, names, sequences, hints. Reused from one to the next."""

    def __init__(self, db: sqlite3.Connection, clock: Callable[[], Instant], settings: Settings) -> None:
        self.db = db
        self.execute: Callable[..., sqlite3.Cursor] = db.execute
        self.settings = settings
        self.names = Names(db)
        self.hints = Hints()
        self.now: Instant = 0
        """The store's clock at the beginning of the transaction."""
        self.version = 0
        """Of the layout, as this transaction found it."""
        self.limits_version = 0
        self.held: dict[bytes, int] = {}
        """Row numbers of plain jobs that were claimed through this store object, so that settling need not look ids up.
        A short cut, nothing more: an entry may be missing or out of date."""
        self.held_linked: dict[bytes, int] = {}
        """The same of jobs with edges."""
        self.memory: dict[str, Any] = {}
        """What verbs keep from one transaction to the next, by verb; a rollback clears it."""
        self._clock = clock
        self._owner = os.urandom(8)
        self._next = self._end = self._reserved = 0
        self._is_owner = self._open = self._is_known = False

    def begin(self, *, undisturbed: bool = False) -> None:
        """Begin; needs the write lock. ``undisturbed``: nobody else has written since the last transaction."""
        self.hints.clear()
        self.execute("BEGIN IMMEDIATE")
        self._open = True
        if not (undisturbed and self._is_known):
            self.version, self._reserved, owner, self.limits_version = self.execute(_READ_META).fetchone()
            self._is_owner = owner == self._owner
            self._is_known = True
        self.now = self._clock()

    def commit(self) -> None:
        """Commit; what was done is durable, and true for everybody, when this returns."""
        if self.hints.due is not None and self.execute(_DUE_BEFORE, (self.hints.due,)).fetchone():
            self.hints.due = None
        self.execute("COMMIT")
        self._open = False

    def rollback(self) -> None:
        """Undo what has not been committed, if there is something, and forget what was learnt in it."""
        if not self._open:
            return
        self._open = False
        # SQLite rolls back by itself after some errors.
        if self.db.in_transaction:
            self.execute("ROLLBACK")
        self.names.forget()
        self.memory.clear()
        self.hints.clear()
        self._next = self._end = 0
        self._is_known = False

    def sequences(self, count: int) -> int:
        """Take ``count`` sequences, greater than all that were taken before by anybody, and return the first."""
        if not self._is_owner or self._next + count > self._end:
            self._next = self._reserved
            self._reserved = self._end = self._next + max(count, _BLOCK)
            self.execute(_SQL["reserve_sequences"], (self._end, self._owner))
            self._is_owner = True
        first = self._next
        self._next += count
        return first
