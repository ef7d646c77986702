"""Lanes and tasks as the small integers that stand in the jobs' rows."""

from __future__ import annotations

import sqlite3

from windlass.store.statements import statements

_SQL = statements("sqlite")
LaneName = tuple[str, str]
"""(queue, requires)."""


class Names:
    """What is known of the ``lanes`` and ``tasks`` tables. Numbers and names never change, so that what was committed
    once may be remembered for ever; after a rollback `forget` drops what may never have been."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self.lanes: dict[LaneName, int] = {}
        """Numbers of the lanes known so far; `lane` and `find_lane` look further."""
        self.tasks: dict[str, int] = {}
        self.lane_of: dict[int, LaneName] = {}
        """Names of the lanes known so far, by number; `lane_name` looks further."""
        self.task_of: dict[int, str] = {}

    def forget(self) -> None:
        """Drop everything."""
        for known in (self.lanes, self.tasks, self.lane_of, self.task_of):
            known.clear()

    def find_lane(self, queue: str, requires: str) -> int | None:
        """Return the number of a lane, if it has one."""
        known = self.lanes.get((queue, requires))
        if known is None:
            row = self._db.execute(_SQL["find_lane"], (queue, requires)).fetchone()
            if row is not None:
                known = self._learn_lane(row[0], (queue, requires))
        return known

    def lane(self, queue: str, requires: str) -> int:
        """Return the number of a lane, giving it one if need be."""
        found = self.find_lane(queue, requires)
        if found is None:
            number = self._db.execute(_SQL["add_lane"], (queue, requires)).lastrowid
            assert number is not None
            found = self._learn_lane(number, (queue, requires))
        return found

    def lane_name(self, number: int) -> LaneName:
        """Return (queue, requires) of a lane; something that is no name where somebody wrote a number that has none."""
        if number not in self.lane_of:
            row = self._db.execute(_SQL["read_lane"], (number,)).fetchone()
            if row is None:
                return f"?{number}", ""
            self._learn_lane(number, (row[0], row[1]))
        return self.lane_of[number]

    def lanes_of_queue(self, queue: str) -> list[int]:
        """Return the numbers of all lanes of a queue."""
        return [row[0] for row in self._db.execute(_SQL["lanes_of_queue"], (queue,))]

    def find_task(self, name: str) -> int | None:
        """Return the number of a task, if it has one."""
        known = self.tasks.get(name)
        if known is None:
            row = self._db.execute(_SQL["find_task"], (name,)).fetchone()
            if row is not None:
                known = self._learn_task(row[0], name)
        return known

    def task(self, name: str) -> int:
        """Return the number of a task, giving it one if need be."""
        found = self.find_task(name)
        if found is None:
            number = self._db.execute(_SQL["add_task"], (name,)).lastrowid
            assert number is not None
            found = self._learn_task(number, name)
        return found

    def task_name(self, number: int) -> str:
        """Return the name of a task; something that is no name where somebody wrote a number that has none."""
        if number not in self.task_of:
            row = self._db.execute(_SQL["read_task"], (number,)).fetchone()
            if row is None:
                return f"?{number}"
            self._learn_task(number, row[0])
        return self.task_of[number]

    def _learn_lane(self, number: int, name: LaneName) -> int:
        self.lanes[name] = number
        self.lane_of[number] = name
        return number

    def _learn_task(self, number: int, name: str) -> int:
        self.tasks[name] = number
        self.task_of[number] = name
        return number
