"""Giving back what a claim took whose answer was lost."""

from __future__ import annotations

from windlass.core.clock import SECOND
from windlass.core.lifecycle import Outcome, State
from windlass.core.model import STORED, ClaimAnswer, ClaimRequest, Refusal, Unique, UniqueUntil
from windlass.core.records import Limit, LimitScope, Reason
from windlass.testing.conformance.env import EVERYWHERE, Env
from windlass.testing.conformance.expect import same


async def check_jobs_go_back_uncounted_to_their_old_positions(env: Env) -> None:
    ids = await env.put_all(env.jobs(3))
    worker = await env.worker()
    await worker.claim(2)
    later = await env.put()
    await env.store.unclaim(worker.id, worker.number)
    record = await env.expect(ids[0], State.READY, "unclaimed")
    got = (record.attempt, record.token, record.losses, record.failures)
    same(got, (0, 1, 0, 0), "attempt, token, losses, failures")
    same(await env.claim_ids(), [*ids, later], "order of claiming afterwards")


async def check_only_the_jobs_of_the_request_go_back(env: Env) -> None:
    ids = await env.put_all(env.jobs(4))
    worker = await env.worker()
    first, _, third = [await worker.claim(1) for _ in range(3)]
    await env.store.unclaim(worker.id, 2)
    ready, running = State.READY, State.RUNNING
    same(await env.states(ids), [running, ready, running, ready], "states after the second of three was unclaimed")
    await worker.end(first[0])
    await worker.end(third[0])


async def check_other_sessions_keep_theirs(env: Env) -> None:
    await env.put_all(env.jobs(2))
    one, two = await env.worker(), await env.worker()
    await one.claim(1)
    kept = await two.claim_one()
    await env.store.unclaim(one.id, 1)
    await env.expect(kept.id, State.RUNNING, "another session's request had the same number")


async def check_what_was_settled_stays_so(env: Env) -> None:
    await env.put_all(env.jobs(2))
    worker = await env.worker()
    done, retried = await worker.claim()
    await worker.end(done)
    await worker.end(retried, Outcome.RETRY, delay=SECOND)
    await env.store.unclaim(worker.id, worker.number)
    same(
        await env.states([done.id, retried.id]), [State.SUCCEEDED, State.SCHEDULED], "states of what was settled before"
    )
    same((await env.read(retried.id)).attempt, 1, "attempt")


async def check_a_late_arrival_of_the_number_is_refused(env: Env) -> None:
    """The claim is still on its way when the worker gives up on it."""
    await env.put()
    worker = await env.worker()
    request = worker.request()
    await env.store.unclaim(worker.id, request.number)
    answer = await env.store.claim(worker.id, request)
    same(answer, ClaimAnswer(refused=Refusal.STALE_REQUEST), "the answer to a claim that was unclaimed before it came")
    lower = ClaimRequest(0, EVERYWHERE)
    same((await env.store.claim(worker.id, lower)).refused, Refusal.STALE_REQUEST, "the answer to a lower number")
    same(len(await worker.claim()), 1, "jobs for the next number")


async def check_repeating_it_changes_nothing(env: Env) -> None:
    job_id = await env.put()
    worker = await env.worker()
    await worker.claim_one()
    await env.store.unclaim(worker.id, worker.number)
    before = await env.read(job_id)
    await env.store.unclaim(worker.id, worker.number)
    same(await env.read(job_id), before, "the record after a second unclaim")
    again = await worker.claim_one()
    await env.store.unclaim(worker.id, worker.number - 1)
    await env.expect(job_id, State.RUNNING, "a repeated unclaim of the request before")
    stale = await env.store.claim(worker.id, ClaimRequest(worker.number, EVERYWHERE))
    same(stale.refused, Refusal.STALE_REQUEST, "a copy of the last request, after a late unclaim of the one before")
    await worker.end(again)


async def check_an_unknown_session_changes_nothing(env: Env) -> None:
    session = env.session()
    await env.store.unclaim(session.id, 5)
    await env.put()
    await env.store.open(session)
    answer = await env.store.claim(session.id, ClaimRequest(1, EVERYWHERE))
    same((len(answer.jobs), answer.refused), (1, None), "jobs and refusal, the session being opened afterwards")


async def check_a_key_given_up_at_the_start_is_not_taken_back(env: Env) -> None:
    unique = Unique("k", UniqueUntil.STARTED)
    await env.put(unique=unique)
    worker = await env.worker()
    await worker.claim_one()
    await env.store.unclaim(worker.id, worker.number)
    same(await env.enqueue([env.job(unique=unique)]), [STORED], "answer to the same key, the first having started")


async def check_an_unstarted_job_can_expire_again(env: Env) -> None:
    job_id = await env.put(expires_in=2 * SECOND)
    worker = await env.worker()
    await worker.claim_one()
    await env.store.unclaim(worker.id, worker.number)
    await env.advance(2 * SECOND)
    same(await worker.claim(), [], "claimed after its expiry, nobody having started it")
    await env.store.promote()
    record = await env.expect(job_id, State.CANCELLED, "expired, after it was claimed and given back")
    same(record.reason, Reason.EXPIRED, "reason")


async def check_the_limits_are_free_again(env: Env) -> None:
    await env.store.put_limit(Limit(scope=LimitScope.QUEUE, name="default", concurrency=1))
    job_id = await env.put()
    worker = await env.worker()
    await worker.claim_one()
    await env.store.unclaim(worker.id, worker.number)
    same(await env.claim_ids(), [job_id], "claimed under a limit of one")
