"""Opening the database file, and refusing places where SQLite cannot keep its promises."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from windlass.core.errors import StoreUnavailable

BUSY_PATIENCE = 2_000
"""Milliseconds that one statement waits for a writer that does not know our lock (somebody with the sqlite3 shell)."""
_OLDEST = (3, 35, 0)
"""The first with RETURNING."""
_NETWORK = frozenset(
    {
        *("afs", "ceph", "cifs", "lustre", "ncpfs", "nfs", "nfs4", "smb3", "smbfs"),
        *("fuse.glusterfs", "fuse.s3fs", "fuse.sshfs"),
    }
)


def open_connection(path: str) -> sqlite3.Connection:
    """Open the file (creating it if there is none), ready for use by any one thread at a time."""
    connection = sqlite3.connect(
        path, timeout=BUSY_PATIENCE / 1000, isolation_level=None, check_same_thread=False, cached_statements=512
    )
    # NORMAL: a commit survives the death of the process, not a power cut within the last moments. The file itself
    # is never damaged by one.
    for pragma in ("synchronous = NORMAL", "temp_store = MEMORY", "journal_size_limit = 67108864"):
        connection.execute(f"PRAGMA {pragma}")
    return connection


def check_place(path: str) -> None:
    """Raise `StoreUnavailable` if SQLite is too old, the directory is missing, or it is on a network file system."""
    if sqlite3.sqlite_version_info < _OLDEST:
        raise StoreUnavailable(f"SQLite {sqlite3.sqlite_version} is too old: 3.35 or newer is needed")
    folder = Path(path).parent
    if not folder.is_dir():
        raise StoreUnavailable(f"cannot open {path}: there is no directory {folder}; create it first")
    if Path(path).is_dir():
        raise StoreUnavailable(f"cannot open {path}: it is a directory")
    kind = file_system(folder)
    if kind in _NETWORK:
        raise StoreUnavailable(
            f"{path} is on a network file system ({kind}), where SQLite's locks and shared memory do not work; "
            "put it on a local disk, or use a networked store"
        )


def file_system(folder: Path, mounts: str = "/proc/self/mounts") -> str | None:
    """Name the type of the file system that holds ``folder``; ``None`` where the system does not tell."""
    try:
        lines = Path(mounts).read_text(errors="replace").splitlines()
    except OSError:
        return None
    place = str(folder.resolve())
    best, kind = "", None
    for line in lines:
        _, point, found, *_ = line.split()
        # Spaces and the like stand as octal escapes there.
        point = point.encode("latin-1", "replace").decode("unicode_escape")
        # A later mount on the same point hides the earlier one.
        if len(point) >= len(best) and (place == point or place.startswith(point.rstrip("/") + "/")):
            best, kind = point, found
    return kind
