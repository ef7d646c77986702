"""The stored layout: created in a fresh file, checked in an old one, brought up to date when asked."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

import msgspec

from windlass.core.clock import SECOND, Instant
from windlass.core.errors import SchemaMismatch, StoreUnavailable
from windlass.core.model import Session
from windlass.store.sqlite.connection import check_place, open_connection
from windlass.store.sqlite.failures import refused, translate
from windlass.store.sqlite.lock import WriteLock
from windlass.store.statements import Migration, migrations, statements

_SQL = statements("sqlite")
STEPS = migrations("sqlite")
LATEST = STEPS[-1].version


def prepare(db: sqlite3.Connection, path: str) -> bool:
    """Create the layout if the file is empty, else check it; say whether it was created. Needs the write lock.

    Raises `SchemaMismatch` if it is older or newer than this version of Windlass, or not Windlass's at all.
    """
    version = read_version(db, path)
    if version == 0:
        _use_wal(db, path)
        apply(db, STEPS)
        return True
    check_version(version, path)
    _use_wal(db, path)
    return False


def check_version(version: int, path: str) -> None:
    """Raise `SchemaMismatch` unless this version of Windlass works with that layout. Asked in every transaction: a file
    may be migrated while somebody has it open."""
    if version < LATEST:
        raise SchemaMismatch(
            f"{path} has layout {version}, this version of Windlass needs {LATEST}: run `windlass migrate`"
        )
    if version > LATEST:
        raise SchemaMismatch(
            f"{path} has layout {version}, this version of Windlass knows {LATEST} only: upgrade Windlass"
        )


def migrate(db: sqlite3.Connection, path: str, now: Instant) -> list[str]:
    """Apply what is missing, and say what that was. Needs the write lock."""
    version = read_version(db, path)
    missing = [step for step in STEPS if step.version > version]
    if not missing:
        check_version(version, path)
    else:
        if version:
            _check_nobody_works(db, path, now)
        _use_wal(db, path)
        apply(db, missing)
    return [f"layout {step.version}: {step.title}" for step in missing]


def _check_nobody_works(db: sqlite3.Connection, path: str, now: Instant) -> None:
    """Refuse to take the file from under workers: what they run now would be lost to them, and run a second time."""
    live = db.execute(_SQL["live_sessions"], (now,)).fetchall()
    if not live:
        return
    sessions = [msgspec.json.decode(record, type=Session) for record, _ in live[:5]]
    named = [f"{session.node}:{session.pid}" for session in sessions] + ["..."][: len(live) - 5]
    left = (max(until for _, until in live) - now) / SECOND
    raise SchemaMismatch(
        f"{path}: workers of the older layout are at work ({', '.join(named)}): stop them, then migrate; one that was "
        f"killed counts for another {left:.0f} s"
    )


def migrate_file(path: str, clock: Callable[[], Instant], *, finish: bool) -> list[str]:
    """Bring a file up to date; see `Store.migrate`. Blocks.

    ``finish`` has nothing to end yet: no layout has changed in a way that two versions must write side by side.
    """
    del finish
    try:
        check_place(path)
        lock = WriteLock(path)
        try:
            lock.acquire()
            db = open_connection(path)
            try:
                return migrate(db, path, clock())
            finally:
                db.close()
        finally:
            lock.close()
    except sqlite3.Error as error:
        raise translate(error, path) from error
    except OSError as error:
        raise refused(error, path) from error


def read_version(db: sqlite3.Connection, path: str) -> int:
    """Return the version of the layout; 0 for an empty file. Raises `SchemaMismatch` if the tables are not ours."""
    if not db.execute(_SQL["has_tables"]).fetchone()[0]:
        return 0
    if not db.execute(_SQL["has_meta"]).fetchone()[0]:
        raise SchemaMismatch(f"{path} is a SQLite database, but not one of Windlass's")
    return stored_version(db)


def stored_version(db: sqlite3.Connection) -> int:
    """The version of the layout of a file that is ours."""
    return int(db.execute(_SQL["read_version"]).fetchone()[0])


def apply(db: sqlite3.Connection, steps: tuple[Migration, ...] | list[Migration]) -> None:
    """Apply these steps in one transaction."""
    db.execute("BEGIN IMMEDIATE")
    try:
        for step in steps:
            for statement in split(step.script):
                db.execute(statement)
            db.execute("INSERT OR IGNORE INTO meta (one, version) VALUES (1, 0)")
            db.execute(_SQL["set_version"], (step.version,))
        db.execute("COMMIT")
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")


def split(script: str) -> list[str]:
    """Split a script into statements. (`sqlite3.executescript` would commit on its own.)"""
    found, part = [], ""
    for line in script.splitlines(keepends=True):
        part += line
        if sqlite3.complete_statement(part):
            found.append(part)
            part = ""
    return found


def _use_wal(db: sqlite3.Connection, path: str) -> None:
    # A no-op where it is set already; it stays with the file. Answers the mode that is in force.
    (mode,) = db.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise StoreUnavailable(f"{path}: no write-ahead log is possible here ({mode} instead); use a local disk")
