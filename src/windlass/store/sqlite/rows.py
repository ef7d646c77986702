"""Statements over many rows."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence
from itertools import chain, repeat
from typing import Any

_GROUP = re.compile(r"(\([^()]*\))\.\.\.")
MANY = 50
"""Rows in one step. `executemany` takes one step for each row, and hands the interpreter's lock over twice in each;
beyond some dozens of rows a longer statement gains nothing."""
SOME = 10
"""The same for what remains."""


def blob(value: bytes | None) -> bytearray | None:
    """The same bytes as a parameter: before Python 3.12 the driver looks for an adapter for each ``bytes``, in vain and
    four times as long as it takes to bind and to copy these."""
    return None if value is None else bytearray(value)


def _repeated(text: str, times: int) -> str:
    return _GROUP.sub(lambda found: ", ".join([found[1]] * times), text)


class RowStatement:
    """A statement with a group of parameters, written ``(?, ?)...``, for each row."""

    def __init__(self, text: str) -> None:
        self._by_size = {size: _repeated(text, size) for size in (MANY, SOME, 1)}
        self._many, self._one = self._by_size[MANY], self._by_size[1]

    def fetch(
        self, db: sqlite3.Connection, rows: Sequence[tuple[Any, ...]], after: tuple[Any, ...] = ()
    ) -> list[tuple[Any, ...]]:
        """Run a query for all rows, with other parameters after them, and return all that it found, in no order. It
        must not mind a row that comes again: the last one does, until a step is full, so that there is one
        statement."""
        if len(rows) == 1:
            return db.execute(self._one, (*rows[0], *after)).fetchall()
        found: list[tuple[Any, ...]] = []
        for first in range(0, len(rows), MANY):
            some = rows[first : first + MANY]
            full = chain(some, repeat(some[-1], MANY - len(some)))
            found += db.execute(self._many, (*chain.from_iterable(full), *after)).fetchall()
        return found

    def run(
        self,
        db: sqlite3.Connection,
        rows: Sequence[tuple[Any, ...]],
        before: tuple[Any, ...] = (),
        after: tuple[Any, ...] = (),
    ) -> int:
        """Run it for all rows, with other parameters before and after them; return how many it changed."""
        count = len(rows)
        if count == 1:
            return db.execute(self._one, (*before, *rows[0], *after)).rowcount
        changed = done = 0
        for size, text in self._by_size.items():
            while count - done >= size:
                flat = tuple(chain(before, chain.from_iterable(rows[done : done + size]), after))
                changed += db.execute(text, flat).rowcount
                done += size
        return changed
