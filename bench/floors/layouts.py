"""Tables and statements of the SQLite floors."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Sequence
from typing import NamedTuple, Protocol, TypeAlias

DAY = 86_400_000_000


class Taken(NamedTuple):
    """A claimed job."""

    key: int | bytes
    token: int
    payload: bytes


Ended: TypeAlias = tuple[bytes, int | bytes, int]
"""Result, key, token."""


class Layout(Protocol):
    """How one floor stores jobs."""

    def create(self, db: sqlite3.Connection) -> None:
        """Make the tables."""

    def insert(self, db: sqlite3.Connection, first: int, payloads: Sequence[bytes]) -> None:
        """Store ready jobs, numbered from ``first``."""

    def claim(self, db: sqlite3.Connection, limit: int) -> list[Taken]:
        """Take the first ready jobs."""

    def settle(self, db: sqlite3.Connection, batch: Sequence[Ended]) -> int:
        """Keep the results of jobs that are still ours; answers how many were."""


class Reference:
    """The least: leased, fenced, results kept. ``keys``: ``rowid`` (integers, beside a unique ordered id), ``ordered``
    or ``random`` (16 bytes)."""

    def __init__(self, keys: str) -> None:
        self._random = keys == "random"
        columns, self._key, suffix = (
            ("n INTEGER PRIMARY KEY, id BLOB UNIQUE", "n", "")
            if keys == "rowid"
            else ("id BLOB PRIMARY KEY", "id", "WITHOUT ROWID")
        )
        self._schema = f"""
            CREATE TABLE job ({columns}, queue INTEGER, rank INTEGER, seq INTEGER, state INTEGER,
                token INTEGER DEFAULT 0, attempt INTEGER DEFAULT 0, worker INTEGER, task TEXT, payload BLOB,
                result BLOB, finished_at REAL) {suffix};
            CREATE INDEX job_ready ON job (queue, rank, seq) WHERE state = 1;
            CREATE INDEX job_held ON job (worker) WHERE state = 2;
        """
        self._claim = f"""
            UPDATE job SET state = 2, token = token + 1, attempt = attempt + 1, worker = 7
            WHERE {self._key} IN (SELECT {self._key} FROM job WHERE queue = 1 AND state = 1 ORDER BY rank, seq LIMIT ?)
            RETURNING {self._key}, token, payload
        """
        self._settle = f"""
            UPDATE job SET state = 5, result = ?, payload = NULL, finished_at = unixepoch()
            WHERE {self._key} = ? AND token = ? AND worker = 7 AND state = 2
        """

    def create(self, db: sqlite3.Connection) -> None:
        db.executescript(self._schema)

    def insert(self, db: sqlite3.Connection, first: int, payloads: Sequence[bytes]) -> None:
        rows = [
            (os.urandom(16) if self._random else b"%016d" % number, number, payload)
            for number, payload in enumerate(payloads, first)
        ]
        db.executemany(
            "INSERT INTO job (id, queue, rank, seq, state, task, payload) VALUES (?, 1, 4, ?, 1, 'add', ?)", rows
        )

    def claim(self, db: sqlite3.Connection, limit: int) -> list[Taken]:
        return [Taken(*row) for row in db.execute(self._claim, (limit,))]

    def settle(self, db: sqlite3.Connection, batch: Sequence[Ended]) -> int:
        return db.executemany(self._settle, batch).rowcount


class Promises:
    """What Windlass keeps, in the fewest statements."""

    _SCHEMA = """
        CREATE TABLE job (
            n INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, lane INTEGER NOT NULL, task INTEGER NOT NULL,
            state INTEGER NOT NULL, rank INTEGER NOT NULL, seq INTEGER, token INTEGER NOT NULL DEFAULT 0,
            session BLOB, request INTEGER, attempt INTEGER NOT NULL DEFAULT 0, linked INTEGER NOT NULL DEFAULT 0,
            settled INTEGER, suspect INTEGER NOT NULL DEFAULT 0, cancel_requested INTEGER NOT NULL DEFAULT 0,
            failures INTEGER NOT NULL DEFAULT 0, losses INTEGER NOT NULL DEFAULT 0, enqueued_at INTEGER NOT NULL,
            due_at INTEGER, started_at INTEGER, finished_at INTEGER, purge_at INTEGER, unique_key TEXT,
            payload BLOB NOT NULL, result BLOB);
        CREATE INDEX job_ready ON job (lane, rank, seq) WHERE state = 2 AND suspect = 0;
        CREATE INDEX job_due ON job (due_at) WHERE state = 1;
        CREATE INDEX job_held ON job (session) WHERE state = 3;
        CREATE INDEX job_purge ON job (purge_at) WHERE purge_at IS NOT NULL;
        CREATE UNIQUE INDEX job_key ON job (task, unique_key) WHERE unique_key IS NOT NULL;
        CREATE TABLE session (id BLOB PRIMARY KEY, request INTEGER NOT NULL, revoked INTEGER NOT NULL) WITHOUT ROWID;
        CREATE TABLE limits (scope INTEGER, name TEXT, paused INTEGER, PRIMARY KEY (scope, name)) WITHOUT ROWID;
    """
    _INSERT = """
        INSERT INTO job (id, lane, task, state, rank, seq, enqueued_at, payload) VALUES (?, 1, 1, 2, 4, ?, ?, ?)
        ON CONFLICT (id) DO NOTHING
    """
    _CLAIM = """
        UPDATE job SET state = 3, token = token + 1, attempt = attempt + 1, session = ?, request = ?, started_at = ?
        WHERE n IN (SELECT n FROM job WHERE lane = 1 AND state = 2 AND suspect = 0 ORDER BY rank, seq LIMIT ?)
        RETURNING n, token, payload, id, rank, seq, attempt, failures, enqueued_at
    """
    _SETTLE = """
        UPDATE job SET state = 4, settled = 1, result = ?1, finished_at = ?4, purge_at = ?4 + 86400000000
        WHERE n = ?2 AND token = ?3 AND session = ?5 AND state = 3 AND linked = 0
    """

    def __init__(self) -> None:
        self._session = os.urandom(16)
        self._request = 0

    def create(self, db: sqlite3.Connection) -> None:
        db.executescript(self._SCHEMA)
        db.execute("INSERT INTO session VALUES (?, 0, 0)", (self._session,))

    def adopt(self, db: sqlite3.Connection) -> None:
        """Go on with the session that is there."""
        ((self._session,),) = db.execute("SELECT id FROM session")

    def insert(self, db: sqlite3.Connection, first: int, payloads: Sequence[bytes]) -> None:
        now = _now()
        db.executemany(
            self._INSERT, [(b"%016d" % number, number, now, payload) for number, payload in enumerate(payloads, first)]
        )

    def claim(self, db: sqlite3.Connection, limit: int) -> list[Taken]:
        self._request += 1
        owned = db.execute(
            "UPDATE session SET request = ? WHERE id = ? AND revoked = 0 AND request < ?",
            (self._request, self._session, self._request),
        )
        assert owned.rowcount == 1
        if db.execute("SELECT 1 FROM limits WHERE scope = 0 AND name = 'default' AND paused").fetchone():
            return []
        rows = db.execute(self._CLAIM, (self._session, self._request, _now(), limit)).fetchall()
        rows.sort(key=lambda row: row[4:6])  # RETURNING promises no order
        return [Taken(*row[:3]) for row in rows]

    def settle(self, db: sqlite3.Connection, batch: Sequence[Ended]) -> int:
        now, session = _now(), self._session
        return db.executemany(self._SETTLE, [(*ended, now, session) for ended in batch]).rowcount


def _now() -> int:
    return time.time_ns() // 1000


def layout(name: str) -> Layout:
    """``promises``, or ``rowid``, ``ordered``, ``random``: the reference with these keys."""
    return Promises() if name == "promises" else Reference(name)
