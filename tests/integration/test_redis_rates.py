"""Rates with numbers that neither doubles nor Lua's texts can hold: Redis beside the store that counts exactly."""

import random

import pytest

from tests.integration.sqlite_harness import new_job, open_session, request
from windlass.core.clock import DAY, HOUR, SECOND, Span
from windlass.core.lifecycle import Outcome
from windlass.core.model import MAX_BATCH, Settlement
from windlass.core.records import Limit, LimitScope, Rate
from windlass.core.redis_url import RedisURL
from windlass.store.memory import MemoryStore
from windlass.store.port import Store
from windlass.store.redis import RedisStore
from windlass.testing.duel import ManualClock

JOBS = 10_000
RATES = {
    "tiny": (Rate(1, 30 * DAY, 300), 30 * DAY),
    "tiny, with a burst beyond 53 bits": (Rate(1, 30 * DAY, 1_000_000), 30 * DAY),
    "waits beyond 53 bits": (Rate(999_983, 30 * DAY - 1, 5000), 3 * SECOND),
    "tiny, and odd": (Rate(7, 30 * DAY - 1, 999_983), 6 * DAY),
    "huge": (Rate(1_000_000, 1, 1_000_000), 2),
    "huge, over a long time": (Rate(999_983, 30 * DAY - 1, 1000), 2 * HOUR),
    "a few, over and over": (Rate(3, 7, 2), 5),
    "usual": (Rate(1000, HOUR, 100), 9 * SECOND),
}
"""Rates, and how long the clock moves at most between two claims."""


class Side:
    """One of the two stores: claims, ends what it took, and says how much that was and when there is more."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._number = 0

    async def begin(self, rate: Rate) -> None:
        await self.store.connect()
        self._session = await open_session(self.store)
        await self.store.put_limit(Limit(scope=LimitScope.QUEUE, name="default", rate=rate))
        for _ in range(0, JOBS, MAX_BATCH):
            await self.store.enqueue([new_job() for _ in range(MAX_BATCH)], first_sent=await self.store.now())

    async def claim(self, most: int) -> int:
        self._number += 1
        taken = (await self.store.claim(self._session, request(self._number, most))).jobs
        ends = [Settlement(job.id, job.token, Outcome.SUCCEEDED) for job in taken]
        await self.store.settle(self._session, ends)
        return len(taken)

    async def wait(self) -> Span:
        (found,) = await self.store.rate_waits([(LimitScope.QUEUE, "default")])
        return found


@pytest.mark.parametrize("name", RATES)
async def test_a_long_series_of_starts_is_that_of_the_store_that_counts_exactly(name: str, redis_url: RedisURL) -> None:
    rate, longest = RATES[name]
    clock, chance = ManualClock(), random.Random(name)  # always the same: the last microsecond may be another
    exact, redis = Side(MemoryStore(clock=clock)), Side(RedisStore(redis_url, clock=clock))
    await exact.begin(rate)
    await redis.begin(rate)
    for _ in range(200):
        most = chance.choice([1, 1, 2, 50, 200])
        assert await redis.claim(most) == await exact.claim(most)
        assert abs(await redis.wait() - await exact.wait()) <= 1
        clock.move(chance.randint(0, longest))
    await redis.store.aclose()
    await exact.store.aclose()
