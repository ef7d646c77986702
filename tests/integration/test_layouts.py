"""A database of an older layout: refused with advice, migrated wholly or not at all, and the same afterwards."""

import asyncio
import json
import os
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from itertools import count
from pathlib import Path

import pytest

from tests.integration.sqlite_harness import enqueue, new_job
from tests.layouts.layout import plain, read_layout, set_version
from windlass import App
from windlass.core.clock import HOUR, MINUTE, SECOND
from windlass.core.errors import SchemaMismatch
from windlass.core.lifecycle import Outcome, State
from windlass.core.model import ClaimedJob, ClaimRequest, Lane, Session, Settings, Settlement
from windlass.core.records import LimitScope, Reason
from windlass.store.sqlite import SQLiteStore
from windlass.store.sqlite.schema import LATEST, STEPS, apply
from windlass.testing import invariants, snapshot

LAYOUT = read_layout(1)
OLDER = f"has layout 1, this version of Windlass needs {LATEST}: run `windlass migrate`"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database of layout 1."""
    LAYOUT.restore(tmp_path / "jobs.db")
    return tmp_path / "jobs.db"


@pytest.fixture
async def migrated(path: Path) -> AsyncIterator[SQLiteStore]:
    """A store on it, migrated, with a clock that stands where that of its makers stood."""
    assert windlass(path, "migrate").returncode == 0
    store = SQLiteStore(path, Settings(lease=SECOND), clock=lambda: LAYOUT.now)
    yield store
    await store.aclose()


def command(path: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "windlass", *arguments, "--url", f"sqlite:///{path}"]


def windlass(path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(path, *arguments), capture_output=True, text=True, timeout=50, check=False)


def query(path: Path, statement: str) -> list[tuple[object, ...]]:
    db = sqlite3.connect(path)
    try:
        return db.execute(statement).fetchall()
    finally:
        db.close()


def dump(path: Path) -> list[str]:
    db = sqlite3.connect(path)
    try:
        return list(db.iterdump())
    finally:
        db.close()


# ---------------------------------------------------------------------------------------------------- migrating


async def test_it_is_not_opened_before_it_is_migrated(path: Path) -> None:
    before = dump(path)
    with pytest.raises(SchemaMismatch, match=OLDER):
        await SQLiteStore(path).connect()
    done = windlass(path, "jobs", "ls")
    assert (done.returncode, done.stdout) == (1, "")
    assert OLDER in done.stderr
    assert dump(path) == before


def test_migrate_says_what_it_did_and_may_be_repeated(path: Path) -> None:
    done = [f"layout {step.version}: {step.title}\n" for step in STEPS[1:]]
    assert windlass(path, "migrate").stdout == "".join(done)
    after = dump(path)
    assert windlass(path, "migrate").stdout == "the layout is up to date\n"
    assert windlass(path, "migrate", "--finish").stdout == "the layout is up to date\n"
    assert dump(path) == after


def test_two_may_migrate_at_once(path: Path) -> None:
    both = [subprocess.Popen(command(path, "migrate", "--json"), stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=50)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sorted(len(json.loads(text)["done"]) for text in said) == [0, len(STEPS) - 1]


KILLED = """
import os, shutil, signal, sys
from windlass.store.sqlite import schema

open_connection = schema.open_connection

def die_before(number):
    def opened(path):
        db, left = open_connection(path), iter(range(number - 1, -1, -1))
        db.set_trace_callback(lambda _: next(left) or os.kill(os.getpid(), signal.SIGKILL))
        return db
    return opened

for number in range(1, 1000):
    path = f"{sys.argv[1]}-{number}"
    shutil.copy(sys.argv[1], path)
    if not os.fork():
        schema.open_connection = die_before(number)
        schema.migrate_file(path, lambda: 2**60, finish=False)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.wait()[1])
    if code == 0:
        break
    assert code == -signal.SIGKILL
    print(path)
"""


def test_killed_at_any_statement_it_is_migrated_wholly_or_not_at_all(path: Path) -> None:
    before = dump(path)
    killed = subprocess.run([sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE, text=True, check=True)
    wrecks = [Path(line) for line in killed.stdout.splitlines()]
    assert len(wrecks) > 20, "one for each statement of the migration and each before and after it"
    states = [dump(wreck) for wreck in wrecks]
    assert windlass(path, "migrate").returncode == 0
    after = dump(path)
    assert [state == before for state in states] == sorted((state == before for state in states), reverse=True)
    assert all(state in (before, after) for state in states)
    assert windlass(wrecks[-2], "migrate").returncode == 0
    assert dump(wrecks[-2]) == after


# --------------------------------------------------------------------------------------------- what became of it


async def test_each_record_is_what_the_older_code_said(migrated: SQLiteStore) -> None:
    found = await snapshot.take(migrated)
    jobs = [
        {name: value for name, value in plain(found.jobs[key]).items() if name in LAYOUT.fields}
        for key in sorted(found.jobs)
    ]
    assert jobs == LAYOUT.jobs
    assert [plain(record) for record in found.limits] == LAYOUT.limits
    assert [plain(found.sessions[key]) for key in sorted(found.sessions)] == LAYOUT.sessions
    assert {State(job.get("state", 0)) for job in jobs} == set(State), "the database has jobs in every state"
    invariants.check(found)


def test_each_row_is_what_it_was(path: Path) -> None:
    """Beyond what a record shows: keys held, edges, the cursor, spent buckets, who holds the duty."""
    columns = {
        table: [name for _, name, *_ in query(path, f"PRAGMA table_info({table})")]
        for (table,) in query(path, "SELECT name FROM sqlite_schema WHERE type = 'table'")
    }
    columns["meta"].remove("version")
    columns["edges"].remove("closed")  # counted since layout 5
    statements = {table: f"SELECT {', '.join(names)} FROM {table}" for table, names in columns.items()}  # type: ignore[arg-type]
    before = {table: sorted(query(path, statement), key=repr) for table, statement in statements.items()}
    assert all(before.values()), "no table is empty"
    assert windlass(path, "migrate").returncode == 0
    assert {table: sorted(query(path, statement), key=repr) for table, statement in statements.items()} == before


def test_edges_are_counted(path: Path) -> None:
    needs = dict(query(path, "SELECT child, count(*) FROM edges WHERE policy < 2 AND outcome IS NULL GROUP BY 1"))
    dependants = dict(query(path, "SELECT parent, count(*) FROM edges WHERE closed = 0 GROUP BY 1"))  # type: ignore[arg-type]
    assert needs
    assert dependants
    assert windlass(path, "migrate").returncode == 0
    assert dict(query(path, "SELECT n, needs FROM jobs WHERE needs <> 0")) == needs
    assert dict(query(path, "SELECT id, dependants FROM jobs WHERE dependants <> 0")) == dependants


async def test_the_cursor_goes_on_behind_what_it_had_closed(tmp_path: Path) -> None:
    """A job whose end the first of its parents knows of, and the others do not yet."""
    path = tmp_path / "jobs.db"
    db = sqlite3.connect(path, isolation_level=None)
    apply(db, STEPS[:4])
    finished = "rank, linked, enqueued_at, finished_at, keep, payload) VALUES (?, ?, 1, 1, ?, 4, 1, 1, 1, ?, x'')"
    parents = [bytes([n]) * 16 for n in (1, 2, 3)]
    for n, parent in enumerate(parents, 1):
        db.execute(f"INSERT INTO jobs (n, id, lane, task, state, {finished}", (n, parent, State.SUCCEEDED, HOUR))
    db.execute(f"INSERT INTO jobs (n, id, lane, task, state, {finished}", (4, b"c" * 16, State.DEAD, HOUR))
    db.execute("INSERT INTO lanes (n, queue, requires) VALUES (1, 'default', '')")
    db.execute("INSERT INTO tasks (n, name) VALUES (1, 'work')")
    for parent, closed in zip(parents, (1, 0, 0), strict=True):
        db.execute("INSERT INTO edges VALUES (?, 4, 0, ?, ?)", (parent, State.SUCCEEDED, closed))
    db.execute("UPDATE jobs SET purge_at = ? WHERE n = 1", (HOUR,))
    db.execute("INSERT INTO releases (job) VALUES (4)")
    db.close()
    assert windlass(path, "migrate").returncode == 0
    store = SQLiteStore(path, clock=lambda: 2 * HOUR)
    assert (await store.release_edges()).done == 2
    records = await store.get_jobs([*parents, b"c" * 16])
    await store.aclose()
    assert [record and record.purge_at for record in records] == [HOUR, 3 * HOUR, 3 * HOUR, 3 * HOUR]
    assert query(path, "SELECT DISTINCT dependants FROM jobs") == [(0,)]


async def test_lines_stand_for_ready_jobs_with_a_key_and_for_nothing_else(migrated: SQLiteStore, path: Path) -> None:
    ready = query(
        path,
        "SELECT lane, task, limit_key, rank, min(seq) FROM jobs "
        "WHERE state = 2 AND suspect = 0 AND limit_key IS NOT NULL GROUP BY 1, 2, 3, 4",
    )
    assert len(ready) > 3
    assert sorted(query(path, "SELECT lane, task, limit_key, rank, turn FROM jobs WHERE turn IS NOT NULL")) == sorted(
        ready
    )
    assert query(path, "SELECT count(*) FROM bars") == [(0,)]
    assert query(path, "SELECT count(*) FROM jobs WHERE aside <> (limit_key IS NOT NULL)") == [(0,)]


async def test_it_has_the_layout_of_a_fresh_one(migrated: SQLiteStore, path: Path, tmp_path: Path) -> None:
    fresh = SQLiteStore(tmp_path / "fresh.db")
    await fresh.connect()
    await fresh.aclose()
    assert list(layout(path)) == list(layout(tmp_path / "fresh.db"))


def layout(path: Path) -> Iterator[tuple[object, ...]]:
    """All that was created, but for how it is written."""
    for *names, sql in query(path, "SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY type, name"):
        yield *names, " ".join(str(sql).split())


# ---------------------------------------------------------------------------------------------------- working on


UNFINISHED = {bytes.fromhex(job["id"]) for job in LAYOUT.jobs if not State(job.get("state", 0)).is_finished}
LANES = tuple(
    Lane(queue, requires) for queue, requires in {(job["queue"], job.get("requires", "")) for job in LAYOUT.jobs}
)
MOST = {"customer:1": 2, "customer:2": 2, "customer:3": 2, "customer:9": 2, "customer:vip": 3, "mail": 5, "limited": 1}
"""At most so many run at once, says the database."""


async def test_all_jobs_run_to_the_end_within_their_limits(path: Path) -> None:
    """Dead workers are reaped, the cursor is carried on, suspects run alone, what is due later has its time."""
    assert windlass(path, "migrate").returncode == 0
    now = LAYOUT.now
    store = SQLiteStore(path, Settings(lease=SECOND), clock=lambda: now)
    started: dict[bytes, list[int]] = {}
    by_rate: Counter[tuple[str, int]] = Counter()
    try:
        await store.pause(LimitScope.QUEUE, "paused", paused=False)
        for _ in range(120):
            now += MINUTE
            for job in await work(store):
                started.setdefault(job.id, []).append(now)
                if job.limit_key is not None and job.limit_key.startswith("site:"):
                    by_rate[job.limit_key, now] += 1
        found = await snapshot.take(store)
    finally:
        await store.aclose()
    invariants.check(found)
    ended = Counter((found.jobs[job_id].state, found.jobs[job_id].reason) for job_id in UNFINISHED)
    assert ended == {
        (State.SUCCEEDED, Reason.NONE): len(UNFINISHED) - 2,
        (State.CANCELLED, Reason.PARENT): 1,  # behind the cursor of a parent that died
        (State.CANCELLED, Reason.CANCELLED): 1,  # asked for while it ran on a worker that died
    }
    assert started.keys() == {job_id for job_id in UNFINISHED if found.jobs[job_id].state is State.SUCCEEDED}
    assert all(len(times) == 1 for times in started.values())
    assert max(by_rate.values()) == 1, "one a minute for each site"
    assert query(path, "SELECT count(*) FROM jobs WHERE turn IS NOT NULL") == [(0,)]
    assert query(path, "SELECT count(*) FROM bars") == [(0,)]


async def work(store: SQLiteStore) -> list[ClaimedJob]:
    """Do what is to do at this moment: first for the dead, then as a worker of many slots, and as one for suspects."""
    while (await store.reap(await store.observe())).more:
        pass
    while (await store.promote()).more or (await store.release_edges()).more:
        pass
    ran = []
    for alone in (False, True):
        key = os.urandom(16)
        await store.open(Session(id=key, node="here", pid=os.getpid(), lanes=LANES))
        for number in count(1):
            jobs = (await store.claim(key, ClaimRequest(number, LANES, alone))).jobs
            if not jobs:
                break
            running = {name: some for (_, name), some in (await store.running()).items() if name in MOST}
            assert all(some <= MOST[name] for name, some in running.items())
            await store.settle(key, [Settlement(job.id, job.token, Outcome.SUCCEEDED, b"null") for job in jobs])
            ran += jobs
        await store.close(key)
    return ran


# ------------------------------------------------------------------------------------ who has the file open meanwhile


async def test_who_has_the_file_open_hears_of_it_at_the_next_call(tmp_path: Path) -> None:
    """Nothing is written into a layout that this version does not know, and nothing is read from it."""
    store = SQLiteStore(tmp_path / "jobs.db")
    job = new_job()
    await enqueue(store, job)
    set_version(tmp_path / "jobs.db", 99)
    before = dump(tmp_path / "jobs.db")
    newer = f"has layout 99, this version of Windlass knows {LATEST} only: upgrade Windlass"
    for _ in range(2):
        with pytest.raises(SchemaMismatch, match=newer):
            await enqueue(store, new_job())
        with pytest.raises(SchemaMismatch, match=newer):
            await store.get_jobs([job.id])
    assert dump(tmp_path / "jobs.db") == before
    set_version(tmp_path / "jobs.db", LATEST)
    assert [record and record.state for record in await store.get_jobs([job.id])] == [State.READY]
    await enqueue(store, new_job())
    await store.aclose()


@pytest.mark.parametrize("busy", [True, False])
async def test_a_worker_stops_and_says_why(tmp_path: Path, busy: bool) -> None:
    app = App(f"sqlite:///{tmp_path}/jobs.db", lease=1)
    began, ended = asyncio.Event(), asyncio.Event()

    @app.task
    async def wait() -> None:
        began.set()
        try:
            await asyncio.sleep(1000)
        finally:
            ended.set()

    async with app, app.worker() as worker:
        if busy:
            await wait.enqueue()
            await began.wait()
        set_version(tmp_path / "jobs.db", 99)
        with pytest.raises(SchemaMismatch, match="upgrade Windlass"):
            await asyncio.wait_for(worker.wait(), 20)
        assert ended.is_set() is busy, "what it ran was cancelled"


async def test_workers_of_the_older_layout_are_named(path: Path) -> None:
    """With the clock of its makers, one of their workers is still alive."""
    store = SQLiteStore(path, clock=lambda: LAYOUT.now)
    with pytest.raises(SchemaMismatch) as caught:
        await store.migrate()
    assert (
        "workers of the older layout are at work (node-1:4242): stop them, then migrate; one that was killed counts"
        in (str(caught.value))
    )
    assert query(path, "SELECT version FROM meta") == [(1,)]
