"""In SQLite the first job of a line has its turn, and nobody else; a line that is barred has its turn in the bar."""

import random
import sqlite3
from pathlib import Path

import msgspec
import pytest

from windlass.core.clock import MINUTE, SECOND
from windlass.core.lifecycle import Outcome
from windlass.core.model import NewJob
from windlass.core.records import JobFilter, Limit, LimitScope, Rate
from windlass.store.sqlite import SQLiteStore
from windlass.testing.clock import ManualClock
from windlass.testing.conformance.env import Env, Worker, ended

STEPS = 400


def check(db: sqlite3.Connection) -> int:
    """Compare turns and bars with the jobs; say how many lines there are."""
    ready = db.execute(
        "SELECT lane, task, limit_key, rank, turn, seq FROM jobs "
        "WHERE state = 2 AND suspect = 0 AND limit_key IS NOT NULL ORDER BY lane, task, limit_key, rank, seq"
    ).fetchall()
    lines: dict[tuple[object, ...], list[int | None]] = {}
    for *line, turn, _ in ready:
        lines.setdefault(tuple(line), []).append(turn)
    barred = set(db.execute("SELECT lane, task, key, rank FROM bars").fetchall())
    assert barred <= lines.keys(), "no bar outlives its line"
    for line, (first, *others) in lines.items():
        assert (first is None) == (line in barred), f"line {line} has a turn unless it is barred"
        assert not any(others), f"line {line}: only the first job has a turn"
    elsewhere = db.execute("SELECT count(*) FROM jobs WHERE turn IS NOT NULL AND (state <> 2 OR limit_key IS NULL)")
    assert elsewhere.fetchone() == (0,)
    turns = [turn for (turn,) in db.execute("SELECT turn FROM jobs WHERE turn IS NOT NULL")]
    assert len(set(turns)) == len(turns), "no two lines have the same turn"
    return len(lines)


async def act(env: Env, chance: random.Random, worker: Worker, sent: list[list[NewJob]]) -> None:
    """Do something that may move jobs with limit keys."""
    keys = [f"g:{chance.choice('abcd')}" for _ in range(chance.randint(1, 5))]
    match chance.randrange(10):
        case 0 | 1 | 2:
            how = chance.choice([{}, {}, {"delay": SECOND}, {"expires_in": MINUTE}])
            jobs = [env.job(limit_key=key, priority=chance.randint(4, 5), **how) for key in keys]
            await env.put_all([*jobs, env.job()])
            sent.append(jobs)
            # What was stored before, and may have ended, beside new jobs of the same keys.
            before = [job for job in chance.choice(sent) if not job.delay and job.expires_in is None]
            await env.enqueue([*before, *(msgspec.structs.replace(job, id=env.id()) for job in before)])
        case 3 | 4 | 5 | 6:
            jobs_claimed = await worker.claim(chance.choice([1, 3, 20]))
            how_many = chance.randint(0, len(jobs_claimed))
            outcomes = [chance.choice(list(Outcome)) for _ in range(how_many)]
            if chance.random() < 0.5:
                outcomes = [Outcome.SUCCEEDED] * how_many
            pairs = zip(chance.sample(jobs_claimed, how_many), outcomes, strict=True)
            await worker.settle_all(*(ended(job, outcome) for job, outcome in pairs))
            if chance.random() < 0.5:
                await env.store.unclaim(worker.id, worker.number)
        case 7:
            await env.advance(chance.choice([SECOND, MINUTE]))
            await env.store.promote()
        case 8:
            page = await env.store.list_jobs(JobFilter(), limit=100)
            ids = [job.id for job in page.jobs]
            await env.store.cancel(chance.sample(ids, min(50, len(ids))))
            await env.store.replay(chance.sample(ids, min(3, len(ids))))
        case 9:
            rate = chance.choice([None, Rate(1, SECOND, 2)])
            limit = Limit(scope=LimitScope.KEY, name="g", concurrency=chance.choice([None, 1, 2]), rate=rate)
            await env.store.put_limit(limit)


@pytest.mark.parametrize("number", range(3))
async def test_turns_follow_the_jobs(tmp_path: Path, number: int) -> None:
    chance = random.Random(number)
    clock = ManualClock()
    store = SQLiteStore(tmp_path / "w.db", clock=clock)

    async def move_clock(by: int) -> None:
        clock.move(by)

    env = Env(store, move_clock)
    await store.connect()
    db = sqlite3.connect(tmp_path / "w.db")
    worker = await env.worker()
    most = bars = 0
    sent: list[list[NewJob]] = []
    for step in range(STEPS):
        await act(env, chance, worker, sent)
        if step % 40 == 39:
            await env.reap(worker)
            worker = await env.worker()
        most = max(most, check(db))
        bars += db.execute("SELECT count(*) FROM bars").fetchone()[0]
    db.close()
    await env.close()
    assert most > 4
    assert bars > 10
