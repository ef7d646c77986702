"""One claim's way through a lane in which not all jobs are alike: some have limit keys, or limits touch them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterator

from windlass.core.clock import Instant
from windlass.store.sqlite.rotation import JOB, RANK, SEQ, TASK, Rotation, Row
from windlass.store.sqlite.rows import RowStatement
from windlass.store.sqlite.transaction import Transaction
from windlass.store.statements import statements

_SQL = statements("sqlite")
_CLAIM_SOME, _STAND_ASIDE = RowStatement(_SQL["claim_some"]), RowStatement(_SQL["stand_aside"])
_NEXT_TASK = _SQL["next_task_aside"]
_PAGE = 100
_MOST_ASIDE = 2000
"""Jobs that one claim puts aside because of their task's limit; the next goes on from there."""
_MOST_REOPENED = 1000


def any_aside(tx: Transaction, lane: int) -> bool:
    """Whether jobs of the lane stand aside from its main line."""
    return tx.execute(_NEXT_TASK, (lane, 0)).fetchone()[0] is not None


class _Pages:
    """Jobs in order, read page after page: each behind the last job of the one before."""

    def __init__(self, read: Callable[[int, int], list[Row]]) -> None:
        self._read = read
        self._rows: deque[Row] = deque()
        self._behind = (-1, 0)
        self.exhausted = False
        """Nothing comes behind what was read."""

    def first(self) -> Row | None:
        """Look at the first job."""
        if not self._rows and not self.exhausted:
            rows = self._read(*self._behind)
            self._rows.extend(rows)
            self.exhausted = len(rows) < _PAGE
        return self._rows[0] if self._rows else None

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
    """

    def __init__(self, tx: Transaction, lane: int, request: tuple[bytes, int], count_to: int) -> None:
        self._tx = tx
        self._lane = lane
        self._request = request
        self._keys_next = request[1] % 2 == 1
        self._tie = False
        self._chosen: _Pages | Rotation | None = None
        self._only: Rotation | None = None
        self._taken: list[tuple[int]] = []
        self._aside: list[tuple[int]] = []
        self._left_out: set[int] = set()
        self.more = _reopen(tx)
        """There is more to do than one claim may: ask again."""
        tasks = list(self._tasks_aside())
        self._main = _Pages(self._reader("walk_main", lane))
        self._plain = {task: _Pages(self._reader("walk_aside", lane, task)) for task in tasks}
        self._rotations = {task: Rotation(tx, lane, task, count_to, self.write) for task in tasks}

    def _tasks_aside(self) -> Iterator[int]:
        task = 0
        while (task := self._tx.execute(_NEXT_TASK, (self._lane, task)).fetchone()[0]) is not None:
            yield task

    def _reader(self, statement: str, *where: int) -> Callable[[int, int], list[Row]]:
        sql = _SQL[statement]
        return lambda rank, seq: self._tx.execute(sql, (*where, rank, seq, self._tx.now, _PAGE)).fetchall()

    # ------------------------------------------------------------------------------------------------ looking

    def first(self) -> Row | None:
        """Look at the next job."""
        if self._only is not None:
            return self._only.first()
        plain, keyed = self._first_plain(), _first_of(self._rotations.values())
        if plain is None and not self._plain and len(self._rotations) == 1:
            # Nothing else will come: no need to look again each time.
            self._only = self._chosen = next(iter(self._rotations.values()))
        if plain is None or keyed is None:
            self._tie = False
            chosen = plain or keyed
        else:
            by_rank = plain[1][RANK] - keyed[1][RANK]
            self._tie = by_rank == 0
            chosen = keyed if by_rank > 0 or (self._tie and self._keys_next) else plain
        if chosen is None:
            return None
        self._chosen = chosen[0]
        return chosen[1]

    def _first_plain(self) -> tuple[_Pages | Rotation, Row] | None:
        main = self._main
        while (row := main.first()) is not None and row[TASK] in self._left_out:
            self._aside.append((row[JOB],))
            main.take()
            if len(self._aside) >= _MOST_ASIDE:
                main.exhausted = self.more = True
        for task in [task for task, pages in self._plain.items() if pages.first() is None]:
            del self._plain[task]
        return _first_of((main, *self._plain.values()))

    # -------------------------------------------------------------------------------------------------- going on

    def take(self, row: Row) -> None:
        """Take the job that was looked at, and go on to the next."""
        assert self._chosen is not None
        if self._tie:
            self._keys_next = not self._keys_next
        self._taken.append((row[JOB],))
        self._chosen.take()

    def bar(self, until: Instant | None) -> None:
        """Pass over the line of the job that was looked at, whose key is at its limit: out of the rotation with it."""
        assert isinstance(self._chosen, Rotation)
        self._chosen.bar(until)

    def leave_out(self, task: int) -> None:
        """Pass over all jobs of a task, which is at its limit."""
        self._left_out.add(task)
        self._plain.pop(task, None)
        self._only = None
        rotation = self._rotations.pop(task, None)
        if rotation is not None:
            self._write_jobs()
            rotation.write_lines()

    def write(self) -> None:
        """Write what was taken, whose turn has ended, what was barred and what was put aside."""
        self._write_jobs()
        for rotation in self._rotations.values():
            rotation.write_lines()

    def _write_jobs(self) -> None:
        _CLAIM_SOME.run(self._tx.db, self._taken, (*self._request, self._tx.now))
        _STAND_ASIDE.run(self._tx.db, self._aside)
        self._taken, self._aside = [], []

    def first_bar_to_end(self) -> Instant | None:
        """When the first of the lane's barred lines may go on, as far as that is known."""
        until: Instant | None = self._tx.execute(_SQL["first_bar_to_end"], (self._lane,)).fetchone()[0]
        return until


def _first_of(choice: Collection[_Pages | Rotation]) -> tuple[_Pages | Rotation, Row] | None:
    """The first of the first jobs, and where it comes from."""
    found = [(one, row) for one in choice if (row := one.first()) is not None]
    return min(found, key=lambda pair: pair[0].place(pair[1])) if len(found) > 1 else found[0] if found else None


def _reopen(tx: Transaction) -> bool:
    """Put barred lines into the rotation again where that may have changed; say whether there may be more of them."""
    lines = tx.execute(_SQL["lines_to_reopen"], (tx.now, tx.limits_version, _MOST_REOPENED)).fetchall()
    if lines:
        tx.db.executemany(_SQL["reopen_line"], lines)
    return len(lines) == _MOST_REOPENED
