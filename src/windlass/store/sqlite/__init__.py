"""SQLite: the embedded store, one file that the processes of one machine share."""

from windlass.store.sqlite.store import SQLiteStore

__all__ = ["SQLiteStore"]
