"""What time brings: due jobs and expiries."""

from __future__ import annotations

from windlass.core.clock import HOUR, MINUTE, SECOND
from windlass.core.errors import UsageError
from windlass.core.lifecycle import Outcome, State
from windlass.core.model import MAX_BATCH, Progress
from windlass.core.records import Reason
from windlass.testing.conformance.env import Env
from windlass.testing.conformance.expect import raises, same


async def check_due_jobs_become_ready(env: Env) -> None:
    job_id = await env.put(delay=MINUTE)
    await env.advance(MINUTE - 1)
    await env.store.promote()
    await env.expect(job_id, State.SCHEDULED, "due in a microsecond")
    await env.advance(1)
    same((await env.store.promote()).done, 1, "jobs promoted when it is due")
    await env.expect(job_id, State.READY, "due")
    same(await env.claim_ids(), [job_id], "claimed")


async def check_they_line_up_in_the_order_of_their_due_times(env: Env) -> None:
    third, first, second = [await env.put(delay=delay) for delay in (3 * SECOND, SECOND, 2 * SECOND)]
    urgent = await env.put(delay=4 * SECOND, priority=9)
    await env.advance(MINUTE)
    await env.store.promote()
    same(await env.claim_ids(), [urgent, first, second, third], "order of claiming")


async def check_retries_and_snoozes_come_back(env: Env) -> None:
    await env.put_all(env.jobs(3))
    worker = await env.worker()
    retried, snoozed, undeliverable = await worker.claim()
    await worker.end(retried, Outcome.RETRY, delay=3 * SECOND)
    await worker.end(snoozed, Outcome.SNOOZED, delay=SECOND)
    await worker.end(undeliverable, Outcome.UNDELIVERABLE, delay=2 * SECOND)
    await env.advance(3 * SECOND)
    same((await env.store.promote()).done, 3, "jobs promoted")
    same(await env.claim_ids(), [snoozed.id, undeliverable.id, retried.id], "order of claiming")


async def check_it_is_bounded(env: Env) -> None:
    ids = await env.put_all(env.jobs(5, delay=SECOND))
    expiring = await env.put_all(env.jobs(5, expires_in=SECOND, queue="other"))
    await env.advance(SECOND)
    progress = await env.store.promote(2)
    same((progress.done, progress.more), (4, True), "done and more: two of each kind")
    same((await env.states(ids)).count(State.READY), 2, "ready")
    same((await env.states(expiring)).count(State.CANCELLED), 2, "expired")
    progress = await env.store.promote(3)
    same((progress.done, progress.more), (6, False), "done and more of the second call")
    same((await env.store.promote()).done, 0, "done by a third")


async def check_it_says_that_there_is_more_of_either_kind(env: Env) -> None:
    for kind in ({"delay": SECOND}, {"expires_in": SECOND}):
        await env.put_all(env.jobs(2, **kind))
        await env.advance(SECOND)
        same([(await env.store.promote(1)).more for _ in range(2)], [True, False], f"more, of two jobs with {kind}")


async def check_it_says_when_to_come_back(env: Env) -> None:
    now = await env.now()
    same(await env.store.promote(), Progress(done=0, now=now), "progress where nothing is scheduled")
    await env.put(delay=HOUR)
    await env.put(delay=MINUTE)
    same((await env.store.promote()).next_at, now + MINUTE, "when the next is due")
    await env.advance(MINUTE)
    progress = await env.store.promote()
    same((progress.next_at, progress.now), (now + HOUR, now + MINUTE), "when the next is due after that, and now")


async def check_limits_are_checked(env: Env) -> None:
    for limit in (0, -1, MAX_BATCH + 1):
        await raises(UsageError, env.store.promote(limit), f"promote({limit})")
        await raises(UsageError, env.store.purge(limit), f"purge({limit})")
        await raises(UsageError, env.store.release_edges(limit), f"release_edges({limit})")
        await raises(UsageError, env.store.reap([], limit), f"reap([], {limit})")


async def check_unstarted_jobs_expire(env: Env) -> None:
    waiting, scheduled, ready = [
        await env.put_in(state, expires_in=SECOND) for state in (State.WAITING, State.SCHEDULED, State.READY)
    ]
    await env.advance(SECOND - 1)
    await env.store.promote()
    same(await env.states([waiting, scheduled, ready]), [State.WAITING, State.SCHEDULED, State.READY], "states before")
    await env.advance(1)
    same((await env.store.promote()).done, 3, "jobs expired")
    now = await env.now()
    for job_id in (waiting, scheduled, ready):
        record = await env.expect(job_id, State.CANCELLED, "expired")
        got = (record.reason, record.finished_at, record.purge_at)
        same(got, (Reason.EXPIRED, now, now + env.settings.keep), "reason, finished_at, purge_at")


async def check_an_absolute_expiry(env: Env) -> None:
    job_id = await env.put(expires_at=await env.now() + MINUTE)
    await env.advance(MINUTE)
    await env.store.promote()
    await env.expect(job_id, State.CANCELLED, "expired")


async def check_what_has_started_does_not_expire(env: Env) -> None:
    ids = await env.put_all(env.jobs(3, expires_in=SECOND))
    worker = await env.worker()
    running, retried, released = await worker.claim()
    await worker.end(retried, Outcome.RETRY, delay=MINUTE)
    await worker.end(released, Outcome.RELEASED)
    await env.advance(2 * SECOND)
    same((await env.store.promote()).done, 0, "jobs that expired, all having started in time")
    same(await env.states(ids), [State.RUNNING, State.SCHEDULED, State.READY], "states")
    same([job.id for job in await worker.claim()], [released.id], "claimed: the second attempt may be late")
    await worker.end(running)


async def check_what_was_given_back_unstarted_expires(env: Env) -> None:
    ids = await env.put_all(env.jobs(2, expires_in=SECOND))
    worker = await env.worker()
    released, undeliverable = await worker.claim()
    await worker.end(released, Outcome.RELEASED, started=False)
    await worker.end(undeliverable, Outcome.UNDELIVERABLE, delay=MINUTE)
    await env.advance(SECOND)
    await env.store.promote()
    same(await env.states(ids), [State.CANCELLED] * 2, "states: nobody ever started them")


async def check_what_is_due_and_expired_is_expired(env: Env) -> None:
    job_id = await env.put(delay=SECOND, expires_in=2 * SECOND)
    await env.advance(3 * SECOND)
    await env.store.promote()
    await env.expect(job_id, State.CANCELLED, "due a second before its expiry, and nobody came in time")


async def check_several_janitors_promote_each_job_once(env: Env) -> None:
    ids = await env.put_all(env.jobs(6, delay=SECOND))
    await env.advance(SECOND)
    twin = env.twin()
    done = [(await store.promote(2)).done for store in (env.store, twin, env.store, twin)]
    same(done, [2, 2, 2, 0], "jobs promoted by two janitors in turns")
    same(await env.claim_ids(), ids, "claimed, each once")
