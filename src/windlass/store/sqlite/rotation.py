"""The lines of limit keys of one task in a lane, in turn."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import groupby, pairwise
from typing import Any, NamedTuple

from windlass.core.clock import Instant
from windlass.store.sqlite.rows import RowStatement
from windlass.store.sqlite.transaction import Transaction
from windlass.store.statements import statements

_SQL = statements("sqlite")
_WALK_LINES, _END_TURNS = _SQL["walk_lines"], RowStatement(_SQL["end_turns"])

Row = tuple[Any, ...]
"""The columns of ``walk_main``; with a limit key also those that ``walk_lines`` has in addition."""
ID, TASK, KEY, JOB, RANK, SEQ, EXPIRED, TURN, RUNNING, BEHIND = 0, 2, 10, 11, 13, 14, 15, 16, 17, 18


class Detour:
    """How many jobs one claim may still pass over."""

    __slots__ = ("is_over", "left")

    def __init__(self, most: int) -> None:
        self.left = most
        self.is_over = False
        """There was more to pass over."""

    def pass_over(self) -> bool:
        """Pass over one more job; say whether that may be."""
        self.left -= 1
        self.is_over = self.left < 0
        return not self.is_over


class Reading(NamedTuple):
    """How much one claim reads, and past what."""

    page: int
    """Lines, or jobs, read in one go."""
    count_to: int
    """How many running jobs of a limit key matter at most."""
    detour: Detour | None
    """How many expired jobs may be passed over; ``None`` if there are none."""


class Rotation:
    """Gives the first jobs of the lines by rank and turn, and each line again once the others have had their turns.

    Args:
        tx: the transaction.
        lane: number of the lane.
        task: number of the task.
        reading: how much the claim reads, and past what.
        write: writes what the claim has done so far, before more is read.
    """

    def __init__(self, tx: Transaction, lane: int, task: int, reading: Reading, write: Callable[[], None]) -> None:
        self._tx = tx
        self.task = task
        self._where = lane, task
        self._page, self._count_to, self._detour = reading
        self._write = write
        self._rows: deque[Row] = deque()
        self._behind: dict[int, int] | None = None
        """Who is behind whom in the page, by row number, where the rows do not say it."""
        self._came: dict[str, int] = {}
        """New turns of the lines of which there is more in the page."""
        self._stuck: dict[str, Row] = {}
        """Expired jobs that are the first of their lines, and stay it."""
        self._turns: dict[int, int] = {}
        """To be written: new turns, by the row number of the first job of the line."""
        self._bars: list[Row] = []
        self._barred: set[str] = set()
        self._next_rank(-1)

    def _next_rank(self, behind: int) -> None:
        self._rank = self._tx.execute(_SQL["first_rank"], (*self._where, behind)).fetchone()[0]
        self._turn = -1
        self._rounds = 1

    def first(self) -> Row | None:
        """Look at the next job."""
        rows = self._rows
        while True:
            while rows:
                row = rows[0]
                if self._barred and row[KEY] in self._barred:
                    rows.popleft()
                elif not row[EXPIRED]:
                    return row
                elif not self._pass_expired():
                    return None
            if self._rank is None:
                return None
            self._write()
            self._read(self._rank)
            if not rows:
                self._next_rank(self._rank)

    def _read(self, rank: int) -> None:
        """Read the next lines, and of each as many jobs as there are rounds to be expected; in order of their turns."""
        rounds = self._rounds
        page = (*self._where, rank, self._turn, self._page, self._tx.now, self._count_to)
        self._came, self._barred, self._stuck = {}, set(), {}
        if rounds == 1:
            rows = self._tx.execute(_WALK_LINES, page).fetchall()
            self._behind = None
            lines = len(rows)
            last = rows[-1][TURN] if rows else 0
        else:
            rows = self._tx.execute(_SQL["walk_rounds"], (*page, rounds + 1)).fetchall()
            rows.sort(key=lambda row: (row[TURN], row[SEQ]))
            by_line = [list(some) for _, some in groupby(rows, key=lambda row: row[TURN])]
            self._behind = {row[JOB]: behind[JOB] for some in by_line for row, behind in pairwise(some)}
            lines = len(by_line)
            last = rows[-1][TURN] if rows else 0
            if lines == self._page:
                rounds = 1  # there are more lines, whose turns come before the second round
            rows = [some[number] for number in range(rounds) for some in by_line if number < len(some)]
        if lines:
            self._turn = last
            # What is expired is looked for line by line.
            self._rounds = max(1, self._page // lines) if self._detour is None else 1
        self._rows.extend(rows)

    def _pass_expired(self) -> bool:
        """Put the first job that is not expired in the place of the first; say whether the claim may go on."""
        first = row = self._rows.popleft()
        assert self._detour is not None
        while row[EXPIRED]:
            if not self._detour.pass_over():
                return False
            found = self._tx.execute(
                _SQL["walk_line"], (*self._where, first[KEY], first[RANK], row[SEQ], self._tx.now)
            ).fetchone()
            if found is None:
                return True
            row = found
        self._stuck[first[KEY]] = first
        self._rows.appendleft((*row[:TURN], *first[TURN:BEHIND], row[BEHIND]))
        return True

    def place(self, row: Row) -> tuple[int, int]:
        """Where the first job stands: (rank, turn)."""
        key = row[KEY]
        return row[RANK], self._came[key] if key in self._came else row[TURN]

    def take(self) -> None:
        """The first job is taken, and its line goes behind all others."""
        row = self._rows.popleft()
        behind = row[BEHIND] if self._behind is None else self._behind.get(row[JOB])
        if self._turns:
            self._turns.pop(row[JOB], None)
        if self._stuck and row[KEY] in self._stuck:
            behind = self._stuck[row[KEY]][JOB]
        if behind is not None:
            self._turns[behind] = self._came[row[KEY]] = self._tx.sequences(1)

    def bar(self, until: Instant | None) -> None:
        """Pass over the first job's line, whose key is at its limit, and keep it out of the rotation."""
        row = self._rows.popleft()
        key = row[KEY]
        first = self._stuck.get(key, row)
        turn: int | None = self._came.get(key, row[TURN])
        if turn == first[SEQ]:
            turn = None
        self._turns.pop(first[JOB], None)
        self._bars.append(
            (first[JOB], *self._where, key, self._rank, turn, self._tx.now, self._tx.limits_version, until)
        )
        self._barred.add(key)

    def write_lines(self) -> None:
        """Write whose turn has ended and who was barred."""
        turns: list[tuple[int, int | None]] = list(self._turns.items())
        if self._bars:
            turns += [(bar[0], None) for bar in self._bars]
            self._tx.db.executemany(_SQL["bar_line"], [bar[1:] for bar in self._bars])
            self._bars = []
        if turns:
            _END_TURNS.run(self._tx.db, turns)
            self._turns = {}
