"""Hints and the sleep of a worker: whatever comes between two steps, nothing waits for the poll."""

import asyncio
from typing import Any

import pytest

from tests.integration.engine_harness import all_in, enqueue, eventually, new_job, running, spec
from windlass.core.lifecycle import State
from windlass.core.model import ClaimAnswer, ClaimRequest
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
        shared = self._shared
        if shared.slow.is_set() and not answer.jobs:
            shared.on_its_way.set()
            await shared.arrives.wait()
        return answer

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
        await worker.settled(1)
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
