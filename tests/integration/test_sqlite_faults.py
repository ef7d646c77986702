"""What SQLite refuses, and what the disk refuses: said in the port's words, and nothing acknowledged is lost."""

import asyncio
import os
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import skip_or_fail
from tests.integration.sqlite_harness import enqueue, new_job, now, open_session, request
from windlass.core.errors import (
    SchemaMismatch,
    StoreError,
    StoreFull,
    StoreReadOnly,
    StoreUnavailable,
    UsageError,
)
from windlass.core.lifecycle import Outcome
from windlass.core.model import STORED, ClaimRequest, Lane, Parent, Settlement
from windlass.core.records import LimitScope
from windlass.store.sqlite import SQLiteStore, connection, schema, writer


async def _refused(path: Path, kind: type[StoreError]) -> str:
    store = SQLiteStore(path)
    with pytest.raises(kind) as caught:
        await store.connect()
    assert type(caught.value) is kind
    assert str(path) in str(caught.value)
    await store.aclose()
    return str(caught.value)


async def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    said = await _refused(tmp_path / "no" / "where.db", StoreUnavailable)
    assert f"there is no directory {tmp_path / 'no'}" in said


async def test_a_directory_is_no_database(tmp_path: Path) -> None:
    assert "it is a directory" in await _refused(tmp_path, StoreUnavailable)


async def test_something_else_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a database at all, and longer than a header of one hundred bytes" * 100)
    assert "not a SQLite database" in await _refused(path, SchemaMismatch)
    assert path.read_text().startswith("not a database")


async def test_a_database_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "theirs.db"
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE theirs (a)")
    db.close()
    assert "not one of Windlass's" in await _refused(path, SchemaMismatch)


@pytest.mark.parametrize(("version", "advice"), [(schema.LATEST + 1, "upgrade Windlass"), (-1, "windlass migrate")])
async def test_another_layout_is_refused_with_advice(tmp_path: Path, version: int, advice: str) -> None:
    path = tmp_path / "w.db"
    store = SQLiteStore(path)
    await store.connect()
    await store.aclose()
    with sqlite3.connect(path) as db:
        db.execute("UPDATE meta SET version = ?", (version,))
    db.close()
    assert advice in await _refused(path, SchemaMismatch)


async def test_opening_can_be_tried_again(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "later" / "w.db")
    with pytest.raises(StoreUnavailable):
        await store.connect()
    (tmp_path / "later").mkdir()
    await enqueue(store, new_job())
    assert store.created
    await store.aclose()


async def test_created_tells_a_new_file_from_an_old_one(tmp_path: Path) -> None:
    for expected in (True, False):
        store = SQLiteStore(tmp_path / "w.db")
        await store.connect()
        assert store.created is expected
        await store.aclose()


async def test_migrate_creates_and_then_has_nothing_to_do(tmp_path: Path) -> None:
    one, other = SQLiteStore(tmp_path / "w.db"), SQLiteStore(tmp_path / "w.db")
    done = await asyncio.gather(one.migrate(), other.migrate())
    assert sorted(map(len, done)) == [0, len(schema.STEPS)]
    assert await one.migrate(finish=True) == []
    await one.connect()
    assert not one.created
    await one.aclose()


async def test_a_closed_store_says_so(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "w.db")
    await store.connect()
    await store.aclose()
    await store.aclose()
    with pytest.raises(StoreUnavailable, match="closed"):
        await enqueue(store, new_job())


async def test_closing_while_it_opens_leaves_nobody_waiting(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "w.db")
    verb = asyncio.ensure_future(enqueue(store, new_job()))
    await asyncio.sleep(0)
    await store.aclose()
    with pytest.raises(StoreUnavailable, match="closed"):
        await verb


async def test_a_store_stays_with_its_loop(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "w.db")
    await store.connect()

    async def elsewhere() -> None:
        with pytest.raises(UsageError, match="twin"):
            await enqueue(store, new_job())
        twin = store.twin()
        await enqueue(twin, new_job())
        await twin.aclose()

    await asyncio.to_thread(asyncio.run, elsewhere())
    assert sum((await store.counts()).values()) == 1
    await store.aclose()


def test_a_store_outlives_a_loop_that_ended(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "w.db")

    async def some() -> int:
        store.subscribe(["ready/default"], lambda: None)
        await enqueue(store, new_job())
        return sum((await store.counts()).values())

    assert [asyncio.run(some()) for _ in range(3)] == [1, 2, 3]
    asyncio.run(store.aclose())
    assert list((tmp_path / "w.db-wake").iterdir()) == []


def test_network_file_systems_are_recognised(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(
        "/dev/sda / ext4 rw 0 0\nhost:/x /srv/my\\040share nfs4 rw 0 0\n/dev/sdb /srv/myself xfs rw 0 0\n"
    )
    kinds = [connection.file_system(Path(folder), str(mounts)) for folder in ("/srv/my share/a", "/srv/myself", "/srv")]
    assert kinds == ["nfs4", "xfs", "ext4"]


async def test_a_network_file_system_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "file_system", lambda _: "nfs4")
    assert "network file system (nfs4)" in await _refused(tmp_path / "w.db", StoreUnavailable)


# ------------------------------------------------------------------------------------------------ real disks


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own, of two megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() != 0:
        skip_or_fail("only root can mount a small disk")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)], capture_output=True, text=True, check=False
    )
    if mounted.returncode != 0:
        skip_or_fail(f"cannot mount a small disk: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def _remount_read_only(folder: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)


async def test_a_full_disk_is_said_and_nothing_acknowledged_is_lost(small_disk: Path) -> None:
    store = SQLiteStore(small_disk / "w.db")
    await store.connect()
    stored: list[bytes] = []

    async def fill() -> None:
        while True:
            job = new_job(payload=b'"' + b"x" * 10_000 + b'"')
            await enqueue(store, job)
            stored.append(job.id)

    with pytest.raises(StoreFull, match="no room left"):
        await fill()
    assert stored
    # Still full, still honest; and what was acknowledged is all there.
    with pytest.raises(StoreFull):
        await store.enqueue([new_job(payload=b'"' + b"x" * 200_000 + b'"')], first_sent=now())
    records = [
        record for start in range(0, len(stored), 100) for record in await store.get_jobs(stored[start : start + 100])
    ]
    assert all(record is not None for record in records)
    counts = await store.counts()
    assert sum(counts.values()) == len(stored)
    await store.aclose()


async def test_after_the_disk_was_full_work_goes_on(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    store = SQLiteStore(small_disk / "w.db")
    await enqueue(store, new_job())
    session = await open_session(store)
    ballast.write_bytes(b"")
    try:
        with ballast.open("ab") as file:
            while True:
                file.write(b"x" * 4096)
                file.flush()
    except OSError:
        pass
    with pytest.raises(StoreFull):
        await store.enqueue([new_job(payload=b'"' + b"x" * 200_000 + b'"')], first_sent=now())
    ballast.unlink()
    (job,) = (await store.claim(session, request(1))).jobs
    settled = await store.settle(session, [Settlement(job.id, job.token, Outcome.SUCCEEDED, b"1")])
    assert [answer.name for answer in settled.answers] == ["APPLIED"]
    await store.aclose()


async def test_a_read_only_disk_is_said(small_disk: Path) -> None:
    store = SQLiteStore(small_disk / "w.db")
    await enqueue(store, new_job())
    await store.aclose()
    _remount_read_only(small_disk)
    again = SQLiteStore(small_disk / "w.db")
    with pytest.raises(StoreReadOnly, match="may not be written to"):
        await again.connect()
    await again.aclose()


async def test_a_file_that_becomes_read_only_is_said(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "w.db")
    await enqueue(store, new_job())
    assert store._writer is not None
    await store._writer.put(lambda tx: tx.execute("PRAGMA query_only = 1") and None)
    with pytest.raises(StoreReadOnly, match=str(tmp_path)):
        await enqueue(store, new_job())
    assert sum((await store.counts()).values()) == 1
    await store.aclose()


# --------------------------------------------------------------------------------------- groups and commits


async def test_a_bad_verb_fails_alone(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "w.db")
    await store.connect()

    def bad(tx: object) -> None:
        raise ValueError("no good")

    assert store._live is not None
    gate = store._live.gate
    with gate:  # so that all of them go together
        verbs = [
            asyncio.ensure_future(enqueue(store, new_job())),
            store._live.put(bad),
            asyncio.ensure_future(enqueue(store, new_job())),
        ]
        await asyncio.sleep(0)
    outcomes = await asyncio.gather(*verbs, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [type(None), ValueError, type(None)]
    assert sum((await store.counts()).values()) == 2
    await store.aclose()


async def test_a_failed_commit_fails_for_everybody_in_it(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "w.db")
    await store.connect()
    assert store._live is not None

    def break_commit(tx: object) -> None:
        # A deferred constraint that only the commit looks at.
        execute = tx.execute  # type: ignore[attr-defined]
        execute("PRAGMA defer_foreign_keys = 1")
        execute("INSERT INTO child VALUES (1)")

    def prepare(tx: object) -> None:
        execute = tx.execute  # type: ignore[attr-defined]
        execute("CREATE TABLE child (a REFERENCES parent (a) DEFERRABLE INITIALLY DEFERRED)")
        execute("CREATE TABLE parent (a PRIMARY KEY)")

    await store._live.put(prepare)
    db = store._live._tx.db
    with store._live.gate:
        db.execute("PRAGMA foreign_keys = 1")
        verbs = [
            asyncio.ensure_future(enqueue(store, new_job())),
            store._live.put(break_commit),
            asyncio.ensure_future(enqueue(store, new_job())),
        ]
        await asyncio.sleep(0)
    outcomes = await asyncio.gather(*verbs, return_exceptions=True)
    assert all(isinstance(outcome, StoreError) for outcome in outcomes), outcomes
    assert sum((await store.counts()).values()) == 0
    await enqueue(store, new_job())
    await store.aclose()


async def test_a_limit_holds_for_a_claim_in_the_same_transaction(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "w.db")
    session = await open_session(store)
    await enqueue(store, new_job(), new_job())
    assert len((await store.claim(session, request(1, 1))).jobs) == 1
    assert store._live is not None
    with store._live.gate:
        pausing = asyncio.ensure_future(store.pause(LimitScope.QUEUE, "default", paused=True))
        claiming = asyncio.ensure_future(store.claim(session, request(2)))
        await asyncio.sleep(0)
    await pausing
    assert (await claiming).jobs == []
    await store.aclose()


async def test_large_batches_are_answered_in_order(tmp_path: Path) -> None:
    """They are carried out in parts, and parts of those together; answers come back in the order of the call."""
    store = SQLiteStore(tmp_path / "w.db")
    session = await open_session(store)
    root = new_job()
    jobs = [new_job(parents=(Parent(root.id),)) if index % 3 else new_job(queue="other") for index in range(900)]
    answers = (await store.enqueue([root, *jobs], first_sent=now())).jobs
    assert answers == [STORED] * 901
    (claimed,) = (await store.claim(session, request(1))).jobs
    await store.settle(session, [Settlement(claimed.id, claimed.token, Outcome.SUCCEEDED, b"1")])
    while (await store.release_edges()).more:
        pass
    lanes = (Lane("default"), Lane("other"))
    running = (await store.claim(session, ClaimRequest(2, lanes))).jobs
    assert len(running) == 900
    settlements = [
        Settlement(job.id, job.token + (index % 7 == 0), Outcome.SUCCEEDED if index % 5 else Outcome.RETRY)
        for index, job in enumerate(running)
    ]
    result = await store.settle(session, settlements, request(3, queue="other"))
    assert [answer.name for answer in result.answers] == ["APPLIED" if index % 7 else "LOST" for index in range(900)]
    assert result.claim is not None
    again = {job.id for job in result.claim.jobs}
    retried = {s.id for index, s in enumerate(settlements) if index % 7 and not index % 5}
    assert again == {job.id for job in jobs if job.queue == "other"} & retried
    cancelled = await store.cancel([job.id for job in running])
    states = [record and record.state.word for record in await store.get_jobs([job.id for job in running])]
    assert len(cancelled) == len(states) == 900
    for answer, state in zip(cancelled, states, strict=True):
        assert (answer.name, state) in {("CANCELLED", "cancelled"), ("REQUESTED", "running"), ("FINISHED", "succeeded")}
    await store.aclose()


async def test_a_cancelled_caller_does_not_undo(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "w.db")
    await store.connect()
    assert store._live is not None
    with store._live.gate:
        caller = asyncio.ensure_future(enqueue(store, new_job()))
        await asyncio.sleep(0)
        caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    await store.promote()  # behind the other in the same queue
    assert sum((await store.counts()).values()) == 1
    await store.aclose()


async def test_somebody_with_another_program_is_waited_for_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "PATIENCE", 0.0)
    store = SQLiteStore(tmp_path / "w.db")
    await store.connect()
    assert store._live is not None
    store._live._tx.db.execute("PRAGMA busy_timeout = 10")
    other = sqlite3.connect(tmp_path / "w.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable, match="another program"):
        await enqueue(store, new_job())
    other.execute("ROLLBACK")
    other.close()
    await enqueue(store, new_job())
    assert sum((await store.counts()).values()) == 1
    await store.aclose()
