"""The lines of limit keys of one task in a lane, in turn."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import groupby
from typing import Any

from windlass.core.clock import Instant
from windlass.store.sqlite.rows import RowStatement
from windlass.store.sqlite.transaction import Transaction
from windlass.store.statements import statements

_SQL = statements("sqlite")
_WALK_LINES = _SQL["walk_lines"]
_CLOSE_LINES, _END_TURNS = _SQL["close_lines"], RowStatement(_SQL["end_turns"])
_END = 2**62
_PAGE = 100
"""Lines, or jobs, read in one go."""

Row = tuple[Any, ...]
"""The columns of ``walk_main``; with a limit key also those that ``walk_lines`` has in addition."""
TASK, KEY, JOB, RANK, SEQ, TURN, RUNNING = 2, 10, 11, 13, 14, 15, 16


class Rotation:
    """Gives the first jobs of the lines by rank and turn, and each line again once the others have had their turns.

    Args:
        tx: the transaction.
        lane: number of the lane.
        task: number of the task.
        count_to: how many running jobs of a key matter at most.
        write: writes what the claim has done so far, before more is read.
    """

    def __init__(self, tx: Transaction, lane: int, task: int, count_to: int, write: Callable[[], None]) -> None:
        self._tx = tx
        self.task = task
        self._where = lane, task
        self._count_to = count_to
        self._write = write
        self._rows: deque[Row] = deque()
        self._rank: int | None = None
        self._turn = -1
        self._rounds = 1
        self._has_rounds = False
        self._first_read = self._last_taken = 0
        self._next_rank(-1)
        self._turns: dict[str, int] = {}
        self._barred: dict[str, Instant | None] = {}
        self._came: dict[str, int] = {}
        """New turns of the lines of which there is more in the page."""

    def _next_rank(self, behind: int) -> None:
        self._rank = self._tx.execute(_SQL["first_rank"], (*self._where, behind)).fetchone()[0]
        self._turn = -1

    def first(self) -> Row | None:
        """Look at the next job."""
        rows = self._rows
        if rows and not self._barred:
            return rows[0]
        while True:
            while rows:
                if rows[0][KEY] not in self._barred:
                    return rows[0]
                rows.popleft()
            if self._rank is None:
                return None
            self._write()
            self._read(self._rank)
            if not rows:
                self._next_rank(self._rank)

    def _read(self, rank: int) -> None:
        """Read the next lines, and of each as many jobs as there are rounds to be expected; in order of their turns."""
        rounds = self._rounds
        page = (*self._where, rank, self._turn, _PAGE, self._tx.now, self._count_to)
        self._came = {}
        if rounds == 1:
            rows = self._tx.execute(_WALK_LINES, page).fetchall()
            lines = len(rows)
        else:
            rows = self._tx.execute(_SQL["walk_rounds"], (*page, rounds)).fetchall()
            rows.sort(key=lambda row: (row[TURN], row[SEQ]))
            by_line = [list(some) for _, some in groupby(rows, key=lambda row: row[TURN])]
            lines = len(by_line)
            if lines == _PAGE:
                rounds = 1  # there are more lines, whose turns come before the second round
            rows = [some[number] for number in range(rounds) for some in by_line if number < len(some)]
        if rows:
            self._has_rounds = rounds > 1
            self._first_read = rows[0][TURN]
            self._turn = max(row[TURN] for row in rows)
            self._rounds = max(1, _PAGE // lines)
            if self._has_rounds:
                self._last_taken = _END  # lines have new turns while the page lasts, and there are few
        self._rows.extend(rows)

    def place(self, row: Row) -> tuple[int, int]:
        """Where the first job stands: (rank, turn)."""
        turn = self._came.get(row[KEY])
        return row[RANK], row[TURN] if turn is None else turn

    def take(self) -> None:
        """The first job is taken, and its line goes behind all others."""
        row = self._rows.popleft()
        key = row[KEY]
        turn = self._turns[key] = self._tx.sequences(1)
        if self._has_rounds:
            self._came[key] = turn
        else:
            self._last_taken = row[TURN]

    def bar(self, until: Instant | None) -> None:
        """Pass over the first job's line, whose key is at its limit, and keep it out of the rotation."""
        self._barred[self._rows.popleft()[KEY]] = until

    def write_lines(self) -> None:
        """Write whose turn has ended and who was barred."""
        execute, where = self._tx.execute, (*self._where, self._rank)
        if self._turns:
            # All lines from the first to the last that were served; those in between were looked at, too.
            closed = execute(_CLOSE_LINES, (*where, self._first_read, self._last_taken)).rowcount
            if closed < len(self._turns):
                _END_TURNS.run(self._tx.db, list(self._turns.items()), after=where)
            self._turns = {}
        if self._barred:
            mark = self._tx.now, self._tx.limits_version
            bars = [(*mark, until, *self._where, key, self._rank) for key, until in self._barred.items()]
            self._tx.db.executemany(_SQL["bar_line"], bars)
            self._barred = {}
