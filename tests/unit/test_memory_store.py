"""What the memory store promises beyond the port: names, loops, forks; and its own building blocks."""

from __future__ import annotations

import asyncio
import os
import threading
import uuid

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from windlass.core.clock import SECOND
from windlass.core.errors import StoreUnavailable, UsageError
from windlass.core.lifecycle import State
from windlass.core.model import STORED, ClaimRequest, Lane, NewJob, Session
from windlass.core.records import Limit, LimitScope, Rate
from windlass.store.memory import MemoryStore
from windlass.store.memory.line import Line
from windlass.testing.duel import ManualClock


def job(number: int = 1) -> NewJob:
    return NewJob(id=number.to_bytes(16, "big"), task="t", payload=b"{}")


async def put(store: MemoryStore, *jobs: NewJob) -> None:
    result = await store.enqueue(jobs, first_sent=await store.now())
    assert result.jobs == [STORED] * len(jobs)


async def knows(store: MemoryStore, number: int = 1) -> bool:
    return (await store.get_jobs([job(number).id])) != [None]


# -------------------------------------------------------------------------------------------------------- names


async def test_stores_of_one_name_are_one_store() -> None:
    name = uuid.uuid4().hex
    await put(MemoryStore(name), job())
    assert await knows(MemoryStore(name))
    assert not await knows(MemoryStore(name + "x"))
    assert MemoryStore(name).url == f"memory://{name}"


async def test_stores_without_a_name_are_private() -> None:
    store = MemoryStore()
    await put(store, job())
    assert not await knows(MemoryStore())
    assert await knows(store.twin())
    assert await knows(store.twin().twin())


async def test_data_of_a_name_stay_when_everybody_has_closed() -> None:
    store = MemoryStore(uuid.uuid4().hex)
    await put(store, job())
    await store.aclose()
    assert await knows(store.twin())


async def test_the_systems_clock_is_the_default() -> None:
    first = await MemoryStore().now()
    assert first > 1_700_000_000 * SECOND


# -------------------------------------------------------------------------------------------------- loops, threads


def test_a_store_object_belongs_to_one_loop_while_that_lives() -> None:
    store = MemoryStore()
    with asyncio.Runner() as one, asyncio.Runner() as other:
        one.run(store.connect())
        with pytest.raises(UsageError, match=r"belongs to another event loop; make a twin\(\)"):
            other.run(store.now())
        other.run(store.twin().now())
    # Its loop is gone: a script that calls asyncio.run twice may go on.
    asyncio.run(store.now())


def test_threads_share_the_jobs() -> None:
    store = MemoryStore()
    count, threads = 2_000, 4
    asyncio.run(fill(store, count))
    taken: list[list[bytes]] = [[] for _ in range(threads)]

    async def work(mine: MemoryStore, number: int) -> None:
        session = Session(id=number.to_bytes(16, "big"), node="n", pid=1)
        await mine.open(session)
        for request in range(1, count):
            answer = await mine.claim(session.id, ClaimRequest(request, (Lane("default", "", 7),)))
            if not answer.jobs:
                return
            taken[number] += [job.id for job in answer.jobs]

    workers = [threading.Thread(target=lambda n=n: asyncio.run(work(store.twin(), n))) for n in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    everything = [claimed for mine in taken for claimed in mine]
    assert len(everything) == len(set(everything)) == count


async def fill(store: MemoryStore, count: int) -> None:
    for start in range(0, count, 1000):
        await put(store, *(job(start + i) for i in range(min(1000, count - start))))


async def test_a_subscriber_whose_loop_is_gone_bothers_nobody() -> None:
    store = MemoryStore()
    twin = store.twin()

    def subscribe_and_leave() -> None:
        async def subscribe() -> None:
            twin.subscribe(["ready/default"], lambda: None)

        asyncio.run(subscribe())

    await asyncio.to_thread(subscribe_and_leave)
    await put(store, job(1))
    await put(store, job(2))


async def test_hints_that_come_together_wake_once() -> None:
    store = MemoryStore()
    woken: list[int] = []
    store.subscribe(["ready/default"], lambda: woken.append(1))
    for number in range(5):
        await put(store, job(number))
    await asyncio.sleep(0)
    assert woken == [1]


async def test_closing_the_store_ends_its_subscriptions() -> None:
    store = MemoryStore()
    woken: list[int] = []
    store.subscribe(["ready/default"], lambda: woken.append(1))
    twin = store.twin()
    await put(store, job(1))
    await store.aclose()
    await put(twin, job(2))
    await asyncio.sleep(0)
    assert woken == []
    assert len(store._data.listeners._by_channel) == 0
    with pytest.raises(StoreUnavailable):
        store.subscribe(["scheduled"], lambda: None)


# --------------------------------------------------------------------------------------------------------- forks


async def in_child(named: MemoryStore, private: MemoryStore) -> bool:
    assert not await knows(named), "what a child stored in a named store would be lost: it starts empty, like any other"
    await put(named, job(2))
    with pytest.raises(StoreUnavailable, match="before a fork"):
        await private.now()
    return True


def test_nothing_crosses_a_fork() -> None:
    name = uuid.uuid4().hex
    named, private = MemoryStore(name), MemoryStore()
    asyncio.run(put(named, job()))
    child = os.fork()
    if child == 0:
        good = False
        try:
            good = asyncio.run(in_child(named, private))
        finally:
            os._exit(0 if good else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert asyncio.run(knows(named))
    assert not asyncio.run(knows(named, 2))


# ------------------------------------------------------------------------------------------------- building blocks

moves = st.lists(st.tuples(st.sampled_from(["put", "discard", "first"]), st.integers(0, 8), st.integers(0, 5)))


@given(moves)
def test_a_line_is_a_sorted_list(steps: list[tuple[str, int, int]]) -> None:
    line: Line[int] = Line()
    model: dict[int, tuple[int, int]] = {}
    for what, thing, place in steps:
        if what == "put":
            line.put(thing, (place, thing))
            model[thing] = (place, thing)
        elif what == "discard":
            line.discard(thing)
            model.pop(thing, None)
        first = min(model.values(), default=None)
        assert line.first() == (None if first is None else (first, first[1]))
        assert len(line) == len(model)
        assert line.first_up_to(2) == (first[1] if first is not None and first[0] <= 2 else None)


def test_a_line_forgets_what_was_taken_out() -> None:
    line: Line[int] = Line()
    things = range(50)
    for turn in range(10_000):
        # Always the same two are moved, and the others, put in backwards, stay.
        line.put(turn % 2 - 2, (1000 + turn, turn))
        if turn < len(things):
            line.put(-turn + 100, (-turn, turn))
    assert len(line._heap) < 200
    order = []
    while (first := line.first()) is not None:
        order.append(first[0][0])
        line.discard(first[1])
    assert order == sorted(order)
    assert len(order) == len(things) + 2


async def test_lanes_and_buckets_do_not_pile_up() -> None:
    """A service that makes queues, keys and sessions of its own names for years must not grow by that."""
    clock = ManualClock()
    store = MemoryStore(clock=clock)
    for name in ("g:1", "g:2"):
        await store.put_limit(Limit(scope=LimitScope.KEY, name=name, concurrency=1))
    worker = Session(id=bytes(16), node="n", pid=1)
    await store.open(worker)
    for number in range(20):
        one = NewJob(id=number.to_bytes(16, "big"), task="t", payload=b"", queue=f"q{number}", limit_key=f"g:{number}")
        await put(store, one)
        answer = await store.claim(worker.id, ClaimRequest(number + 1, (Lane(one.queue),)))
        assert [job.id for job in answer.jobs] == [one.id]
    await store.close(worker.id)
    await store.cancel([number.to_bytes(16, "big") for number in range(20)])
    await store.put_limit(Limit(scope=LimitScope.KEY, name="h", rate=Rate(1)))
    await put(store, NewJob(id=b"h" * 16, task="t", payload=b"", limit_key="h:1"))
    await store.open(worker)
    await store.claim(worker.id, ClaimRequest(1, (Lane("default"),)))
    await store.cancel([b"h" * 16])
    await store.close(worker.id)
    data = store._data
    assert len(data.buckets) == 1
    clock.move(SECOND)
    await store.purge()
    assert len(data.buckets) == 0
    assert (len(data.running), len(data.held), len(data.sessions)) == (0, 0, 0)
    assert (len(data.ready), len(data.suspects), len(data.expiring)) == (0, 0, 0)
    assert {state for _, state in await store.counts()} == {State.CANCELLED}


# ------------------------------------------------------------------------------------------------------- bounds


@pytest.mark.parametrize("key", [None, "k"])
async def test_expired_jobs_are_a_bounded_detour_of_which_the_janitors_hear(key: str | None) -> None:
    clock = ManualClock()
    store = MemoryStore(clock=clock)
    told: list[str] = []
    subscription = store.subscribe(["scheduled"], lambda: told.append("scheduled"))
    for start in range(0, 3000, 1000):
        await put(
            store,
            *(msgspec.structs.replace(job(n), limit_key=key, expires_in=SECOND) for n in range(start, start + 1000)),
        )
    await put(store, msgspec.structs.replace(job(9999), priority=1))
    clock.move(SECOND)
    await store.open(Session(id=b"s" * 16, node="n", pid=1))
    answer = await store.claim(b"s" * 16, ClaimRequest(1, (Lane("default"),)))
    assert (answer.jobs, answer.more) == ([], True)
    await asyncio.sleep(0)
    assert told == ["scheduled"]
    while (await store.promote()).more:
        pass
    assert [found.id for found in (await store.claim(b"s" * 16, ClaimRequest(2, (Lane("default"),)))).jobs] == [
        job(9999).id
    ]
    subscription.close()
    await store.aclose()
