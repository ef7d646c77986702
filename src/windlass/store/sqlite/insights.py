"""Reading: what people, dashboards and waiting callers ask for."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

from windlass.core.clock import Instant, Span
from windlass.core.graph import EdgePolicy
from windlass.core.lifecycle import State
from windlass.core.model import MAX_PRIORITY
from windlass.core.records import (
    MAX_LOOK,
    Backlog,
    JobFilter,
    JobPage,
    JobRecord,
    JobResult,
    LaneRecord,
    Limit,
    LimitScope,
    ParentRecord,
    QueueRecord,
    Reason,
    SessionRecord,
)
from windlass.core.remote import is_named
from windlass.store.sqlite.limits import limit_of
from windlass.store.sqlite.names import Names
from windlass.store.sqlite.sessions import SESSION_DECODER
from windlass.store.statements import statements

_SQL = statements("sqlite")
_N = 29
"""Where the row number stands in the rows of jobs."""


class _Walk(NamedTuple):
    """A direction along the ids. Those have 16 bytes: `start` comes before them all, `end` after them."""

    statement: str
    end_of_look: str
    start: bytes
    end: bytes


_BACK = _Walk("list_newest_first", "end_of_look_back", b"\xff" * 17, b"")
_FORTH = _Walk("list_oldest_first", "end_of_look_forth", b"", b"\xff" * 17)


class Snapshot:
    """One read: a connection inside a read transaction, so that all statements see the same moment."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self.db = db
        self.names = Names(db)

    def get_jobs(self, ids: Sequence[bytes]) -> list[JobRecord | None]:
        """See `Insights.get_jobs`."""
        found: list[JobRecord | None] = []
        for job_id in ids:
            row = self.db.execute(_SQL["read_job"], (job_id,)).fetchone()
            errors = () if row is None else self.db.execute(_SQL["read_errors"], (row[_N],)).fetchall()
            found.append(None if row is None else self._record(row, [error for (error,) in errors]))
        return found

    def results(self, ids: Sequence[bytes]) -> list[JobResult | None]:
        """See `Insights.results`."""
        found: list[JobResult | None] = []
        for job_id in ids:
            row = self.db.execute(_SQL["read_result"], (job_id,)).fetchone()
            found.append(None if row is None else JobResult(row[0], State(row[1]), Reason(row[2]), row[3], row[4]))
        return found

    def list_jobs(self, filter: JobFilter, limit: int, cursor: bytes | None, *, oldest_first: bool) -> JobPage:
        """See `Insights.list_jobs`."""
        walk = _FORTH if oldest_first else _BACK
        start = walk.start if cursor is None else cursor
        end = self.db.execute(_SQL[walk.end_of_look], (start, MAX_LOOK - 1)).fetchone()
        conditions, values = self._conditions(filter)
        statement = _SQL[walk.statement].replace("/* filter */", conditions)
        # What the statement cannot judge may leave fewer than were asked for.
        most = -1 if filter.error is not None else limit + 1
        rows = self.db.execute(statement, (start, end[0] if end else walk.end, *values, most))
        jobs: list[JobRecord] = []
        for row in rows:
            if filter.error is not None and not self._failed_with(row[_N], filter.error):
                continue
            if len(jobs) == limit:
                return JobPage(jobs, jobs[-1].id)
            jobs.append(self._record(row, []))
        return JobPage(jobs, end[0] if end else None)

    def _failed_with(self, n: int, name: str) -> bool:
        row = self.db.execute(_SQL["last_error"], (n,)).fetchone()
        return row is not None and is_named(row[0], name)

    def _conditions(self, filter: JobFilter) -> tuple[str, list[Any]]:
        conditions: list[str] = []
        values: list[Any] = []
        if filter.states is not None:
            conditions.append(_is_one_of("state", len(filter.states)))
            values += filter.states
        if filter.queue is not None:
            lanes = self.names.lanes_of_queue(filter.queue)
            conditions.append(_is_one_of("lane", len(lanes)))
            values += lanes
        if filter.task is not None:
            conditions.append("AND task = ?")
            # No task has a negative number: one that is not known matches nothing.
            task = self.names.find_task(filter.task)
            values.append(-1 if task is None else task)
        for condition, bound in (("<", filter.enqueued_before), (">=", filter.enqueued_from)):
            if bound is not None:
                conditions.append(f"AND enqueued_at {condition} ?")
                values.append(bound)
        return " ".join(conditions), values

    def _record(self, row: tuple[Any, ...], errors: list[bytes]) -> JobRecord:
        queue, requires = self.names.lane_name(row[1])
        return JobRecord(
            id=row[0],
            task=self.names.task_name(row[2]),
            queue=queue,
            requires=requires,
            priority=MAX_PRIORITY - row[5],
            state=State(row[3]),
            reason=Reason(row[4]),
            payload=row[24],
            options=row[23],
            result=row[25],
            errors=errors,
            token=row[7],
            attempt=row[9],
            failures=row[10],
            losses=row[11],
            snoozes=row[12],
            suspect=bool(row[13]),
            cancel_requested=bool(row[14]),
            unique_key=row[21],
            limit_key=row[22],
            session=row[8],
            enqueued_at=row[15],
            due_at=row[16],
            expires_at=row[17],
            started_at=row[18],
            finished_at=row[19],
            purge_at=row[20],
            sequence=row[6],
            undeliverable_since=row[31],
            parents_open=row[30],
            progress=row[26],
            message=row[27],
            log=row[28] or "",
        )

    def counts(self) -> dict[tuple[str, int], int]:
        """See `Insights.counts`."""
        return {(queue, state): count for queue, state, count in self.db.execute(_SQL["count_jobs"]).fetchall()}

    def queues(self) -> list[QueueRecord]:
        """See `Insights.queues`."""
        counts: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
        oldest: dict[str, int] = {}
        for word in ("waiting", "scheduled", "ready", "suspects", "running"):
            for lane, count, *first in self.db.execute(_SQL[f"count_{word}"]).fetchall():
                queue, _ = self.names.lane_name(lane)
                counts[queue][word] += count
                if word == "suspects":
                    counts[queue]["ready"] += count
                for n in first:
                    oldest[queue] = min(n, oldest.get(queue, n))
        limits = {limit.name: limit for limit in self.limits(LimitScope.QUEUE)}
        return [
            QueueRecord(
                name=name,
                limit=limits.get(name),
                oldest_ready_at=self._enqueued_at(oldest.get(name)),
                **counts.get(name, {}),
            )
            for name in sorted({*counts, *limits})
        ]

    def _enqueued_at(self, n: int | None) -> Instant | None:
        return None if n is None else self.db.execute(_SQL["enqueued_at"], (n,)).fetchone()[0]

    def backlog(self, limit: int) -> Backlog:
        """See `Insights.backlog`."""
        ready: dict[int, int] = defaultdict(int)
        suspects: dict[int, int] = {}
        for lane, count, _ in self.db.execute(_SQL["count_ready"]).fetchall():
            ready[lane] += count
        for lane, count, _ in self.db.execute(_SQL["count_suspects"]).fetchall():
            ready[lane] += count
            suspects[lane] = count
        lanes = sorted((self.names.lane_name(lane), lane) for lane in ready)
        return Backlog(
            lanes=[
                LaneRecord(
                    queue=queue,
                    requires=requires,
                    ready=ready[lane],
                    suspects=suspects.get(lane, 0),
                    first=self._listed(self._first_of(lane, limit)),
                )
                for (queue, requires), lane in lanes[:limit]
            ],
            scheduled=self._listed(self._numbers("first_scheduled", limit)),
            last_scheduled=next(iter(self._listed(self._numbers("last_scheduled"))), None),
            waiting=self._listed(self._numbers("first_waiting", limit)),
        )

    def lanes(self, queues: Sequence[str]) -> list[tuple[str, str]]:
        """See `Insights.lanes`: all that there ever were."""
        found = (self.db.execute(_SQL["requirements_in"], (queue,)).fetchall() for queue in sorted(set(queues)))
        return [(queue, requires) for rows in found for queue, requires in rows]

    def _first_of(self, lane: int, limit: int) -> list[int]:
        """Some ready jobs: of the main line, of each limit key, of tasks that stand aside for a limit, and suspects."""
        found = self._numbers("first_in_main_line", lane, limit)
        found += self._numbers("first_of_lines", lane, limit)
        task = -1
        while len(found) < limit and (task := self._numbers("first_task_aside", lane, task)[0]) is not None:
            found += self._numbers("first_aside", lane, task, limit - len(found))
        found = found[:limit]
        return found + self._numbers("first_suspects", lane, limit - len(found))

    def _numbers(self, statement: str, *values: int) -> list[int]:
        return [n for (n,) in self.db.execute(_SQL[statement], values).fetchall()]

    def _listed(self, numbers: Sequence[int]) -> list[JobRecord]:
        rows = (self.db.execute(_SQL["listed_job"], (n,)).fetchone() for n in numbers)
        return [self._record(row, []) for row in rows if row is not None]

    def open_parents(self, id: bytes, limit: int) -> list[ParentRecord]:
        """See `Insights.open_parents`."""
        found: list[ParentRecord] = []
        for policy in EdgePolicy:
            rows = self.db.execute(_SQL["parents_waited_for"], (id, policy, limit - len(found))).fetchall()
            found += [
                ParentRecord(id=parent, policy=policy, state=None if state is None else State(state))
                for parent, _, state in rows
            ]
        return found

    def rate_waits(self, names: Sequence[tuple[LimitScope, str]], now: Instant) -> list[Span]:
        """See `Insights.rate_waits`."""
        limits = {(limit.scope, limit.name): limit for limit in self.limits(None)}
        return [self._rate_wait(limits, counted, now) for counted in names]

    def _rate_wait(
        self, limits: dict[tuple[LimitScope, str], Limit], counted: tuple[LimitScope, str], now: Instant
    ) -> Span:
        scope, name = counted
        limit = limits.get(counted)
        if limit is None and scope is LimitScope.KEY:
            limit = limits.get((scope, name.partition(":")[0]))
        bucket = self.db.execute(_SQL["read_bucket"], counted).fetchone()
        if limit is None or limit.rate is None or bucket is None:
            return 0
        debt, at = bucket
        return limit.rate.wait(debt, now - at)

    def limits(self, scope: LimitScope | None) -> list[Limit]:
        """See `Insights.limits`."""
        limits = [limit_of(row) for row in self.db.execute(_SQL["read_limits"]).fetchall()]
        return [limit for limit in limits if scope is None or limit.scope is scope]

    def running(self) -> dict[tuple[LimitScope, str], int]:
        """See `Insights.running`."""
        counts: dict[tuple[LimitScope, str], int] = defaultdict(int)
        for lane, task, count in self.db.execute(_SQL["running_counts"]).fetchall():
            counts[LimitScope.QUEUE, self.names.lane_name(lane)[0]] += count
            counts[LimitScope.TASK, self.names.task_name(task)] += count
        for key, count in self.db.execute(_SQL["running_of_keys"]).fetchall():
            counts[LimitScope.KEY, key] = count
        return dict(counts)

    def sessions(self) -> list[SessionRecord]:
        """See `Insights.sessions`."""
        return [
            SessionRecord(
                session=SESSION_DECODER.decode(record),
                opened_at=opened_at,
                lease_until=lease_until,
                renewals=renewals,
                revoked=bool(revoked),
                running=running,
                commands=[command for (command,) in self.db.execute(_SQL["session_commands"], (key,)).fetchall()],
            )
            for record, opened_at, lease_until, renewals, revoked, key, running in self.db.execute(
                _SQL["list_sessions"]
            ).fetchall()
        ]


def _is_one_of(column: str, count: int) -> str:
    return f"AND {column} IN ({', '.join('?' * count)})"
