"""What the database itself says of who ran when: triggers write down each start and end of a job and each change of a
limit, in the transactions in which they happen, so that no crash comes between a fact and its note."""

import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from tests.system.audit import Mark
from windlass.core.lifecycle import State
from windlass.core.records import LimitScope

_TRIGGERS = f"""
    CREATE TABLE turnstile (
        n INTEGER PRIMARY KEY, what TEXT NOT NULL, queue TEXT, key TEXT, scope INTEGER, name TEXT, most INTEGER
    );
    CREATE TRIGGER turnstile_start AFTER UPDATE OF state ON jobs
    WHEN NEW.state = {State.RUNNING:d} AND OLD.state <> {State.RUNNING:d} BEGIN
        INSERT INTO turnstile (what, queue, key)
        VALUES ('start', (SELECT queue FROM lanes WHERE n = NEW.lane), NEW.limit_key);
    END;
    CREATE TRIGGER turnstile_end AFTER UPDATE OF state ON jobs
    WHEN NEW.state <> {State.RUNNING:d} AND OLD.state = {State.RUNNING:d} BEGIN
        INSERT INTO turnstile (what, queue, key)
        VALUES ('end', (SELECT queue FROM lanes WHERE n = NEW.lane), NEW.limit_key);
    END;
    CREATE TRIGGER turnstile_limit AFTER INSERT ON limits BEGIN
        INSERT INTO turnstile (what, scope, name, most) VALUES ('limit', NEW.scope, NEW.name, NEW.concurrency);
    END;
    CREATE TRIGGER turnstile_change AFTER UPDATE ON limits BEGIN
        INSERT INTO turnstile (what, scope, name, most) VALUES ('limit', NEW.scope, NEW.name, NEW.concurrency);
    END;
    CREATE TRIGGER turnstile_removal AFTER DELETE ON limits BEGIN
        INSERT INTO turnstile (what, scope, name) VALUES ('limit', OLD.scope, OLD.name);
    END;
"""


class Passage(NamedTuple):
    """A job that started or ended, or a limit that changed."""

    what: str
    queue: str | None
    key: str | None
    scope: int | None
    name: str | None
    most: int | None


def put_up(path: Path) -> None:
    """Have the database write down what happens from now on."""
    with closing(sqlite3.connect(path, timeout=10)) as db:
        db.executescript(_TRIGGERS)


def passages(path: Path) -> list[Passage]:
    """What has happened, in its order."""
    with closing(sqlite3.connect(path, timeout=10)) as db:
        rows = db.execute("SELECT what, queue, key, scope, name, most FROM turnstile ORDER BY n").fetchall()
    return [Passage(*row) for row in rows]


def findings(passages: Sequence[Passage]) -> Iterator[str]:
    """Say which jobs started beyond a limit in force at that moment. A dead worker's jobs run until they are reaped."""
    running: Counter[tuple[LimitScope, str]] = Counter()
    limits: dict[tuple[LimitScope, str], int | None] = {}
    for number, one in enumerate(passages):
        if one.what == "limit":
            limits[LimitScope(one.scope), str(one.name)] = one.most
            continue
        counted = [(LimitScope.QUEUE, str(one.queue))] + ([(LimitScope.KEY, one.key)] if one.key else [])
        for scope, name in counted:
            running[scope, name] += 1 if one.what == "start" else -1
            most = limits.get((scope, name))
            if most is None and scope is LimitScope.KEY:
                most = limits.get((scope, name.partition(":")[0]))
            if one.what == "start" and most is not None and running[scope, name] > most:
                yield f"passage {number}: {running[scope, name]} run of {scope.name.lower()} {name}, limited to {most}"


def most_at_once(marks: Sequence[Mark], names: dict[bytes, str]) -> Counter[str]:
    """How many were really executed at once, at most, of each name that jobs have. An execution ends where it says so,
    or with the process that a mark says was killed."""
    open_: dict[tuple[bytes, int, int], str] = {}
    most: Counter[str] = Counter()
    for mark in marks:
        if mark.what == "start":
            open_[mark.job, mark.attempt, mark.pid] = names[mark.job]
            most |= Counter(open_.values())
        elif mark.what == "end":
            del open_[mark.job, mark.attempt, mark.pid]
        else:
            open_ = {execution: name for execution, name in open_.items() if execution[2] != mark.pid}
    return most
