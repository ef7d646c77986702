"""A small limit key beside a large one, through a real worker: it is served within a few claims."""

import asyncio
from typing import Any

import pytest

from tests.integration.engine_harness import enqueue, new_job, running, spec
from windlass.core.model import ClaimAnswer
from windlass.core.records import Limit, LimitScope
from windlass.store.port import Store

MANY = 20_000
FEW_CLAIMS = 2


class Claims:
    """A store that remembers which limit keys each of its claims brought. Twins share what they remember."""

    def __init__(self, store: Any, brought: list[list[str | None]]) -> None:
        self._store = store
        self.brought = brought

    def twin(self) -> "Claims":
        return Claims(self._store.twin(), self.brought)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def claim(self, *args: Any) -> ClaimAnswer:
        return self._noted(await self._store.claim(*args))

    async def settle(self, *args: Any) -> Any:
        result = await self._store.settle(*args)
        if result.claim is not None:
            self._noted(result.claim)
        return result

    def _noted(self, answer: ClaimAnswer) -> ClaimAnswer:
        if answer.jobs:
            self.brought.append([job.limit_key for job in answer.jobs])
        return answer


@pytest.mark.parametrize("concurrency", [None, 2], ids=["unlimited", "two at once of each"])
@pytest.mark.parametrize("slots", [1, 10])
@pytest.mark.parametrize("fast", [0.0, 1.0], ids=["a job a slot", "ahead"])
async def test_a_small_key_is_served_within_a_few_claims_beside_a_large_one(
    store: Store, monkeypatch: pytest.MonkeyPatch, slots: int, fast: float, concurrency: int | None
) -> None:
    monkeypatch.setattr("windlass.engine.lanes.FAST", fast)
    ran = 0
    under_way, served = asyncio.Event(), asyncio.Event()

    async def work(small: bool = False) -> None:
        nonlocal ran
        ran += 1
        if ran == 50:
            under_way.set()
        if small:
            served.set()

    await store.put_limit(Limit(scope=LimitScope.KEY, name="customer", concurrency=concurrency))
    await enqueue(store, *(new_job("work", limit_key="customer:large") for _ in range(MANY)))
    claims = Claims(store, [])
    async with running(claims, spec(work), concurrency=slots):  # type: ignore[arg-type]
        await asyncio.wait_for(under_way.wait(), 20)
        await enqueue(store, new_job("work", {"small": True}, limit_key="customer:small"))
        before = len(claims.brought)
        await asyncio.wait_for(served.wait(), 20)
    first = next(n for n, keys in enumerate(claims.brought) if "customer:small" in keys)
    # One claim may have been on its way while the job was enqueued.
    assert first - before <= FEW_CLAIMS, claims.brought[before : first + 1]
    assert ran < MANY, "the large key was not done: there was something to be beside"
