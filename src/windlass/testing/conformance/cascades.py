"""Bounded work along edges, and the cursor behind which the rest waits."""

from __future__ import annotations

from collections.abc import Sequence

from windlass.core.graph import EDGES_PER_SETTLEMENT, MAX_EDGES_PER_CALL, EdgePolicy
from windlass.core.lifecycle import Outcome, State
from windlass.core.model import KEEP_AT_LEAST, Lane, Parent, Progress
from windlass.store.port import Store
from windlass.testing.conformance.env import Env, ended
from windlass.testing.conformance.expect import holds, same

MANY = 600
"""More edges than two calls move."""
LATER = [Lane("later")]


async def _drain(store: Store, limit: int = MAX_EDGES_PER_CALL) -> list[Progress]:
    """Call `release_edges` until there is nothing more."""
    steps = [await store.release_edges(limit)]
    while steps[-1].more:
        holds(len(steps) < 5000, "release_edges says for ever that there is more")
        steps.append(await store.release_edges(limit))
    return steps


async def _count(env: Env, ids: Sequence[bytes], state: State) -> int:
    found = [
        record for start in range(0, len(ids), 500) for record in await env.store.get_jobs(ids[start : start + 500])
    ]
    return sum(record is not None and record.state is state for record in found)


async def check_a_settle_moves_so_many_edges_at_most(env: Env) -> None:
    parent = await env.put()
    children = await env.put_all(env.jobs(MANY, parents=[parent], queue="later"))
    worker = await env.worker()
    result = await worker.settle_all(ended(await worker.claim_one()))
    same(result.more_edges, True, "more_edges")
    released = await _count(env, children, State.READY)
    holds(0 < released <= MAX_EDGES_PER_CALL + EDGES_PER_SETTLEMENT, f"one settlement released {released} dependants")
    steps = await _drain(env.store)
    holds(all(step.done <= MAX_EDGES_PER_CALL for step in steps), f"release_edges moved too many: {steps}")
    same(await _count(env, children, State.READY), MANY, "dependants released in the end")
    same(await env.store.release_edges(), Progress(done=0), "progress where nothing is left")


async def check_few_edges_leave_nothing_behind(env: Env) -> None:
    parent = await env.put()
    children = await env.put_all(env.jobs(MAX_EDGES_PER_CALL, parents=[parent], queue="later"))
    worker = await env.worker()
    result = await worker.settle_all(ended(await worker.claim_one()))
    same(await _count(env, children, State.READY), MAX_EDGES_PER_CALL, "dependants released by the settle")
    if result.more_edges:
        await _drain(env.store)
    same(await env.store.release_edges(), Progress(done=0), "progress of the cursor")
    holds((await env.read(parent)).purge_at is None, "the parent may be purged, its dependants being unfinished")


async def check_several_that_succeed_together_release_within_the_bound(env: Env) -> None:
    """Each has fewer dependants than may be released at a time, all have more."""
    parents = await env.put_all(env.jobs(3))
    each = MAX_EDGES_PER_CALL * 2 // 3
    children = [child for one in parents for child in await env.put_all(env.jobs(each, parents=[one], queue="later"))]
    worker = await env.worker()
    result = await worker.settle_all(*map(ended, await worker.claim_all()))
    same(result.more_edges, True, "more_edges")
    released = await _count(env, children, State.READY)
    holds(
        0 < released <= MAX_EDGES_PER_CALL + 3 * EDGES_PER_SETTLEMENT,
        f"three settlements released {released} dependants",
    )
    await _drain(env.store)
    same(await _count(env, children, State.READY), 3 * each, "dependants released in all")


async def check_a_batch_of_chains_does_not_wait_for_a_janitor(env: Env) -> None:
    parents = await env.put_all(env.jobs(500))
    children = await env.put_all([env.job(parents=[parent], queue="later") for parent in parents])
    worker = await env.worker()
    result = await worker.settle_all(*map(ended, await worker.claim_all()))
    same(result.more_edges, False, "more_edges, each of 500 settlements having one dependant")
    same(await _count(env, children, State.READY), 500, "dependants released")


async def check_a_batch_of_steps_does_not_wait_for_a_janitor(env: Env) -> None:
    """Each of them has a parent, and a dependant in common with all the others."""
    start = await env.put()
    steps = await env.put_all(env.jobs(500, parents=[start]))
    last = await env.put(parents=steps, queue="later")
    worker = await env.worker()
    await worker.end(await worker.claim_one())
    await _drain(env.store)
    result = await worker.settle_all(*map(ended, await worker.claim_all()))
    same(result.more_edges, False, "more_edges, each of 500 settlements having two edges")
    await env.expect(last, State.READY, "all its parents have succeeded")
    holds((await env.read(start)).purge_at is not None, "the first one is not to be purged")


async def check_the_cursor_outlives_whoever_left_it(env: Env) -> None:
    """The worker that settled dies at once: any other goes on, on another connection."""
    parent = await env.put()
    children = await env.put_all(env.jobs(MANY, parents=[parent], queue="later"))
    twin = env.twin()
    worker = await env.worker(twin)
    await worker.settle_all(ended(await worker.claim_one()))
    await twin.aclose()
    await _drain(env.twin(), 100)
    same(await _count(env, children, State.READY), MANY, "dependants released")


async def check_each_dependant_is_released_once(env: Env) -> None:
    """It may run, and finish, while the cursor is still behind; the cursor leaves it alone."""
    parent = await env.put()
    await env.put_all(env.jobs(MANY, parents=[parent], queue="later"))
    worker = await env.worker()
    await worker.settle_all(ended(await worker.claim_one()))
    seen: list[bytes] = []
    more = True
    while more:
        jobs = await worker.claim(lanes=LATER)
        seen += [job.id for job in jobs]
        await worker.settle_all(*map(ended, jobs))
        more = (await env.store.release_edges(50)).more or bool(jobs)
    same((len(seen), len(set(seen))), (MANY, MANY), "jobs claimed, and how many of them different ones")


async def check_several_may_follow_the_cursor_at_once(env: Env) -> None:
    parent = await env.put()
    children = await env.put_all(env.jobs(MANY, parents=[parent], queue="later"))
    worker = await env.worker()
    await worker.settle_all(ended(await worker.claim_one()))
    stores = [env.store, env.twin(), env.twin()]
    more = True
    while more:
        more = any([(await store.release_edges(40)).more for store in stores])
    same(await _count(env, children, State.READY), MANY, "dependants released")


async def check_a_long_chain_of_cancellations_is_bounded(env: Env) -> None:
    chain = [env.job()]
    for _ in range(MANY):
        chain.append(env.job(parents=[chain[-1].id]))
    ids = await env.put_all(chain)
    await env.store.cancel(ids[:1])
    moved = await _count(env, ids, State.CANCELLED)
    holds(1 < moved <= MAX_EDGES_PER_CALL + 2, f"one cancel moved {moved} jobs of a chain of {MANY}")
    holds(len(await _drain(env.store)) > 1, "the rest of the chain came in one call")
    same(await _count(env, ids, State.CANCELLED), MANY + 1, "cancelled in the end")
    record = await env.read(ids[-1])
    holds(record.purge_at is not None, "the end of the chain is not to be purged")


async def check_a_wide_cancellation_is_bounded(env: Env) -> None:
    parent = await env.put()
    children = await env.put_all(env.jobs(MANY, parents=[parent]))
    await env.store.cancel([parent])
    moved = await _count(env, children, State.CANCELLED)
    holds(moved <= MAX_EDGES_PER_CALL, f"one cancel moved {moved} dependants")
    await _drain(env.store, 64)
    same(await _count(env, children, State.CANCELLED), MANY, "cancelled in the end")


async def check_a_cancellation_goes_on_behind_each_dependant_that_it_cancelled(env: Env) -> None:
    parent = await env.put()
    children = await env.put_all(env.jobs(MANY, parents=[parent]))
    grandchildren = await env.put_all([env.job(parents=[child]) for child in children])
    await env.store.cancel([parent])
    await _drain(env.store)
    same(await _count(env, grandchildren, State.CANCELLED), MANY, "dependants of dependants cancelled in the end")


async def check_a_job_with_many_parents_goes_once(env: Env) -> None:
    parents = await env.put_all(env.jobs(MANY))
    child = await env.put(parents=parents, queue="later")
    worker = await env.worker()
    jobs = await worker.claim_all()
    await worker.settle_all(*map(ended, jobs[:-1]))
    await _drain(env.store)
    record = await env.expect(child, State.WAITING, f"one of its {MANY} parents runs")
    same(record.parents_open, 1, "parents_open")
    await worker.end(jobs[-1])
    await env.expect(child, State.READY, "all its parents have succeeded")


async def check_closing_many_edges_is_bounded(env: Env) -> None:
    """When the fan-in finishes all its parents may go: that is as much work as releasing them was."""
    parents = await env.put_all(env.jobs(MANY))
    child = await env.put(parents=parents, queue="later")
    worker = await env.worker()
    await worker.settle_all(*map(ended, await worker.claim_all()))
    await _drain(env.store)
    result = await worker.settle_all(ended(await worker.claim_one(lanes=LATER)))
    same(result.more_edges, True, "more_edges")
    let_go = [record for job_id in parents if (record := await env.read(job_id)).purge_at is not None]
    holds(len(let_go) <= MAX_EDGES_PER_CALL + EDGES_PER_SETTLEMENT, f"one settlement let {len(let_go)} parents go")
    same((await env.read(child)).purge_at, None, "purge_at of the dependant, the cursor being behind it")
    await _drain(env.store)
    left = [job_id for job_id in parents if (await env.read(job_id)).purge_at is None]
    same(left, [], "parents that are kept although their dependant has finished")
    holds((await env.read(child)).purge_at is not None, "the dependant itself is not to be purged")


async def check_a_small_limit_gets_there_too(env: Env) -> None:
    top = await env.put()
    middle = [await env.put(parents=[top], queue="later") for _ in range(3)]
    bottom = await env.put(parents=[Parent(job_id, EdgePolicy.DONE) for job_id in middle], queue="last")
    worker = await env.worker()
    await worker.end(await worker.claim_one(), Outcome.DEAD)
    await _drain(env.store, 1)
    same(await env.states(middle), [State.CANCELLED] * 3, "states of those in the middle")
    await env.expect(bottom, State.READY, "its parents are all done")


async def check_what_is_purged_early_leaves_nobody_behind(env: Env) -> None:
    """A fan-in is still behind the cursor, closing its edges, when its own retention could be over."""
    parents = await env.put_all(env.jobs(MANY))
    fan_in = await env.put(parents=parents, queue="later")
    last = await env.put(parents=[fan_in], queue="last")
    worker = await env.worker()
    await worker.settle_all(*map(ended, await worker.claim_all()))
    await _drain(env.store)
    await worker.end(await worker.claim_one(lanes=LATER), keep=0)
    await worker.end(await worker.claim_one(lanes=[Lane("last")]), keep=0)
    await env.expect(last, State.SUCCEEDED, "settled")
    await env.advance(KEEP_AT_LEAST)
    await env.store.delete([fan_in])
    await env.store.purge()
    await _drain(env.store)
    left = [job_id for job_id in parents if (await env.read(job_id)).purge_at is None]
    same(left, [], "parents that are kept although their dependant has finished")
