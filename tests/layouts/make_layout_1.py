"""Makes ``layout_1.sql`` and ``layout_1.json``: a database of layout 1, and what the code that made it said of it.

Layout 1 is that of commit 25f63c7, the last one before limit keys stood in lines. To make both files again, the same to
the byte:

    git worktree add /tmp/layout_1 25f63c7
    PYTHONPATH=/tmp/layout_1/src:. python tests/layouts/make_layout_1.py tests/layouts

One database has jobs in every state and for every reason, a cursor left behind, sessions alive and dead, limits of all
kinds with jobs of their keys in every unfinished state, spent buckets, unique keys, errors, notes, commands.
"""

import asyncio
import json
import sqlite3
import sys
import tempfile
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

import windlass.store.sqlite.settle
from tests.layouts.layout import plain
from windlass.core.clock import HOUR, MINUTE, SECOND
from windlass.core.graph import EdgePolicy
from windlass.core.lifecycle import Outcome
from windlass.core.model import (  # type: ignore[attr-defined]
    ClaimedJob,
    ClaimRequest,
    ErrorRecord,
    JobRecord,
    Lane,
    Limit,
    LimitScope,
    NewJob,
    Note,
    Parent,
    Rate,
    Session,
    Settings,
    Settlement,
    Unique,
    UniqueUntil,
)
from windlass.store.sqlite import SQLiteStore
from windlass.testing import snapshot

BEGIN = 1_735_732_800 * SECOND
"""2025-01-01T12:00:00Z: in the past of every clock that will ever read it."""
LANES = tuple(Lane(queue, requires) for queue in ("default", "mail", "paused", "free") for requires in ("", "gpu=1"))
# So that few dependants are enough to leave some behind the cursor.
windlass.store.sqlite.settle.MAX_EDGES_PER_CALL = 3  # type: ignore[attr-defined]


class Maker:
    """One store with a clock that stands still until it is moved, and ids that are counted."""

    def __init__(self, path: Path) -> None:
        self.now = BEGIN
        self._ids = 0
        self.store = SQLiteStore(path, Settings(lease=SECOND), clock=lambda: self.now)

    def new_id(self) -> bytes:
        """As a UUIDv7 has it: the time in front."""
        self._ids += 1
        return uuid.UUID(int=(self.now // 1000) << 80 | 7 << 76 | 2 << 62 | self._ids).bytes

    async def put(self, task: str = "work", **fields: Any) -> bytes:
        """Store one job; answers its id."""
        payload = fields.pop("payload", b'{"n":%d}' % self._ids)
        job = NewJob(id=self.new_id(), task=task, payload=payload, **fields)
        await self.store.enqueue([job], first_sent=self.now)
        return job.id

    async def open(self, name: str) -> "Worker":
        """Open a session."""
        key = name.encode().ljust(16, b"-")
        await self.store.open(Session(id=key, node="node-1", pid=4242, lanes=LANES, tasks=("work",), slots=10))
        return Worker(self.store, key)


class Worker:
    """One session."""

    def __init__(self, store: SQLiteStore, session: bytes) -> None:
        self.store = store
        self.session = session
        self._request = 0

    async def claim(self, limit: int = 1000, *, lanes: Sequence[Lane] = LANES, alone: bool = False) -> list[ClaimedJob]:
        self._request += 1
        some = tuple(msgspec.structs.replace(lane, until=limit) for lane in lanes)
        return (await self.store.claim(self.session, ClaimRequest(self._request, some, alone))).jobs

    async def end(self, job: ClaimedJob, outcome: Outcome = Outcome.SUCCEEDED, **how: Any) -> None:
        await self.store.settle(self.session, [Settlement(job.id, job.token, outcome, **how)])

    async def claim_of(self, job_id: bytes, queue: str) -> ClaimedJob:
        """Take the only ready job of a queue."""
        (job,) = await self.claim(lanes=(Lane(queue),))
        assert job.id == job_id
        return job


def error(kind: str, message: str) -> bytes:
    return msgspec.json.encode(ErrorRecord(type=kind, message=message, names=(kind, "Exception"), attempt=1, at=BEGIN))


async def lose(maker: Maker, job_id: bytes, queue: str, times: int) -> None:
    """Have a worker die over a job, so often."""
    for time in range(times):
        worker = await maker.open(f"dies-{queue}-{time}")
        await worker.claim_of(job_id, queue)
        maker.now += 2 * SECOND
        signs = [sign for sign in await maker.store.observe() if sign.id == worker.session]
        await maker.store.reap(signs)


async def fill(maker: Maker) -> None:
    """Bring jobs into every state."""
    store = maker.store
    await finish(maker)
    await limit(maker)
    await leave_edges(maker)

    # What waits.
    await maker.put(priority=9)
    await maker.put(priority=0, queue="mail", options=b'{"timeout":30000000,"headers":{"a":"b"}}')
    await maker.put(requires="gpu=1")
    await maker.put(delay=HOUR, expires_in=2 * HOUR)
    await maker.put(queue="mail", expires_in=HOUR)
    await maker.put(queue="paused")
    await maker.put(unique=Unique("until-finished"))
    await maker.put(unique=Unique("until-started", UniqueUntil.STARTED), delay=MINUTE)
    await lose(maker, await maker.put(queue="suspect"), "suspect", 2)
    await lose(maker, await maker.put(queue="tried-alone"), "tried-alone", 2)
    alone = await maker.open("alone")
    assert await alone.claim(lanes=(Lane("tried-alone"),), alone=True)

    # What runs: for somebody who is on duty, and for somebody whose death nobody has noticed yet.
    dead = await maker.open("died-at-work")
    await maker.put("work", queue="running", unique=Unique("running", UniqueUntil.STARTED))
    await dead.claim(1, lanes=(Lane("running"),))
    flagged = await maker.put(queue="running")
    await dead.claim(1, lanes=(Lane("running"),))
    await store.cancel([flagged])
    maker.now += 2 * SECOND
    alive = await maker.open("alive")
    noted = await maker.put(queue="running", unique=Unique("held"))
    (job,) = await alive.claim(1, lanes=(Lane("running"),))
    await store.annotate(alive.session, [Note(noted, job.token, 0.5, "half", "first line\nsecond: ü\n")])
    await store.renew(alive.session, [(job.id, job.token)], 1)
    assert await store.command(alive.session, "drain")


async def finish(maker: Maker) -> None:
    """Jobs with an end, and such as were given back in between."""
    store = maker.store
    worker = await maker.open("finishes")
    for outcome, how in (
        (Outcome.SUCCEEDED, {"result": b'{"a":[1,2]}'}),
        (Outcome.SUCCEEDED, {"result": b"null", "keep": 3 * HOUR}),
        (Outcome.DEAD, {"error": error("builtins.ValueError", "no such <address>"), "keep": 24 * HOUR}),
        (Outcome.CANCELLED, {}),
        (Outcome.RETRY, {"error": error("builtins.OSError", "come back"), "delay": MINUTE}),
        (Outcome.RETRY, {"error": error("builtins.OSError", "come back at once")}),
        (Outcome.SNOOZED, {"delay": MINUTE}),
        (Outcome.UNDELIVERABLE, {"error": error("windlass.UnknownTask", "no such task"), "delay": SECOND}),
        (Outcome.RELEASED, {}),
        (Outcome.RELEASED, {"started": False}),
    ):
        queue = f"ends-{outcome.name.lower()}-{len(how)}"
        job_id = await maker.put(queue=queue, unique=Unique(queue) if outcome is Outcome.DEAD else None)
        await worker.end(await worker.claim_of(job_id, queue), outcome, **how)
        maker.now += 1
    await lose(maker, await maker.put(queue="once"), "once", 1)
    lost = await maker.put(queue="lost")
    await lose(maker, lost, "lost", 2)
    for time in range(2):
        alone = await maker.open(f"alone-{time}")
        assert [job.id for job in await alone.claim(lanes=(Lane("lost"),), alone=True)] == [lost]
        maker.now += 2 * SECOND
        await store.reap([sign for sign in await store.observe() if sign.id == alone.session])
    await store.cancel([await maker.put()])
    await maker.put(expires_in=SECOND)
    await maker.put(unique=Unique("replaced"))
    await maker.put(unique=Unique("replaced", replace=True))
    await store.skip(await maker.put(), b'"skipped"')
    replayed = await maker.put(queue="replayed", delay=HOUR)
    await store.cancel([replayed])
    await store.replay([replayed])
    maker.now += 2 * SECOND
    await store.promote()
    await store.close(worker.session)


async def limit(maker: Maker) -> None:
    """Limits of all kinds, and jobs of limit keys in every unfinished state."""
    store = maker.store
    for record in (
        Limit(scope=LimitScope.QUEUE, name="paused", paused=True),
        Limit(scope=LimitScope.QUEUE, name="mail", concurrency=5, rate=Rate(10, SECOND, 20)),
        Limit(scope=LimitScope.TASK, name="limited", concurrency=1),
        Limit(scope=LimitScope.KEY, name="customer", concurrency=2),
        Limit(scope=LimitScope.KEY, name="customer:vip", concurrency=3),
        Limit(scope=LimitScope.KEY, name="site", rate=Rate(1, MINUTE, 1)),
    ):
        await store.put_limit(record)
    for key in ("customer:1", "customer:vip"):
        for priority in (5, 5, 5, 5, 7, 2):
            await maker.put("keyed", queue="keyed", limit_key=key, priority=priority)
    for key in ("site:a", "site:a", "site:b"):
        await maker.put("keyed", queue="keyed", limit_key=key)
    await maker.put("keyed", queue="keyed", limit_key="customer:2", delay=HOUR)
    await maker.put("keyed", queue="keyed", limit_key="free")
    await maker.put("keyed", queue="mail", limit_key="customer:1")
    for _ in range(3):
        await maker.put("limited", queue="limited")
    worker = await maker.open("runs-keyed")
    running = await worker.claim(lanes=(Lane("keyed"), Lane("limited"), Lane("mail")))
    assert len(running) > 6
    await worker.end(running[0])
    suspect = await maker.put("keyed", queue="keyed-suspect", limit_key="customer:3")
    await lose(maker, suspect, "keyed-suspect", 2)


async def leave_edges(maker: Maker) -> None:
    """A workflow half-way through: some dependants released, some behind the cursor, some waiting for more."""
    worker = await maker.open("releases")
    parent, other, failing = [await maker.put(queue=f"parent-{n}") for n in range(3)]
    for n in range(8):
        await maker.put(queue="child", parents=(Parent(parent),), limit_key="customer:9" if n % 2 else None)
    await maker.put(queue="child", parents=(Parent(parent), Parent(other)))
    await maker.put(queue="child", parents=(Parent(other, EdgePolicy.DONE), Parent(failing)), unique=Unique("waits"))
    child = await maker.put(queue="child", parents=(Parent(failing),))
    await maker.put(queue="child", parents=(Parent(child),))
    await worker.end(await worker.claim_of(parent, "parent-0"), result=b"1")
    await worker.end(await worker.claim_of(failing, "parent-2"), Outcome.DEAD, error=error("builtins.KeyError", "'a'"))
    await maker.store.close(worker.session)


async def make(folder: Path, path: Path) -> None:
    """Make the database, and write both files."""
    maker = Maker(path)
    await fill(maker)
    said = await snapshot.take(maker.store)
    await maker.store.aclose()
    db = sqlite3.connect(path)
    db.execute("UPDATE meta SET sequence_owner = zeroblob(8)")  # the one thing that is random
    db.commit()
    (folder / "layout_1.sql").write_text("\n".join(db.iterdump()) + "\n")
    db.close()
    found = {
        "now": said.now,
        "fields": JobRecord.__struct_fields__,
        "jobs": [plain(said.jobs[key]) for key in sorted(said.jobs)],
        "limits": [plain(record) for record in said.limits],
        "sessions": [plain(said.sessions[key]) for key in sorted(said.sessions)],
    }
    lines = [f"{json.dumps(name)}: {_rows(value)}" for name, value in found.items()]
    (folder / "layout_1.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


def _rows(value: Any) -> str:
    if not isinstance(value, list):
        return json.dumps(value)
    return "[\n" + ",\n".join(json.dumps(row, ensure_ascii=False) for row in value) + "\n]"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        asyncio.run(make(Path(sys.argv[1]), Path(scratch) / "jobs.db"))
