"""One claim's way through a lane in which not all jobs are alike: some have limit keys, or limits touch them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence

from windlass.core.clock import Instant
from windlass.store.sqlite.rotation import EXPIRED, JOB, RANK, SEQ, TASK, Detour, Reading, Rotation, Row
from windlass.store.sqlite.rows import RowStatement
from windlass.store.sqlite.transaction import Transaction
from windlass.store.statements import statements

_SQL = statements("sqlite")
_CLAIM_SOME, _STAND_ASIDE = RowStatement(_SQL["claim_some"]), RowStatement(_SQL["stand_aside"])
_NEXT_TASK, _ANY_EXPIRED = _SQL["next_task_aside"], _SQL["any_expired"]
_PAGE, _SMALL_PAGE = 100, 10
"""Rows read in one go: some more than a claim may take, since what is read may not be what is taken."""
_MOST_PASSED = 2000
"""Jobs that one claim passes over, because they are expired, or puts aside because of their task's limit."""
_MOST_REOPENED = 1000


def any_aside(tx: Transaction, lane: int) -> bool:
    """Whether jobs of the lane stand aside from its main line."""
    return tx.execute(_NEXT_TASK, (lane, 0)).fetchone()[0] is not None


def any_expired(tx: Transaction) -> bool:
    """Whether jobs of any lane are expired. They are the janitors' to cancel: they are told."""
    if tx.execute(_ANY_EXPIRED, (tx.now,)).fetchone() is None:
        return False
    tx.hints.scheduled(tx.now)
    return True


class _Pages:
    """Jobs in order, read page after page: each behind the last job of the one before."""

    def __init__(self, read: Callable[[int, int], list[Row]], reading: Reading, task: int = 0) -> None:
        self.task = task
        self._read = read
        self._page, self._detour = reading.page, reading.detour
        self._rows: deque[Row] = deque()
        self._behind = (-1, 0)
        self._exhausted = False
        """Nothing comes behind what was read."""

    def first(self) -> Row | None:
        """Look at the first job that is not expired."""
        while True:
            if not self._rows and not self._exhausted:
                rows = self._read(*self._behind)
                self._rows.extend(rows)
                self._exhausted = len(rows) < self._page
            if not self._rows:
                return None
            row = self._rows[0]
            if not row[EXPIRED]:
                return row
            assert self._detour is not None
            if not self._detour.pass_over():
                return None
            self.take()

    def place(self, row: Row) -> tuple[int, int]:
        """Where a job stands: (rank, sequence)."""
        return row[RANK], row[SEQ]

    def take(self) -> None:
        """Go on to the next job."""
        self._behind = self.place(self._rows.popleft())


class Walk:
    """Gives jobs by rank (9 - priority) and, within one, jobs without a limit key and lines of limit keys by turns.

    What a claim does on the way is written by `write`, many rows at a time.

    Args:
        tx: the transaction.
        lane: number of the lane.
        request: session and number of the claim.
        count_to: how many running jobs of a limit key matter at most.
        most: how many jobs the claim may take.
    """

    def __init__(self, tx: Transaction, lane: int, request: tuple[bytes, int], count_to: int, most: int) -> None:
        self._tx = tx
        self._lane = lane
        self._request = request
        self._keys_next: bool | None = None
        """Whether a line is next where there is a choice; not known before there is one."""
        self._tie = False
        self._tied = 0
        self._chosen: _Pages | Rotation | None = None
        self._taken: list[tuple[int]] = []
        self._aside: list[tuple[int]] = []
        self._left_out: set[int] = set()
        self._may_reopen = _reopen(tx)
        self._detour = Detour(_MOST_PASSED)
        self._page = min(_PAGE, max(_SMALL_PAGE, most))
        reading = Reading(self._page, count_to, self._detour if any_expired(tx) else None)
        tasks = list(self._tasks_aside())
        self._main = _Pages(self._reader("walk_main", lane), reading)
        self._plain = [_Pages(self._reader("walk_aside", lane, task), reading, task) for task in tasks]
        self._rotations = [Rotation(tx, lane, task, reading, self.write) for task in tasks]
        self._first_plain: tuple[_Pages | Rotation, Row] | None = None
        self._knows_plain = False

    def _tasks_aside(self) -> Iterator[int]:
        task = 0
        while (task := self._tx.execute(_NEXT_TASK, (self._lane, task)).fetchone()[0]) is not None:
            yield task

    def _reader(self, statement: str, *where: int) -> Callable[[int, int], list[Row]]:
        sql = _SQL[statement]
        return lambda rank, seq: self._tx.execute(sql, (*where, rank, seq, self._tx.now, self._page)).fetchall()

    @property
    def more(self) -> bool:
        """There is more to do than one claim may: ask again."""
        return self._detour.is_over or self._may_reopen

    # ------------------------------------------------------------------------------------------------ looking

    def first(self) -> Row | None:
        """Look at the next job."""
        if not self._knows_plain:
            self._first_plain, self._knows_plain = self._find_plain(), True
        plain, keyed = self._first_plain, _first_of(self._rotations)
        if self._detour.is_over:
            return None  # what stands behind might come before what was read elsewhere
        if plain is None or keyed is None:
            self._tie = False
            chosen = plain or keyed
        else:
            by_rank = plain[1][RANK] - keyed[1][RANK]
            self._tie = by_rank == 0
            chosen = keyed if by_rank > 0 or (self._tie and self._is_a_lines_turn()) else plain
        if chosen is None:
            return None
        self._chosen = chosen[0]
        return chosen[1]

    def _is_a_lines_turn(self) -> bool:
        if self._keys_next is None:
            self._keys_next = not self._tx.execute(_SQL["read_turn"], (self._lane,)).fetchone()[0]
        return self._keys_next

    def _find_plain(self) -> tuple[_Pages | Rotation, Row] | None:
        main = self._main
        while (row := main.first()) is not None and row[TASK] in self._left_out:
            if not self._detour.pass_over():
                return None
            self._aside.append((row[JOB],))
            main.take()
        return _first_of([main, *self._plain])

    # -------------------------------------------------------------------------------------------------- going on

    def take(self, row: Row) -> None:
        """Take the job that was looked at, and go on to the next."""
        assert self._chosen is not None
        if self._tie:
            self._keys_next = not self._keys_next
            self._tied += 1
        self._taken.append((row[JOB],))
        self._chosen.take()
        if not isinstance(self._chosen, Rotation):
            self._knows_plain = False

    def bar(self, until: Instant | None) -> None:
        """Pass over the line of the job that was looked at, whose key is at its limit: out of the rotation with it."""
        assert isinstance(self._chosen, Rotation)
        self._chosen.bar(until)

    def leave_out(self, task: int) -> None:
        """Pass over all jobs of a task, which is at its limit."""
        self.write()
        self._left_out.add(task)
        self._plain = [pages for pages in self._plain if pages.task != task]
        self._rotations = [rotation for rotation in self._rotations if rotation.task != task]
        self._knows_plain = False

    def write(self) -> None:
        """Write what was taken, whose turn has ended, what was barred and what was put aside."""
        _CLAIM_SOME.run(self._tx.db, self._taken, (*self._request, self._tx.now))
        _STAND_ASIDE.run(self._tx.db, self._aside)
        self._taken, self._aside = [], []
        for rotation in self._rotations:
            rotation.write_lines()

    def close(self) -> None:
        """Write what is still to be written, and whose turn it is next."""
        self.write()
        if self._tied % 2:
            self._tx.execute(_SQL["keep_turn"], (not self._keys_next, self._lane))

    def first_bar_to_end(self) -> Instant | None:
        """When the first of the lane's barred lines may go on, as far as that is known."""
        until: Instant | None = self._tx.execute(_SQL["first_bar_to_end"], (self._lane,)).fetchone()[0]
        return until


def _first_of(choice: Sequence[_Pages | Rotation]) -> tuple[_Pages | Rotation, Row] | None:
    """The first of the first jobs, and where it comes from."""
    if len(choice) == 1:
        row = choice[0].first()
        return None if row is None else (choice[0], row)
    found = [(one, row) for one in choice if (row := one.first()) is not None]
    return min(found, key=lambda pair: pair[0].place(pair[1]), default=None)


def _reopen(tx: Transaction) -> bool:
    """Put barred lines into the rotation again where that may have changed; say whether there may be more of them."""
    lines = tx.execute(_SQL["bars_to_lift"], (tx.now, tx.limits_version, _MOST_REOPENED)).fetchall()
    if lines:
        # One may be there twice, for two reasons.
        tx.db.executemany(_SQL["reopen_line"], lines)
        tx.db.executemany(_SQL["lift_bar"], [line[1:] for line in lines])
    return len(lines) == _MOST_REOPENED
