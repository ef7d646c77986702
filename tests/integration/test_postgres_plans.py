"""How the server finds its rows: by indexes, whatever statistics say.

Small tables, and statistics that were taken when they were empty, are where a planner goes astray: both are made here,
and the plans are read that the functions were really carried out with.
"""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from tests.servers.database import migrated
from tests.servers.postgres import PostgresServer
from windlass.core.clock import SECOND
from windlass.core.graph import EdgePolicy
from windlass.core.ids import new_id
from windlass.core.lifecycle import Outcome
from windlass.core.model import ClaimRequest, Edge, Lane, NewJob, Note, Parent, Session, Settlement, Unique
from windlass.core.records import Limit, LimitScope, ReplayAnswer
from windlass.store.postgres.store import PostgresStore

BIG = ("jobs", "bodies", "done", "edges", "lines", "errors", "notes")
"""Tables that may be large."""
SETTINGS = {
    "fsync": "off",
    "autovacuum": "off",  # so that statistics stay as they are
    "shared_preload_libraries": "auto_explain",
    "auto_explain.log_min_duration": "0",
    "auto_explain.log_nested_statements": "on",
    "auto_explain.log_level": "log",
}


class Plans:
    """A store, and the plans of what it does."""

    def __init__(self, server: PostgresServer, store: PostgresStore, admin: Any) -> None:
        self._server = server
        self.store = store
        self.admin = admin
        self._read = 0
        self.session = new_id()
        self.request = 0

    def since(self) -> str:
        """What the server has logged since this was asked last."""
        text = self._server.log.read_text(errors="replace")
        new, self._read = text[self._read :], len(text)
        return new

    async def fill(self, jobs: int, **more: Any) -> None:
        for start in range(0, jobs, 1000):
            batch = [NewJob(id=new_id(), task="t", payload=b"{}", **more) for _ in range(min(1000, jobs - start))]
            await self.store.enqueue(batch, first_sent=await self.store.now())

    async def step(self, limit: int = 100, outcome: Outcome = Outcome.SUCCEEDED, held: Any = ()) -> Any:
        """Settle, and claim more."""
        self.request += 1
        request = ClaimRequest(self.request, (Lane("default", "", limit),))
        settlements = [
            Settlement(job.id, job.token, outcome, b"1" if outcome is Outcome.SUCCEEDED else None) for job in held
        ]
        result = await self.store.settle(self.session, settlements, request)
        assert result.claim is not None
        return result.claim.jobs


@asynccontextmanager
async def _opened(server: PostgresServer) -> AsyncIterator[Plans]:
    store, admin = PostgresStore(f"{server.url}?pool=1"), await asyncpg.connect(server.url)
    try:
        plans = Plans(server, store, admin)
        await store.open(Session(id=plans.session, node="n", pid=1))
        yield plans
    finally:
        await store.aclose()
        await admin.close()


@pytest.fixture
async def plans() -> AsyncIterator[Plans]:
    server = PostgresServer(**SETTINGS)
    with migrated(server):
        async with _opened(server) as made:
            await made.admin.execute("ANALYZE")  # of empty tables
            yield made


def scans(log: str) -> list[str]:
    """Tables that were read from end to end."""
    return [table for table in re.findall(r"Seq Scan on (\w+)", log) if table in BIG]


def walks(log: str) -> list[str]:
    """Statements that read an index from end to end, but for that of what runs, which workers bound, and for those that
    stop at the first entry, or at so many."""
    found = []
    for part in log.split("Query Text: ")[1:]:
        plan = re.sub(r"Limit .*\n.*Scan .*", "", part)
        tables = re.findall(
            r"Index (?:Only )?Scan (?:Backward )?using (?!jobs_held)\w+ on (\w+).*\n(?!\s*Index Cond)", plan
        )
        tables += re.findall(r"Bitmap Index Scan on (?!jobs_held)([a-z]+)_.*\n(?!\s*Index Cond)", plan)
        found += [part for table in tables if table in BIG]
    return found


async def test_no_verb_reads_a_table_from_end_to_end(plans: Plans) -> None:
    store = plans.store
    await plans.fill(50)
    await plans.fill(5, limit_key="g:1")
    await plans.fill(5, delay=SECOND, expires_in=9 * SECOND)
    parent = NewJob(id=new_id(), task="t", payload=b"{}", unique=Unique("k"))
    child = NewJob(id=new_id(), task="t", payload=b"{}", parents=(Parent(parent.id),))
    await store.enqueue([parent, child], first_sent=await store.now())
    await store.put_limit(Limit(scope=LimitScope.KEY, name="g", concurrency=1))
    held: Any = ()
    for outcome in (Outcome.RETRY, Outcome.SUCCEEDED, Outcome.RELEASED, Outcome.SUCCEEDED, Outcome.DEAD):
        held = await plans.step(20, outcome, held)
    await store.renew(plans.session, [(job.id, job.token) for job in held[1:]], plans.request)
    await store.unclaim(plans.session, plans.request)
    await store.observe()
    await store.reap(await store.observe())
    await store.promote()
    await store.release_edges()
    await store.purge()
    await store.cancel([parent.id])
    await store.replay([parent.id, child.id])
    await store.skip(parent.id, b"1")
    await store.delete([parent.id])
    await store.close(plans.session)
    log = plans.since()
    assert "Index Scan using jobs_ready on jobs" in log, "plans are in the log"
    assert scans(log) == []
    assert walks(log) == []


async def test_nor_do_graphs_and_workers_that_are_gone(plans: Plans) -> None:
    store, gone = plans.store, new_id()
    await plans.fill(20)
    parents = [NewJob(id=new_id(), task="t", payload=b"{}", priority=9) for _ in range(6)]
    kids = [
        NewJob(id=new_id(), task="t", payload=b"{}", parents=tuple(Parent(parent.id, policy) for parent in parents))
        for policy in EdgePolicy
    ]
    await store.enqueue([*parents, *kids], first_sent=await store.now())
    late = NewJob(id=new_id(), task="t", payload=b"{}", delay=9 * SECOND)
    edges = [Edge(parents[0].id, kids[0].id), Edge(late.id, kids[1].id)]
    await store.enqueue([late], edges, first_sent=await store.now())
    ids = [job.id for job in (*parents, *kids, late)]
    await store.open_parents(kids[0].id)
    held = await plans.step(2)
    await store.annotate(plans.session, [Note(job.id, job.token, 0.5, log="x") for job in held])
    held = await plans.step(2, Outcome.DEAD, held)
    held = await plans.step(2, held=held)
    await store.open(Session(id=gone, node="n", pid=2))
    await store.claim(gone, ClaimRequest(1, (Lane("default", "", 5),)))
    await plans.admin.execute("UPDATE windlass.sessions SET lease_until = 1 WHERE id = $1", UUID(bytes=gone))
    assert (await store.reap(await store.observe())).done == 5
    await plans.step(20, held=held)
    await store.reschedule([late.id], await store.now())
    await store.promote()
    await store.release_edges()
    await store.replay(ids)
    await store.get_jobs(ids)
    await store.results(ids)
    await store.cancel(ids)
    await store.delete(ids)
    await store.purge()
    log = plans.since()
    assert "edges_pkey" in log, "plans are in the log"
    assert scans(log) == []
    assert walks(log) == []


async def test_settling_goes_by_the_primary_key(plans: Plans) -> None:
    """However few jobs there were when the plan was made, and however many have run since: an index of what runs would
    have every dead entry looked at."""
    await plans.fill(3000)
    held: Any = ()
    for _ in range(12):
        held = await plans.step(200, held=held)
    await plans.admin.execute("ANALYZE")
    plans.since()
    for _ in range(3):
        held = await plans.step(200, held=held)
    log = plans.since()
    (settle, *_) = [part for part in log.split("Query Text: ") if part.startswith("WITH gone AS")]
    delete = settle[settle.index("Delete on jobs") :]
    assert "Index Scan using jobs_pkey on jobs" in delete
    assert "jobs_held" not in delete


async def test_replaying_takes_as_many_steps_as_the_job_has_parents(plans: Plans) -> None:
    """And dependants: no plan compares each with each."""
    parents = [NewJob(id=new_id(), task="t", payload=b"{}") for _ in range(20)]
    child = NewJob(id=new_id(), task="t", payload=b"{}", parents=tuple(Parent(parent.id) for parent in parents))
    kids = [NewJob(id=new_id(), task="t", payload=b"{}", parents=(Parent(child.id),)) for _ in range(20)]
    await plans.store.enqueue([*parents, child, *kids], first_sent=await plans.store.now())
    await plans.store.cancel([parent.id for parent in parents])
    plans.since()
    assert await plans.store.replay([child.id]) == [ReplayAnswer.REPLAYED]
    log = plans.since()
    assert "UPDATE edges e SET closed = false" in log, "plans are in the log"
    assert "Join Filter" not in log
    assert walks(log) == []


async def test_a_fan_in_is_marked_and_closed_by_the_primary_key(plans: Plans) -> None:
    """Where statistics say that no dependant has more than one edge: by the index of dependants, each edge of a fan-in
    would be looked for among all of them."""
    await _fan_in(plans, [1] * 20)
    await plans.admin.execute("ANALYZE")
    for _ in range(2):  # made for this, and kept for what comes
        await plans.step(20, held=await plans.step(20))
    await _fan_in(plans, [60])
    held = await plans.step(60)
    plans.since()
    await plans.step(60, held=await plans.step(60, held=held))
    updates = [part for part in plans.since().split("Query Text: ") if "Update on edges e" in part]
    assert any("SET outcome = 4" in part for part in updates)
    assert any("SET closed = true" in part for part in updates)
    for part in updates:
        assert "Index Scan using edges_pkey on edges e" in part
        assert "edges_marks" not in part


async def _fan_in(plans: Plans, counts: list[int]) -> None:
    for count in counts:
        parents = [NewJob(id=new_id(), task="t", payload=b"{}") for _ in range(count)]
        child = NewJob(id=new_id(), task="t", payload=b"{}", parents=tuple(Parent(parent.id) for parent in parents))
        await plans.store.enqueue([*parents, child], first_sent=await plans.store.now())


@pytest.mark.parametrize(
    "waiting",
    [100_000, pytest.param(1_000_000, marks=[pytest.mark.soak, pytest.mark.timeout(600)])],
)
async def test_a_claim_looks_at_what_it_takes_and_no_more(plans: Plans, waiting: int) -> None:
    """Rows read by the index of what is ready, while very many wait: with statistics of empty tables, with those of
    today, and when a twentieth of the entries is dead and nothing has been cleaned up."""
    await plans.admin.execute(f"""
        WITH new AS (
            INSERT INTO windlass.bodies (id, enqueued_at, task, queue, requires, payload)
            SELECT gen_random_uuid(), 1, 't', 'default', '', '{{}}' FROM generate_series(1, {waiting}) RETURNING id
        )
        INSERT INTO windlass.jobs (id, n, pos, lane, queue, task, state)
        SELECT id, s, (4::bigint << 49) | s, windlass.number_of(E'default\\n'), windlass.number_of('default'),
            windlass.number_of('t'), 2
        FROM (SELECT id, nextval('windlass.sequences') AS s FROM new) numbered
    """)
    await _check_claims(plans)
    await plans.admin.execute("ANALYZE")
    await _check_claims(plans)
    held: Any = ()
    for _ in range(waiting // 20 // 1000):
        held = await plans.step(1000, held=held)
        assert len(held) == 1000
    await plans.step(1, held=held)
    await _check_claims(plans)


async def _check_claims(plans: Plans) -> None:
    for _ in range(8):  # plans are made anew for some calls
        assert len(await plans.step(50)) == 50
    plans.since()
    assert len(await plans.step(50)) == 50
    log = plans.since()
    parts = log.split("Query Text: ")
    picks = ("picked := ARRAY(", "SELECT ARRAY(")  # the second is how PostgreSQL 13 says it
    (pick, *_) = [part for part in parts if part.startswith(picks) and "BETWEEN" not in part]
    assert "Index Scan using jobs_ready on jobs" in pick
    assert "Sort" not in pick, "the index gives the order"
    (take, *_) = [part for part in parts if part.startswith("WITH sized AS")]
    assert "Index Scan using jobs_pkey on jobs" in take
    assert "Index Scan using bodies_pkey on bodies" in take
    assert scans(log) == []
