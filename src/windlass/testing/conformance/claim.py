"""What a claim takes, in which order, and how many."""

from __future__ import annotations

from windlass.core.clock import MINUTE, SECOND
from windlass.core.errors import UsageError
from windlass.core.lifecycle import Outcome, State
from windlass.core.model import MAX_BATCH, MAX_LANES, Lane
from windlass.testing.conformance.env import Env
from windlass.testing.conformance.expect import holds, raises, same
from windlass.testing.conformance.marks import sets_clock_back


async def check_higher_priorities_come_first(env: Env) -> None:
    ids = {priority: await env.put(priority=priority) for priority in (5, 0, 9, 7, 1)}
    same(await env.claim_ids(), [ids[9], ids[7], ids[5], ids[1], ids[0]], "order of claiming")


async def check_equals_come_in_the_order_of_becoming_ready(env: Env) -> None:
    """Not by id: that is the producer's clock. And not by the time of enqueueing: see `promote`."""
    ids = [await env.put() for _ in range(6)]
    holds(ids != sorted(ids), "the ids of this check should not be in order")
    same(await env.claim_ids(), ids, "order of claiming")


async def check_several_claims_go_on_in_order(env: Env) -> None:
    ids = await env.put_all(env.jobs(7))
    worker = await env.worker()
    claimed = [[job.id for job in await worker.claim(limit)] for limit in (3, 1, 10)]
    same(claimed, [ids[:3], ids[3:4], ids[4:]], "claimed by 3, by 1, by 10")


async def check_lanes_are_tried_in_the_given_order(env: Env) -> None:
    """Priorities compare within a lane only, so that rotation is the worker's to decide."""
    urgent = await env.put(queue="a", priority=9)
    slow = await env.put(queue="b", priority=0)
    worker = await env.worker()
    first = await worker.claim_one(lanes=[Lane("b", "", 1), Lane("a", "", 1)])
    same(first.id, slow, "the first job, lane b named first")
    same((await worker.claim_one(lanes=[Lane("b", "", 1), Lane("a", "", 1)])).id, urgent, "the next")


async def check_until_bounds_what_the_call_holds_in_all(env: Env) -> None:
    """Any lane may fill the free slots; only some may go beyond."""
    a, b, c = [[await env.put(queue=queue) for _ in range(4)] for queue in "abc"]
    lanes = [Lane("a", "", 2), Lane("b", "", 5), Lane("c", "", 3)]
    same(await env.claim_ids(lanes=lanes), [*a[:2], *b[:3]], "claimed: 2 of a, up to 5 in all of b, none of c")
    lanes = [Lane("c", "", 6), Lane("a", "", 5)]
    same(await env.claim_ids(lanes=lanes), [*c, a[2]], "claimed: all 4 of c, then up to 5 in all of a")
    same(await env.claim_ids(lanes=[Lane("b", "", 0)]), [], "claimed from a lane until 0")


async def check_a_lane_is_a_queue_with_a_requirement(env: Env) -> None:
    plain, gpu = await env.put(), await env.put(requires="gpu=1")
    same(await env.claim_ids(lanes=[Lane("default", "gpu=1")]), [gpu], "claimed from the lane with the requirement")
    same(await env.claim_ids(lanes=[Lane("default")]), [plain], "claimed from the lane without")


async def check_nothing_comes_from_lanes_that_are_not_named(env: Env) -> None:
    await env.put(queue="other")
    same(await env.claim_ids(lanes=[]), [], "claimed from no lanes")
    same(await env.claim_ids(lanes=[Lane("nobody"), Lane("default")]), [], "claimed from empty lanes")


async def check_lanes_are_bounded(env: Env) -> None:
    last = await env.put(queue=f"q{MAX_LANES - 1}")
    worker = await env.worker()
    lanes = [Lane(f"q{i}") for i in range(MAX_LANES)]
    many = worker.claim(lanes=[*lanes, Lane("one-more")])
    await raises(UsageError, many, f"claiming from {MAX_LANES + 1} lanes")
    same([job.id for job in await worker.claim(lanes=lanes)], [last], "claimed from as many lanes as are allowed")
    settling = worker.settle_all(claim=worker.request(lanes=[*lanes, Lane("one-more")]))
    await raises(UsageError, settling, "the same in a settle")


async def check_one_call_takes_a_batch_at_most(env: Env) -> None:
    for lanes in ([Lane("default"), Lane("default")], [Lane("default", "", 5 * MAX_BATCH)]):
        await env.put_all(env.jobs(MAX_BATCH + 10))
        got = await env.claim_ids(lanes=lanes)
        holds(0 < len(got) <= MAX_BATCH, f"one claim took {len(got)} jobs, at most {MAX_BATCH} are allowed")


async def check_payloads_are_bounded_together(env: Env) -> None:
    big = b"x" * 400
    ids = [await env.put(payload=big) for _ in range(3)]
    other = await env.put(queue="other", payload=big)
    lanes = [Lane("default"), Lane("other")]
    worker = await env.worker()
    same([job.id for job in await worker.claim(lanes=lanes, max_bytes=1000)], ids[:2], "claimed within 1000 bytes")
    same([job.id for job in await worker.claim(lanes=lanes, max_bytes=10)], ids[2:], "claimed: one always comes")
    same([job.id for job in await worker.claim(lanes=lanes, max_bytes=400)], [other], "claimed: one as large as that")
    fitting = [await env.put(payload=big) for _ in range(2)]
    same([job.id for job in await worker.claim(lanes=lanes, max_bytes=800)], fitting, "claimed: two that just fit")
    await raises(UsageError, worker.ask(max_bytes=0), "a claim of no bytes")


async def check_only_ready_jobs_are_given(env: Env) -> None:
    ready = await env.put_in(State.READY)
    for state in State:
        if state is not State.READY:
            await env.put_in(state)
    await env.put(expires_in=SECOND)
    await env.advance(SECOND)
    same(await env.claim_ids(), [ready], "claimed, jobs in all states being there, and an expired one")


async def check_expired_jobs_hold_nobody_up(env: Env) -> None:
    for _ in range(5):
        await env.put(expires_in=SECOND, priority=9)
    behind = await env.put()
    await env.advance(2 * SECOND)
    same(await env.claim_ids(), [behind], "claimed: the one behind five that have expired")


async def check_a_job_is_given_to_one_worker_only(env: Env) -> None:
    ids = await env.put_all(env.jobs(10))
    one, two = await env.worker(), await env.worker()
    taken = [job.id for worker in (one, two, one) for job in await worker.claim(4)]
    same(taken, ids, "all that two workers took in turns")


async def check_a_released_job_comes_back_first(env: Env) -> None:
    """Its old position is before all that came later, but behind higher priorities."""
    worker = await env.worker()
    await env.put()
    first = await worker.claim_one()
    later, urgent = await env.put(), await env.put(priority=9)
    await worker.end(first, Outcome.RELEASED)
    same([job.id for job in await worker.claim()], [urgent, first.id, later], "order of claiming")


async def check_a_retried_job_goes_to_the_end(env: Env) -> None:
    worker = await env.worker()
    await env.put()
    first = await worker.claim_one()
    later = await env.put()
    await worker.end(first, Outcome.RETRY)
    same([job.id for job in await worker.claim()], [later, first.id], "order of claiming")


async def check_a_promoted_job_goes_to_the_end(env: Env) -> None:
    delayed = await env.put(delay=SECOND)
    await env.advance(SECOND)
    before = await env.put()
    await env.store.promote()
    after = await env.put()
    same(await env.claim_ids(), [before, delayed, after], "order of claiming")


async def check_claiming_needs_no_lease_and_gives_none(env: Env) -> None:
    """Only reaping revokes: until then a worker that is late may claim, and is no safer for it."""
    worker = await env.worker()
    job_id = await env.put(expires_in=MINUTE)
    await env.advance(env.settings.lease + SECOND)
    same([job.id for job in await worker.claim()], [job_id], "claimed after the lease, before anybody reaped")
    signs = [sign for sign in await env.store.observe() if sign.id == worker.id]
    same([sign.lease_left for sign in signs], [-SECOND], "what is left of the lease")


@sets_clock_back
async def check_what_was_passed_over_is_still_there(env: Env) -> None:
    late = await env.put(expires_in=SECOND)
    other = await env.put()
    await env.advance(SECOND)
    same(await env.claim_ids(), [other], "claimed, the first having expired")
    await env.step(-SECOND)
    same(await env.claim_ids(), [late], "claimed once the clock was set back to before the expiry")


async def check_many_expired_jobs_keep_nobody_from_starting(env: Env) -> None:
    """Once somebody has promoted, which is what a claim that meets them may wait for."""
    await env.put_all(env.jobs(900, expires_in=SECOND, priority=9))
    behind = await env.put_all(env.jobs(3))
    await env.advance(SECOND)
    while (await env.store.promote()).more:
        pass
    same(await env.claim_ids(), behind, "claimed behind 900 that have expired")
