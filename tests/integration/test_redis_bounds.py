"""What one call costs the server, however many edges a job has."""

import re
from collections.abc import AsyncIterator, Sequence

import pytest

from tests.integration.redis_harness import enqueue, now
from tests.integration.sqlite_harness import new_job
from tests.servers.redis import RedisServer
from windlass.core.clock import DAY
from windlass.core.graph import MAX_EDGES_PER_CALL, EdgePolicy
from windlass.core.lifecycle import State
from windlass.core.model import KEEP, MAX_BATCH, STORED, Edge, NewJob, Parent
from windlass.core.redis_url import RedisURL
from windlass.store.redis import RedisStore
from windlass.testing.duel import ManualClock

PARENTS = 5000
MOST = 10 * MAX_EDGES_PER_CALL
"""Commands that a call may cost: some for each edge that it moves."""


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def store(redis_url: RedisURL, clock: ManualClock) -> AsyncIterator[RedisStore]:
    store = RedisStore(redis_url, clock=clock)
    await store.connect()
    yield store
    await store.aclose()


def commands(server: RedisServer) -> int:
    """How many commands the server has carried out, those of scripts included."""
    assert server.ask(b"PING\r\n") == b"+PONG\r\n"
    said = b""
    while b"cmdstat_ping" not in said:
        said = server.ask(b"INFO commandstats\r\n")
    return sum(int(calls) for calls in re.findall(rb":calls=(\d+)", said))


async def with_parents(store: RedisStore, count: int = PARENTS) -> tuple[NewJob, list[NewJob]]:
    """A job that waits for many others."""
    parents = [new_job() for _ in range(count)]
    for at in range(0, count, MAX_BATCH):
        await enqueue(store, *parents[at : at + MAX_BATCH])
    child = new_job(parents=[Parent(parents[0].id)])
    await enqueue(store, child)
    for at in range(1, count, MAX_BATCH):
        await add(store, [Edge(parent.id, child.id) for parent in parents[at : at + MAX_BATCH]])
    return child, parents


async def add(store: RedisStore, edges: Sequence[Edge]) -> None:
    await store.enqueue([], edges, first_sent=await now(store))


async def cancelled(store: RedisStore, job: NewJob) -> None:
    """End a job, and all that follows from that."""
    await store.cancel([job.id])
    while (await store.release_edges()).more:
        pass


async def purged_in_steps(store: RedisStore, server: RedisServer) -> int:
    """Purge until there is nothing more to do; each step is bounded. Answers how many steps it took."""
    steps, more = 0, True
    while more:
        before = commands(server)
        more = (await store.purge()).more
        assert commands(server) - before < MOST
        steps += 1
        assert steps < 1000
    return steps


async def test_a_purge_is_bounded_however_many_parents_a_job_has(
    store: RedisStore, clock: ManualClock, redis_server: RedisServer
) -> None:
    child, parents = await with_parents(store)
    await cancelled(store, child)
    clock.move(8 * DAY)
    assert await purged_in_steps(store, redis_server) >= PARENTS / MAX_EDGES_PER_CALL
    assert await store.get_jobs([child.id]) == [None]
    await ends_with_nothing_left(store, clock, redis_server, parents)


async def ends_with_nothing_left(
    store: RedisStore, clock: ManualClock, server: RedisServer, jobs: Sequence[NewJob]
) -> None:
    """Purge the rest of the jobs; no key that tells of a job or an edge may stay behind."""
    for at in range(0, len(jobs), MAX_BATCH):
        await store.cancel([job.id for job in jobs[at : at + MAX_BATCH]])
    while (await store.release_edges()).more:
        pass
    clock.move(8 * DAY)
    await purged_in_steps(store, server)
    keys = server.ask(b"KEYS *\r\n")
    kept = set(re.findall(rb"}:([a-z]+)\r\n", keys))
    assert kept <= {b"layout", b"seq"}, keys


async def test_deleting_by_hand_is_bounded_and_purges_finish_it(
    store: RedisStore, clock: ManualClock, redis_server: RedisServer
) -> None:
    child, parents = await with_parents(store)
    await cancelled(store, child)
    clock.move(DAY // 2)
    before = commands(redis_server)
    assert await store.delete([child.id]) == 1
    assert commands(redis_server) - before < MOST
    assert await store.get_jobs([child.id]) == [None]
    assert await purged_in_steps(store, redis_server) >= PARENTS / MAX_EDGES_PER_CALL - 1
    await ends_with_nothing_left(store, clock, redis_server, parents)


async def test_between_the_steps_parents_end_and_the_id_is_used_again(
    store: RedisStore, clock: ManualClock, redis_server: RedisServer
) -> None:
    """As after a death between two steps: nothing that is left of a job may be taken for its successor's."""
    child, parents = await with_parents(store, 1000)
    await cancelled(store, child)
    clock.move(8 * DAY)
    assert (await store.purge()).more
    again = new_job(id=child.id, parents=[Parent(parent.id) for parent in parents[:10]])
    answer = await store.enqueue([again], first_sent=await now(store))
    assert answer.jobs == [STORED]
    await store.cancel([parent.id for parent in parents[500:]])
    await store.skip(parents[0].id, b"1")
    while (await store.release_edges()).more:
        pass
    assert [record and record.state for record in await store.get_jobs([again.id])] == [State.WAITING]
    await purged_in_steps(store, redis_server)
    for parent in parents[1:9]:
        await store.skip(parent.id, b"1")
    assert [record and record.state for record in await store.get_jobs([again.id])] == [State.WAITING]
    await store.skip(parents[9].id, b"1")
    assert [record and record.state for record in await store.get_jobs([again.id])] == [State.READY]
    await ends_with_nothing_left(store, clock, redis_server, [again, *parents])


async def test_parents_that_are_replayed_between_the_steps(
    store: RedisStore, clock: ManualClock, redis_server: RedisServer
) -> None:
    child, parents = await with_parents(store, 1000)
    await store.cancel([parent.id for parent in parents])
    while (await store.release_edges()).more:
        pass
    clock.move(DAY // 2)
    assert await store.delete([child.id]) == 1
    await store.replay([parent.id for parent in parents])
    await ends_with_nothing_left(store, clock, redis_server, parents)


async def test_open_parents_are_read_in_steps(store: RedisStore, redis_server: RedisServer) -> None:
    child, parents = await with_parents(store)
    for parent in parents[:-1]:
        await store.skip(parent.id, b"1")
    redis_server.ask(b"CONFIG RESETSTAT\r\n")
    found = await store.open_parents(child.id)
    assert [(parent.id, parent.policy, parent.state) for parent in found] == [
        (parents[-1].id, EdgePolicy.SUCCEEDED, State.READY)
    ]
    said = redis_server.ask(b"INFO commandstats\r\n")
    scans, calls = (int(re.findall(rb"cmdstat_%s:calls=(\d+)" % name, said)[0]) for name in (b"hscan", b"evalsha"))
    assert scans <= 2 * calls


async def ended_in_steps(store: RedisStore, limit: int, most: int) -> None:
    """Go on behind the cursors, by as many edges at a time."""
    for _ in range(most):
        moved = await store.release_edges(limit)
        assert moved.done <= limit
        if not moved.more:
            return
    raise AssertionError("the cursors do not come to an end")


async def purge_instants(store: RedisStore, jobs: Sequence[NewJob]) -> set[int | None]:
    """When these jobs are to be purged."""
    found: set[int | None] = set()
    for at in range(0, len(jobs), MAX_BATCH):
        records = await store.get_jobs([job.id for job in jobs[at : at + MAX_BATCH]])
        found |= {record.purge_at for record in records if record is not None}
    return found


@pytest.mark.parametrize(("count", "limit"), [(1, 1), (4, 1), (5, 1), (700, 7), (2000, 256)])
async def test_parents_are_kept_until_the_last_edge_is_closed_however_many_there_are(
    store: RedisStore, clock: ManualClock, redis_server: RedisServer, count: int, limit: int
) -> None:
    """They are few and many, in the job's own fields and in a hash of their own; and a replay comes in between."""
    child, parents = await with_parents(store, count)
    last = new_job(parents=[Parent(child.id, EdgePolicy.DONE)])
    await enqueue(store, last)
    for parent in parents[1:]:
        await store.skip(parent.id, b"1")
    while (await store.release_edges()).more:
        pass
    assert await purge_instants(store, parents) == {None}
    await store.cancel([child.id])
    await store.release_edges(limit)
    await store.replay([child.id])
    assert await purge_instants(store, parents) == {None}
    await store.cancel([child.id, parents[0].id])
    await ended_in_steps(store, limit, 2 * count + 10)
    assert await purge_instants(store, parents) == {clock() + KEEP}
    assert [record and record.state for record in await store.get_jobs([last.id])] == [State.READY]
    await ends_with_nothing_left(store, clock, redis_server, [last])


async def test_what_is_marked_is_not_marked_again_for_what_is_to_be_closed(store: RedisStore) -> None:
    first = new_job()
    middle = new_job(parents=[Parent(first.id, EdgePolicy.DONE)])
    await enqueue(store, first, middle)
    await enqueue(store, *(new_job(parents=[Parent(middle.id)]) for _ in range(MAX_EDGES_PER_CALL + 44)))
    await store.cancel([middle.id])
    await ended_in_steps(store, 44, 20)


@pytest.mark.parametrize("count", [1, 3, 4, 5])
async def test_few_dependants_are_marked_in_steps_too(
    store: RedisStore, clock: ManualClock, redis_server: RedisServer, count: int
) -> None:
    """They are a list of their parent's until a step has room for a part of them."""
    first = new_job()
    middle = [new_job(parents=[Parent(first.id)]) for _ in range(MAX_EDGES_PER_CALL)]
    last = [new_job(parents=[Parent(one.id)]) for one in middle for _ in range(count)]
    await enqueue(store, first, *middle)
    for at in range(0, len(last), MAX_BATCH):
        await enqueue(store, *last[at : at + MAX_BATCH])
    await store.cancel([first.id])
    await ended_in_steps(store, 2, len(middle) * (count + 1))
    counts = await store.counts()
    assert {state: jobs for (_, state), jobs in counts.items() if jobs} == {
        State.CANCELLED: 1 + len(middle) + len(last)
    }
    await store.replay([first.id, middle[0].id, last[0].id])
    assert {record and record.state for record in await store.get_jobs([middle[0].id, last[0].id])} == {State.WAITING}
    await store.skip(first.id, b"1")
    await store.skip(middle[0].id, b"1")
    assert {record and record.state for record in await store.get_jobs([last[0].id])} == {State.READY}
    await ends_with_nothing_left(store, clock, redis_server, [last[0]])


async def test_what_is_armed_after_an_end_waits_for_the_next_one(store: RedisStore) -> None:
    """The parent's own marks are still on their way then."""
    first, middle = new_job(), new_job()
    await enqueue(store, first, middle)
    others = [new_job(parents=[Parent(first.id)]) for _ in range(2 * MAX_EDGES_PER_CALL)]
    child = new_job(parents=[Parent(middle.id), Parent(first.id)])
    await enqueue(store, child, *others)
    await store.cancel([first.id])
    assert [record and record.state for record in await store.get_jobs([child.id])] == [State.CANCELLED]
    await store.replay([child.id])
    while (await store.release_edges()).more:
        pass
    assert [record and record.state for record in await store.get_jobs([child.id])] == [State.WAITING]


async def test_the_end_of_a_job_with_very_many_parents_is_bounded(store: RedisStore, redis_server: RedisServer) -> None:
    child, _ = await with_parents(store)
    await store.cancel([child.id])
    steps, more = 0, True
    while more:
        before = commands(redis_server)
        more = (await store.release_edges()).more
        assert commands(redis_server) - before < MOST
        steps += 1
    assert steps >= PARENTS / MAX_EDGES_PER_CALL - 2
