"""Hints and the sleep of a worker: whatever comes between two steps, nothing waits for the poll."""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from functools import partial
from random import Random
from typing import Any

import pytest

from tests.integration.engine_harness import all_in, enqueue, eventually, new_job, running, spec
from windlass.core.lifecycle import State
from windlass.core.model import ClaimAnswer, ClaimRequest, Settlement, SettleResult
from windlass.engine import worker as worker_module
from windlass.store.port import Store


@spec
async def work() -> None: ...


class SlowAnswers:
    """A store whose answers that nothing was claimable stay on their way, while `slow` is set."""

    def __init__(self, store: Store, shared: "SlowAnswers | None" = None) -> None:
        self._store = store
        self._shared = shared or self
        if shared is None:
            self.slow = asyncio.Event()
            self.on_its_way = asyncio.Event()
            self.arrives = asyncio.Event()

    def twin(self) -> "SlowAnswers":
        return SlowAnswers(self._store.twin(), self._shared)

    async def claim(self, session: bytes, request: ClaimRequest) -> ClaimAnswer:
        answer = await self._store.claim(session, request)
        await self._shared.carry(answer)
        return answer

    async def settle(
        self, session: bytes, settlements: Sequence[Settlement], claim: ClaimRequest | None = None
    ) -> SettleResult:
        result = await self._store.settle(session, settlements, claim)
        await self._shared.carry(result.claim)
        return result

    async def carry(self, answer: ClaimAnswer | None) -> None:
        if self.slow.is_set() and answer is not None and not answer.jobs:
            self.on_its_way.set()
            await self.arrives.wait()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


async def test_a_hint_that_comes_while_a_claim_is_under_way_is_not_lost(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its job may have become ready when the claim had looked already, and nothing else would wake the worker."""
    monkeypatch.setattr(worker_module, "POLL", 3600.0)
    slow = SlowAnswers(store)
    async with running(slow, work) as worker:  # type: ignore[arg-type]
        await worker.signals.wait_for("idle")
        slow.slow.set()
        first = await enqueue(store, new_job("work"))
        await asyncio.wait_for(slow.on_its_way.wait(), 10)
        heard = worker.worker._claimer._heard
        second = await enqueue(store, new_job("work"))
        await eventually(lambda: _has_heard(worker.worker, heard))
        slow.slow.clear()
        slow.arrives.set()
        await eventually(lambda: all_in(store, [*first, *second], State.SUCCEEDED))


async def _has_heard(worker: worker_module.Worker, before: int) -> bool:
    return worker._claimer._heard > before


async def test_jobs_one_after_the_other_never_wait_for_the_poll(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_module, "POLL", 3600.0)
    async with running(store, work) as worker:
        for number in range(1, 301):
            await enqueue(store, new_job("work"))
            await worker.settled(number)


async def test_no_job_is_left_to_the_poll_however_many_are_idle(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a store tells as few workers as there are jobs, none of those that it tells may be unable to come."""
    monkeypatch.setattr(worker_module, "POLL", 3600.0)
    random = Random(7)

    @spec
    async def nap(seconds: float) -> None:
        await asyncio.sleep(seconds)

    async with AsyncExitStack() as stack:
        for _ in range(6):
            await stack.enter_async_context(running(store, nap, concurrency=random.choice([1, 1, 2, 5])))
        for _ in range(150):
            naps = random.choices([0, 0, 0.001, 0.01], k=random.randint(1, 4))
            ids = await enqueue(store, *(new_job("nap", {"seconds": seconds}) for seconds in naps))
            if random.random() < 0.5:
                await eventually(partial(all_in, store, ids, State.SUCCEEDED))
            else:
                await asyncio.sleep(random.random() * 0.01)
        await eventually(partial(all_in, store, ids, State.SUCCEEDED))
        counts = await store.counts()
        assert {state for (_, state), _ in counts.items()} == {int(State.SUCCEEDED)}
