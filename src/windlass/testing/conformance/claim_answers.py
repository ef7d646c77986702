"""What a claim answers, records and refuses."""

from __future__ import annotations

from windlass.core.clock import SECOND
from windlass.core.lifecycle import Outcome, State
from windlass.core.model import ClaimAnswer, ClaimedJob, ClaimRequest, Lane, Refusal
from windlass.testing.conformance.env import EVERYWHERE, Env, Worker
from windlass.testing.conformance.expect import holds, same
from windlass.testing.conformance.marks import sets_clock_back


async def check_a_claimed_job_comes_whole(env: Env) -> None:
    job = env.job(
        task="u", payload=b"[1]", options=b"{}", queue="q", requires="gpu=1", priority=3, limit_key="g:1", delay=SECOND
    )
    await env.put_all([job])
    stored_at = await env.now()
    await env.advance(SECOND)
    await env.store.promote()
    worker = await env.worker()
    expected = ClaimedJob(
        id=job.id,
        token=1,
        task="u",
        payload=b"[1]",
        options=b"{}",
        queue="q",
        requires="gpu=1",
        priority=3,
        attempt=1,
        failures=0,
        snoozes=0,
        enqueued_at=stored_at,
        undeliverable_for=0,
        limit_key="g:1",
    )
    same(await worker.claim_one(lanes=[Lane("q", "gpu=1")]), expected, "the claimed job")


async def check_counters_travel_along(env: Env) -> None:
    await env.put()
    worker = await env.worker()
    for outcome in (Outcome.RETRY, Outcome.SNOOZED, Outcome.SNOOZED, Outcome.UNDELIVERABLE):
        await worker.end(await worker.claim_one(), outcome)
    await env.advance(3 * SECOND)
    job = await worker.claim_one()
    got = (job.token, job.attempt, job.failures, job.snoozes, job.undeliverable_for)
    same(got, (5, 4, 1, 2, 3 * SECOND), "token, attempt, failures, snoozes, undeliverable_for")


@sets_clock_back
async def check_a_clock_set_back_makes_no_negative_spans(env: Env) -> None:
    await env.put()
    worker = await env.worker()
    await worker.end(await worker.claim_one(), Outcome.UNDELIVERABLE)
    await env.step(-SECOND)
    same((await worker.claim_one()).undeliverable_for, 0, "undeliverable_for")


async def check_a_claimed_job_runs(env: Env) -> None:
    job_id = await env.put()
    await env.advance(SECOND)
    worker = await env.worker()
    await worker.claim_one()
    now = await env.now()
    record = await env.expect(job_id, State.RUNNING, "claimed")
    got = (record.token, record.attempt, record.session, record.started_at)
    same(got, (1, 1, worker.id, now), "token, attempt, session, started_at")


async def check_a_claim_with_nothing_to_give_answers_so(env: Env) -> None:
    worker = await env.worker()
    same(await worker.ask(), ClaimAnswer(), "the answer to a claim from an empty lane")


async def check_an_unknown_session_is_refused(env: Env) -> None:
    await env.put()
    stranger = Worker(env.store, env.session())
    same(await stranger.ask(), ClaimAnswer(refused=Refusal.UNKNOWN_SESSION), "the answer to a stranger")
    holds(await env.claim_ids(), "the refused claim took the job")


async def check_a_revoked_session_is_refused(env: Env) -> None:
    ids = await env.put_all(env.jobs(3))
    worker = await env.worker()
    await worker.claim(2)
    await env.reap(worker, limit=1)
    same(await worker.ask(), ClaimAnswer(refused=Refusal.REVOKED), "the answer to a session while it is reaped")
    same(await env.claim_ids(), [ids[0], ids[2]], "what was left to others: one reaped, one never taken")


async def check_a_closed_session_is_refused(env: Env) -> None:
    await env.put()
    worker = await env.worker()
    await env.store.close(worker.id)
    refused = (await worker.ask()).refused
    holds(refused in (Refusal.UNKNOWN_SESSION, Refusal.REVOKED), f"a closed session's claim answered {refused!r}")


async def check_a_request_number_is_good_once(env: Env) -> None:
    """A late copy of a claim must not take jobs of which no worker would know."""
    ids = await env.put_all(env.jobs(3))
    worker = await env.worker()
    request = worker.request(1)
    same(len((await env.store.claim(worker.id, request)).jobs), 1, "jobs for the first arrival")
    stale = ClaimAnswer(refused=Refusal.STALE_REQUEST)
    same(await env.store.claim(worker.id, request), stale, "the answer to a second arrival")
    same(await env.store.claim(worker.id, ClaimRequest(0, EVERYWHERE)), stale, "the answer to a lower number")
    result = await worker.settle_all(claim=request)
    same(result.claim, stale, "the answer to a second arrival with a settle")
    same((await env.store.claim(worker.id, ClaimRequest(7, EVERYWHERE))).jobs[0].id, ids[1], "a number further on")
    same(await env.store.claim(worker.id, ClaimRequest(5, EVERYWHERE)), stale, "the answer to one that was left out")


async def check_request_numbers_belong_to_a_session(env: Env) -> None:
    await env.put_all(env.jobs(2))
    one, two = await env.worker(), await env.worker()
    same((len(await one.claim(1)), len(await two.claim(1))), (1, 1), "jobs for the first request of either session")


async def check_a_claim_that_brought_nothing_spends_its_number(env: Env) -> None:
    worker = await env.worker()
    request = worker.request()
    await env.store.claim(worker.id, request)
    await env.put()
    answer = await env.store.claim(worker.id, request)
    same(answer, ClaimAnswer(refused=Refusal.STALE_REQUEST), "the answer to a second arrival, a job being there now")


async def check_the_token_only_grows(env: Env) -> None:
    job_id = await env.put()
    tokens = []
    worker = await env.worker()
    tokens.append((await worker.claim_one()).token)
    await env.store.unclaim(worker.id, worker.number)
    job = await worker.claim_one()
    tokens.append(job.token)
    await worker.end(job, Outcome.RELEASED, started=False)
    job = await worker.claim_one()
    tokens.append(job.token)
    await worker.end(job, Outcome.DEAD)
    await env.store.replay([job_id])
    tokens.append((await worker.claim_one()).token)
    await env.reap(worker)
    tokens.append((await (await env.worker()).claim_one()).token)
    same(tokens, [1, 2, 3, 4, 5], "tokens over unclaim, release, replay and reap")
    same((await env.read(job_id)).attempt, 3, "the attempt number: two were given back unstarted")
