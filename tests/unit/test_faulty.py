"""The store that fails on purpose: each fault does what it says to a real store, and nothing else."""

import random
from collections import Counter
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from windlass.core.errors import StoreUnavailable
from windlass.core.model import ClaimAnswer, ClaimRequest, Enqueued, Lane, NewJob, Refusal, Session
from windlass.core.records import JobFilter
from windlass.store.memory import MemoryStore
from windlass.testing.duel import ManualClock
from windlass.testing.faulty import Dice, Fault, FaultyStore, Outage, Script

JOB = NewJob(id=b"j" * 16, task="t", payload=b"{}", queue="q")
WORKER = Session(id=b"w" * 16, node="n", pid=1)


@pytest_asyncio.fixture
async def memory() -> AsyncIterator[MemoryStore]:
    store = MemoryStore(clock=ManualClock())
    await store.open(WORKER)
    yield store
    await store.aclose()


async def enqueue(store: FaultyStore) -> Enqueued:
    return (await store.enqueue([JOB], first_sent=await store.now())).jobs[0].status


async def is_stored(store: MemoryStore) -> bool:
    return (await store.get_jobs([JOB.id]))[0] is not None


async def test_without_a_fault_nothing_is_different(memory: MemoryStore) -> None:
    assert await enqueue(FaultyStore(memory, Script())) is Enqueued.STORED
    assert await is_stored(memory)


@pytest.mark.parametrize(("fault", "happened"), [(Fault.CRASH, False), (Fault.LATE, False), (Fault.LOST, True)])
async def test_a_call_without_an_answer(memory: MemoryStore, fault: Fault, happened: bool) -> None:
    script = Script()
    store = FaultyStore(memory, script)
    script.then(Fault.NONE, fault)  # `now` is the first call
    with pytest.raises(StoreUnavailable, match="injected"):
        await enqueue(store)
    assert await is_stored(memory) is happened


async def test_a_late_call_happens_when_it_is_delivered(memory: MemoryStore) -> None:
    script = Script()
    store = FaultyStore(memory, script)
    await enqueue(store)
    script.then(Fault.LATE)
    request = ClaimRequest(1, (Lane("q"),))
    with pytest.raises(StoreUnavailable):
        await store.claim(WORKER.id, request)
    await store.unclaim(WORKER.id, 1)
    answer = await store.deliver()
    assert isinstance(answer, ClaimAnswer)
    assert answer.refused is Refusal.STALE_REQUEST
    assert store.late == []


async def test_a_repeated_call_answers_what_the_second_said(memory: MemoryStore) -> None:
    script = Script()
    store = FaultyStore(memory, script)
    await enqueue(store)
    script.then(Fault.REPEATED)
    assert await store.delete([JOB.id]) == 0
    script.then(Fault.REPEATED)
    assert [answer.name for answer in await store.cancel([JOB.id])] == ["FINISHED"]


async def test_a_plan_cannot_repeat_what_its_contract_forbids(memory: MemoryStore) -> None:
    script = Script()
    store = FaultyStore(memory, script)
    script.then(Fault.REPEATED)
    with pytest.raises(ValueError, match="claim"):
        await store.claim(WORKER.id, ClaimRequest(1, (Lane("q"),)))
    script.then(Fault.REPEATED)
    with pytest.raises(ValueError, match=r"settle\+claim"):
        await store.settle(WORKER.id, [], ClaimRequest(1, (Lane("q"),)))


async def test_an_outage_is_one_for_every_verb_and_every_twin(memory: MemoryStore) -> None:
    outage = Outage()
    store = FaultyStore(memory, outage)
    twin = store.twin()
    outage.down = True
    for call in (
        store.observe(),
        store.renew(WORKER.id, [], 0),
        store.list_jobs(JobFilter()),
        store.counts(),
        twin.promote(),
        twin.sessions(),
    ):
        with pytest.raises(StoreUnavailable):
            await call
    outage.down = False
    assert [record.session for record in await twin.sessions()] == [WORKER]
    await twin.aclose()


def test_dice_fall_as_often_as_they_are_told_to(rng: random.Random) -> None:
    dice = Dice(rng, {Fault.LOST: 0.2, Fault.REPEATED: 0.3}, spare=["renew"])
    drawn = Counter(dice("enqueue") for _ in range(10_000))
    assert 0.15 < drawn[Fault.LOST] / 10_000 < 0.25
    assert 0.25 < drawn[Fault.REPEATED] / 10_000 < 0.35
    assert drawn[Fault.CRASH] == 0
    assert {dice("renew") for _ in range(100)} == {Fault.NONE}
    assert Fault.REPEATED not in {dice("claim") for _ in range(1_000)}
