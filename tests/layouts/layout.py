"""A database of an older layout, and what the code that made it said of it."""

import json
import sqlite3
from pathlib import Path
from typing import Any, NamedTuple

from windlass.store.sqlite.lock import WriteLock

FOLDER = Path(__file__).parent


class OldLayout(NamedTuple):
    """What is checked in of one layout."""

    script: str
    now: int
    """The store's clock when it was asked."""
    fields: list[str]
    """What that code knew of a job."""
    jobs: list[dict[str, Any]]
    """As `plain` shows them, by id; so are the others."""
    limits: list[dict[str, Any]]
    sessions: list[dict[str, Any]]

    def restore(self, path: Path) -> None:
        """Make a database of it."""
        db = sqlite3.connect(path)
        db.executescript(self.script)
        db.close()


def read_layout(number: int) -> OldLayout:
    """Read what ``make_layout_<number>.py`` has written."""
    said = json.loads((FOLDER / f"layout_{number}.json").read_text())
    return OldLayout((FOLDER / f"layout_{number}.sql").read_text(), **said)


def plain(record: Any) -> Any:
    """A record as JSON has it: bytes as hex, and nothing that is as it is by default."""
    if isinstance(record, bytes):
        return record.hex()
    if hasattr(record, "__struct_fields__"):
        named = {name: getattr(record, name) for name in record.__struct_fields__}
        return {name: plain(value) for name, value in named.items() if value not in (None, 0, "", b"", [], ())}
    if isinstance(record, (list, tuple)):
        return [plain(value) for value in record]
    return record


def set_version(path: Path, version: int) -> None:
    """Write the number of a layout into a database, as the migration of another version of Windlass does."""
    lock = WriteLock(str(path))
    lock.acquire()
    try:
        db = sqlite3.connect(path)
        with db:
            db.execute("UPDATE meta SET version = ?", (version,))
        db.close()
    finally:
        lock.release()
        lock.close()
