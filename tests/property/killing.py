"""What ``kill -9`` inside a transaction leaves of a SQLite store, without killing anybody.

SQLite writes to the database and to its WAL by system calls, and what was written survives the process. So a copy of
the two files, taken at a statement boundary while a transaction is under way, is what the next process would find.
"""

import itertools
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from windlass.store.port import Store
from windlass.store.sqlite import SQLiteStore

MOST = 12
"""Copies of one write: they cost more than all else."""

_copies = itertools.count()


@contextmanager
def kill_at_every_statement(store: Store) -> Iterator[Callable[[], list[Store]]]:
    """Copy the files before each statement of the next write but BEGIN."""
    assert isinstance(store, SQLiteStore)
    path = Path(store.path)
    wrecks: list[Path] = []

    def before_statement(statement: str) -> None:
        if len(wrecks) < MOST and not statement.startswith("BEGIN"):
            wreck = path.with_name(f"{path.stem.partition('-')[0]}-{next(_copies)}.db")
            for suffix in ("", "-wal"):
                if (file := Path(f"{path}{suffix}")).exists():
                    shutil.copyfile(file, f"{wreck}{suffix}")
            wrecks.append(wreck)

    connection = store._writer._tx.db  # no seam for this in production code
    connection.set_trace_callback(before_statement)
    try:
        yield lambda: [SQLiteStore(wreck, store.settings, store._clock) for wreck in wrecks]
    finally:
        connection.set_trace_callback(None)
