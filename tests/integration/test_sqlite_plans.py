"""How SQLite finds rows: by the index meant for it, however many there are, and whatever its statistics say."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from windlass.core.graph import EdgePolicy
from windlass.core.lifecycle import Outcome, State
from windlass.store.sqlite.connection import open_connection
from windlass.store.sqlite.rows import RowStatement
from windlass.store.sqlite.schema import prepare, split
from windlass.store.statements import migrations, statements

SQL = statements("sqlite")
JOBS = 30_000

FILL = f"""
    INSERT INTO jobs (n, id, lane, task, state, rank, seq, session, request, enqueued_at, due_at, expires_at, purge_at,
        linked, payload)
    WITH RECURSIVE some (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM some WHERE i < {JOBS})
    SELECT i, randomblob(16), 1 + i % 2, 1, i % 7, 4, i, CASE WHEN i % 7 = 3 THEN x'0{{}}' END, 1, i,
        CASE WHEN i % 7 = 1 THEN i END, i, CASE WHEN i % 7 > 3 THEN i END, 1, x'7b7d' FROM some
"""

PLANS = {
    "first_ready": ["SEARCH jobs USING INDEX jobs_ready (lane=?)"],
    "any_expired": ["jobs_expiry (expires_at>? AND expires_at<?)"],
    "claim_first": ["SEARCH jobs USING INDEX jobs_ready (lane=? AND (rank,seq)<(?,?))"],
    "walk_main": ["SEARCH jobs USING INDEX jobs_ready (lane=? AND (rank,seq)>(?,?))"],
    "walk_aside": ["jobs_aside (lane=? AND task=? AND limit_key=? AND (rank,seq)>(?,?))"],
    "walk_lines": [
        "SEARCH j USING INDEX jobs_turn (lane=? AND task=? AND rank=? AND turn>?)",
        "SEARCH jobs USING COVERING INDEX jobs_held_key (limit_key=? AND state=?)",
        "jobs_aside (lane=? AND task=? AND limit_key=? AND rank=? AND seq>?)",
    ],
    "walk_rounds": [
        "SEARCH jobs USING INDEX jobs_turn (lane=? AND task=? AND rank=? AND turn>?)",
        "SEARCH j USING INTEGER PRIMARY KEY (rowid=?)",
        "jobs_aside (lane=? AND task=? AND limit_key=? AND rank=?)",
    ],
    "walk_line": ["SEARCH j USING INDEX jobs_aside (lane=? AND task=? AND limit_key=? AND rank=? AND seq>?)"],
    "first_rank": ["SEARCH jobs USING INDEX jobs_turn (lane=? AND task=? AND rank>?)"],
    "next_task_aside": ["SEARCH jobs USING INDEX jobs_aside (lane=? AND task>?)"],
    "claim_some": ["SEARCH jobs USING INTEGER PRIMARY KEY (rowid=?)"],
    "open_lines": ["SEARCH jobs USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"],
    "take_turns": [
        "SEARCH jobs USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)",
        "SEARCH first USING INDEX jobs_aside (lane=? AND task=? AND limit_key=? AND rank=?)",
    ],
    "end_turns": ["SEARCH jobs USING INTEGER PRIMARY KEY (rowid=?)"],
    "bars_to_lift": [
        "SEARCH bars USING INDEX bars_under (under<?)",
        "SEARCH bars USING INDEX bars_under (under=? AND until<?)",
        "SEARCH bars USING INDEX bars_since (since>?)",
    ],
    "reopen_line": [
        "SEARCH jobs USING INTEGER PRIMARY KEY (rowid=?)",
        "SEARCH jobs USING INDEX jobs_aside (lane=? AND task=? AND limit_key=? AND rank=?)",
    ],
    "lift_bar": ["SEARCH bars USING PRIMARY KEY (lane=? AND task=? AND key=? AND rank=?)"],
    "let_bars_of": ["SEARCH bars USING INDEX bars_full (key=?)"],
    "first_bar_to_end": ["SEARCH bars USING COVERING INDEX bars_until (lane=? AND until>?)"],
    "running_counts": ["SCAN jobs USING INDEX jobs_held"],
    "running_of_key": ["SEARCH jobs USING COVERING INDEX jobs_held_key (limit_key=? AND state=?)"],
    "running_of_keys": ["jobs USING COVERING INDEX jobs_held_key"],
    "walk_suspects": ["SEARCH jobs USING INDEX jobs_suspect (lane=? AND (rank,seq)>(?,?))"],
    "succeed_plain": ["SEARCH jobs USING INTEGER PRIMARY KEY (rowid=?)"],
    "read_attempts": ["SEARCH jobs USING INDEX sqlite_autoindex_jobs_1 (id=?)"],
    "unclaim_plain": ["SEARCH jobs USING INDEX jobs_held (session=?)"],
    "held_by": ["SEARCH jobs USING INDEX jobs_held (session=?)"],
    "next_holder": ["SEARCH jobs USING INDEX jobs_held (session>?)"],
    "due_jobs": ["SEARCH jobs USING INDEX jobs_due (due_at<?)"],
    "next_due": ["SEARCH jobs USING INDEX jobs_due"],
    "expired_jobs": ["SEARCH jobs USING INDEX jobs_expiry (expires_at>? AND expires_at<?)"],
    "purgeable_jobs": ["SEARCH jobs USING INDEX jobs_purge (purge_at>? AND purge_at<?)"],
    "find_jobs": ["SEARCH jobs USING INDEX sqlite_autoindex_jobs_1 (id=?)"],
    "find_edges": ["=? AND "],  # both of parent and child, by whichever index
    "key_holder": ["SEARCH jobs USING INDEX jobs_key (task=? AND unique_key=?)"],
    "unmarked_children": ["SEARCH edges USING PRIMARY KEY (parent=? AND child>?)"],
    "unmarked_children_of": ["SEARCH edges USING PRIMARY KEY (parent=?)"],
    "mark_children": ["SEARCH edges USING PRIMARY KEY (parent=? AND child>? AND child<?)"],
    "mark_children_of": ["SEARCH edges USING PRIMARY KEY (parent=?)"],
    "read_children": [
        "SEARCH jobs USING INTEGER PRIMARY KEY (rowid=?)",
        "USING INDEX edges_unsatisfied (child=?)",
        "edges_wanting_failure (child=? AND outcome=?)",
        "edges_wanting_failure (child=? AND outcome>?)",
    ],
    "count_marks": ["SEARCH jobs USING INTEGER PRIMARY KEY (rowid=?)"],
    "gain_dependants": ["SEARCH jobs USING INTEGER PRIMARY KEY (rowid=?)"],
    "gain_needs": ["SEARCH jobs USING INTEGER PRIMARY KEY (rowid=?)"],
    "let_go": ["SEARCH jobs USING INTEGER PRIMARY KEY (rowid=?)"],
    "succeed_linked": ["SEARCH jobs USING INTEGER PRIMARY KEY (rowid=?)"],
    "parents": ["SEARCH edges USING COVERING INDEX edges_child (child=? AND parent>?)"],
    "parents_of": ["SEARCH edges USING COVERING INDEX edges_child (child=?)"],
    "lose_dependants": ["SEARCH jobs USING INDEX sqlite_autoindex_jobs_1 (id=?)"],
    "deletable_job": ["SEARCH jobs USING INDEX sqlite_autoindex_jobs_1 (id=?)"],
    "hold_parents": [
        "SEARCH jobs USING INDEX sqlite_autoindex_jobs_1 (id=?)",
        "SEARCH edges USING COVERING INDEX edges_child (child=?)",
    ],
    "rearm_parents": ["edges_child (child=?)"],
    "need_again": ["jobs USING INTEGER PRIMARY KEY (rowid=?)", "SEARCH edges USING PRIMARY KEY (parent=?)"],
    "rearm_children": ["SEARCH edges USING PRIMARY KEY (parent=?)", "jobs USING INTEGER PRIMARY KEY (rowid=?)"],
    "count_needs": ["jobs USING INTEGER PRIMARY KEY (rowid=?)", "edges_child (child=?)"],
    "delete_edges": ["edges_child (child=?)"],
    "count_waiting": ["SCAN jobs USING COVERING INDEX jobs_waiting"],
    "first_waiting": ["jobs USING COVERING INDEX jobs_waiting"],
    "read_job": ["SEARCH jobs USING INDEX sqlite_autoindex_jobs_1 (id=?)"],
    "list_newest_first": ["SEARCH jobs USING INDEX sqlite_autoindex_jobs_1 (id>? AND id<?)"],
    "list_oldest_first": ["SEARCH jobs USING INDEX sqlite_autoindex_jobs_1 (id>? AND id<?)"],
    "end_of_look_back": ["SEARCH jobs USING COVERING INDEX sqlite_autoindex_jobs_1 (id<?)"],
    "end_of_look_forth": ["SEARCH jobs USING COVERING INDEX sqlite_autoindex_jobs_1 (id>?)"],
    "first_in_main_line": ["SEARCH jobs USING INDEX jobs_ready (lane=?)"],
    "first_suspects": ["SEARCH jobs USING INDEX jobs_suspect (lane=?)"],
    "first_of_lines": [
        "SEARCH jobs USING INDEX jobs_turn (lane=?)",
        "SEARCH bars USING PRIMARY KEY (lane=?)",
        "SEARCH jobs USING INDEX jobs_aside (lane=? AND task=? AND limit_key=? AND rank=?)",
    ],
    "first_task_aside": ["SEARCH jobs USING INDEX jobs_aside (lane=? AND task>?)"],
    "first_aside": ["SEARCH jobs USING INDEX jobs_aside (lane=? AND task=? AND limit_key=?)"],
    "first_scheduled": ["SCAN jobs USING INDEX jobs_due"],
    "last_scheduled": ["SCAN jobs USING INDEX jobs_due"],
    "parents_waited_for": [
        "SEARCH jobs USING COVERING INDEX sqlite_autoindex_jobs_1 (id=?)",
        "SEARCH edges USING INDEX edges_child (child=?)",
        "SEARCH parents USING INDEX sqlite_autoindex_jobs_1 (id=?)",
    ],
    "suspect_in_lane": ["SEARCH jobs USING INDEX jobs_suspect (lane=?)"],
}


@pytest.fixture(params=["without statistics", "with statistics"])
def db(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[sqlite3.Connection]:
    path = str(tmp_path / "w.db")
    connection = open_connection(path)
    prepare(connection, path)
    connection.execute(FILL.format(1))
    connection.execute(f"INSERT INTO edges (parent, child, policy) SELECT id, {JOBS} - n, n % 3 FROM jobs")
    if request.param == "with statistics":
        connection.execute("ANALYZE")
    yield connection
    connection.close()


def plan(db: sqlite3.Connection, name: str) -> list[str]:
    text = RowStatement(SQL[name])._many
    # Values do not matter to the planner here, only their number does.
    numbered = 4 if "?1" in text else 0
    count = max(text.count("?"), numbered)
    for arguments in range(count + 1):
        try:
            rows = db.execute(f"EXPLAIN QUERY PLAN {text}", (1,) * arguments).fetchall()
        except sqlite3.ProgrammingError:
            continue
        return [row[3] for row in rows]
    raise AssertionError(f"{name} takes no number of arguments")


def test_every_hot_statement_finds_its_rows_by_index(db: sqlite3.Connection) -> None:
    plans = {name: plan(db, name) for name in PLANS}
    wrong = {
        name: found
        for name, found in plans.items()
        if any(not any(want in step for step in found) for want in PLANS[name])
        or any(step.startswith(("SCAN jobs", "SCAN edges")) and "INDEX" not in step for step in found)
        or any("TEMP B-TREE" in step for step in found if name != "running_counts")
    }
    assert wrong == {}


def test_all_statements_compile(db: sqlite3.Connection) -> None:
    for name in SQL:
        plan(db, name)


def test_the_numbers_in_the_statements_are_those_of_the_core() -> None:
    assert [(state.value, state.word) for state in State] == [
        (0, "waiting"),
        (1, "scheduled"),
        (2, "ready"),
        (3, "running"),
        (4, "succeeded"),
        (5, "dead"),
        (6, "cancelled"),
    ]
    assert Outcome.SUCCEEDED == 1
    assert EdgePolicy.SUCCEEDED == 0


def test_migrations_are_numbered_without_gaps() -> None:
    steps = migrations("sqlite")
    assert [step.version for step in steps] == list(range(1, len(steps) + 1))
    assert all(split(step.script) for step in steps)
