"""What SQLite's own errors mean to a caller of the port."""

from __future__ import annotations

import errno
import os
import sqlite3
from pathlib import Path

from windlass.core.errors import SchemaMismatch, StoreError, StoreFull, StoreReadOnly, StoreUnavailable

_BUSY, _LOCKED, _READONLY, _IOERR, _CORRUPT, _FULL, _CANTOPEN, _NOTADB = 5, 6, 8, 10, 11, 13, 14, 26
_SCARCE = 1 << 20
"""Bytes: an I/O error with less room than this is taken for a full disk, since SQLite does not always say so."""


def is_busy(error: sqlite3.Error) -> bool:
    """Whether somebody else holds the database just now."""
    return _code(error) in (_BUSY, _LOCKED)


def translate(error: sqlite3.Error, path: str) -> StoreError:
    """Say in the port's words, and with the path, what went wrong."""
    code = _code(error)
    if code == _FULL or (code == _IOERR and _is_full(path)):
        return StoreFull(f"no room left on the disk of {path}; nothing of this call was stored")
    if code == _READONLY:
        return StoreReadOnly(
            f"{path} may not be written to ({error}); it, -wal, -shm and the directory must be writable"
        )
    if code == _NOTADB:
        return SchemaMismatch(f"{path} is not a SQLite database")
    if code == _CORRUPT:
        return StoreUnavailable(f"{path} is damaged ({error}); restore it from a backup, or try sqlite3's .recover")
    if code == _CANTOPEN:
        return StoreUnavailable(f"cannot open {path}: {_why_not(path)}")
    if "no such table" in str(error):
        return StoreUnavailable(
            f"{path} was deleted or replaced while it was in use: restart all programs that use it ({error})"
        )
    if is_busy(error):
        return StoreUnavailable(f"{path} is held by another program that is not a windlass process ({error})")
    return StoreError(f"{path}: {error}")


def refused(error: OSError, path: str) -> StoreError:
    """Say what it means that the system would not let us have a file beside the database."""
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return StoreReadOnly(f"{error.filename} may not be written to: {error.strerror}")
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StoreFull(f"no room left on the disk of {path}")
    return StoreUnavailable(f"cannot open {path}: {error.strerror} ({error.filename})")


def _code(error: sqlite3.Error) -> int:
    # Errors that Python raises by itself (a closed connection, a bad parameter) carry no code.
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def _is_full(path: str) -> bool:
    try:
        room = os.statvfs(Path(path).parent)
    except OSError:
        return False
    return room.f_bavail * room.f_frsize < _SCARCE


def _why_not(path: str) -> str:
    folder = Path(path).parent
    if not folder.is_dir():
        return f"there is no directory {folder}"
    if Path(path).is_dir():
        return "it is a directory"
    if not os.access(folder, os.W_OK | os.X_OK):
        return f"the directory {folder} may not be written to"
    if Path(path).exists() and not os.access(path, os.R_OK):
        return "it may not be read"
    return "unable to open database file"
