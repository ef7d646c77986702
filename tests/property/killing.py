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

_copies = itertools.count()


@contextmanager
def kill_after(store: Store, statements: int) -> Iterator[Callable[[], Store | None]]:
    """Copy the files before the statement with this number (BEGIN is the first) of the next write."""
    assert isinstance(store, SQLiteStore)
    path = Path(store.path)
    wreck = path.with_name(f"{path.stem}-{next(_copies)}.db")
    left = statements

    def before_statement(_: str) -> None:
        nonlocal left
        if left == 0:
            for suffix in ("", "-wal"):
                if (file := Path(f"{path}{suffix}")).exists():
                    shutil.copyfile(file, f"{wreck}{suffix}")
        left -= 1

    connection = store._writer._tx.db  # no seam for this in production code
    connection.set_trace_callback(before_statement)
    try:
        yield lambda: SQLiteStore(wreck, store.settings, store._clock) if wreck.exists() else None
    finally:
        connection.set_trace_callback(None)
