"""Schedules of every store against those of the reference: the same history, the same answers, and each step once."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from tests.servers.database import Database
from windlass.core.clock import DAY, HOUR, SECOND, Instant
from windlass.core.ids import id_from
from windlass.core.model import NewJob, Settings, Unique
from windlass.core.schedules import KEEP_DELETED, FireStatus, Firing, NewSchedule, ScheduleRecord
from windlass.store.memory import MemoryStore
from windlass.store.port import Store
from windlass.store.redis import RedisStore
from windlass.store.sqlite import SQLiteStore
from windlass.testing.clock import ManualClock

NAMES = ("a", "b", "c", "é")
STEPS = 60


class Twins:
    """A store and the reference, to which everything is done alike."""

    def __init__(self, store: Store, clock: ManualClock, rng: random.Random) -> None:
        self.clock = clock
        self.stores = (store, MemoryStore("", Settings(), clock))
        self.rng = rng
        self.serial = 0
        self.seen: dict[str, ScheduleRecord] = {}
        """Records as somebody has read them, perhaps long ago."""
        self.stepped: set[tuple[str, Instant]] = set()
        """(name, fire time) of all jobs that were stored."""

    async def both(self, verb: str, *arguments: Any, **more: Any) -> Any:
        """Call both; they must say the same."""
        answers = [await getattr(store, verb)(*arguments, **more) for store in self.stores]
        assert answers[0] == answers[1], (verb, arguments)
        return answers[1]

    async def step(self) -> None:
        act = self.rng.choice([self.put, self.put, self.fire, self.fire, self.fire, self.delete, self.read, self.wait])
        await act()

    def version(self, name: str) -> int:
        known = self.seen.get(name)
        return self.rng.choice([0, 0 if known is None else known.version, self.rng.randrange(4)])

    async def put(self) -> None:
        puts = []
        for name in self.rng.sample(NAMES, self.rng.randint(1, 3)):
            at = self.rng.choice([None, self.clock() + self.rng.randint(-3, 10) * SECOND])
            puts.append(
                NewSchedule(
                    name=name,
                    definition=self.rng.choice([b"{}", b"[]"]),
                    version=self.version(name),
                    next=at,
                    paused=self.rng.random() < 0.2,
                )
            )
        await self.both("put_schedules", puts)
        if self.rng.random() < 0.3:
            await self.both("put_schedules", puts)

    def firing(self, record: ScheduleRecord) -> Firing:
        assert record.next is not None
        last = record.next + self.rng.choice([0, 0, SECOND])
        jobs = tuple(self.new_job() for _ in range(self.rng.randint(0, 2)))
        return Firing(
            name=record.name,
            version=record.version + self.rng.choice([0, 0, 0, 1]),
            due=record.next + self.rng.choice([0, 0, 0, 0, -1]),
            last=last,
            next=self.rng.choice([None, last + SECOND, last + HOUR]),
            jobs=jobs,
            skipped=self.rng.randint(0, 2),
        )

    def new_job(self) -> NewJob:
        self.serial += 1
        job_id = id_from(self.clock(), self.serial.to_bytes(16, "big"))
        unique = Unique("k") if self.rng.random() < 0.3 else None
        limit_key = "g:1" if self.rng.random() < 0.2 else None
        return NewJob(id=job_id, task="t", payload=b"{}", unique=unique, limit_key=limit_key)

    async def fire(self) -> None:
        records = [record for record in self.seen.values() if record.next is not None]
        chosen = self.rng.sample(records, min(len(records), self.rng.randint(1, 3)))
        firings = [self.firing(record) for record in chosen]
        answers = await self.both("fire", firings)
        for firing, answer in zip(firings, answers, strict=True):
            if answer.status is FireStatus.FIRED:
                assert (firing.name, firing.due) not in self.stepped, "a step was made twice"
                self.stepped.add((firing.name, firing.due))
        again = await self.both("fire", firings)
        assert {answer.status for answer in again} <= {FireStatus.STALE}

    async def delete(self) -> None:
        await self.both("delete_schedules", self.rng.sample(NAMES, self.rng.randint(1, 2)))

    async def read(self) -> None:
        due = await self.both("due_schedules", self.rng.randint(1, 4))
        assert [record.next for record in due.schedules] == sorted(record.next or 0 for record in due.schedules)
        page = await self.both("list_schedules", limit=self.rng.randint(1, 4))
        for record in [*due.schedules, *page.schedules]:
            self.seen[record.name] = record

    async def wait(self) -> None:
        self.clock.move(self.rng.choice([SECOND, SECOND, 5 * SECOND, HOUR, DAY, KEEP_DELETED]))
        await self.both("purge", 100)

    async def check(self) -> None:
        """All that can be seen is the same."""
        await self.both("get_schedules", list(NAMES))
        await self.both("counts")
        for record in await self.both("get_schedules", list(NAMES)):
            if record is not None and record.next is not None and record.last is not None:
                assert record.next > record.last


@pytest.fixture(params=["sqlite", "redis", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Store, ManualClock]:
    clock = ManualClock()
    if request.param == "sqlite":
        return SQLiteStore(tmp_path / "w.db", Settings(), clock), clock
    if request.param == "redis":
        return RedisStore(request.getfixturevalue("redis_url"), Settings(), clock), clock
    database: Database = request.getfixturevalue("postgres_database")
    return database.store(Settings(), clock), clock


async def history(store: Store, clock: ManualClock, rng: random.Random, steps: int) -> None:
    twins = Twins(store, clock, rng)
    try:
        for _ in range(steps):
            await twins.step()
            await twins.check()
    finally:
        for each in twins.stores:
            await each.aclose()


@pytest.mark.parametrize("number", range(8))
async def test_the_same_histories_as_always(store: tuple[Store, ManualClock], number: int) -> None:
    await history(*store, random.Random(number), STEPS)


@pytest.mark.soak
@pytest.mark.parametrize("number", range(20))
async def test_new_histories(store: tuple[Store, ManualClock], rng: random.Random, number: int) -> None:
    await history(*store, random.Random(rng.random() + number), 10 * STEPS)
