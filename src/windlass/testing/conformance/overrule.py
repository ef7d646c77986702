"""A request to cancel overrules whatever ends the attempt, but for success."""

from __future__ import annotations

from windlass.core.clock import MINUTE
from windlass.core.lifecycle import Outcome, State
from windlass.core.model import Settled
from windlass.core.records import CancelAnswer, Reason
from windlass.testing.conformance.env import Env, Worker, ended
from windlass.testing.conformance.expect import same


async def _flagged(env: Env, worker: Worker, **fields: object) -> bytes:
    """Have a worker run a job that somebody asked to cancel."""
    job_id = await env.put(**fields)
    await worker.claim_one()
    same(await env.store.cancel([job_id]), [CancelAnswer.REQUESTED], "the answer to cancelling a running job")
    return job_id


async def _is_cancelled(env: Env, job_id: bytes, what: str) -> None:
    record = await env.expect(job_id, State.CANCELLED, what)
    same((record.reason, record.result), (Reason.CANCELLED, None), f"reason and result: {what}")
    same(record.purge_at, await env.now() + env.settings.keep, f"purge_at: {what}")


async def check_a_success_stays_a_success(env: Env) -> None:
    await env.put()
    worker = await env.worker()
    job = await worker.claim_one()
    await env.store.cancel([job.id])
    same(await worker.settle(job, Outcome.SUCCEEDED, result=b"1"), Settled.APPLIED, "the answer to a late success")
    record = await env.expect(job.id, State.SUCCEEDED, "it succeeded before the request reached it")
    same((record.result, record.reason), (b"1", Reason.NONE), "result and reason")


async def check_every_other_outcome_becomes_cancelled(env: Env) -> None:
    worker = await env.worker()
    for outcome in (Outcome.RETRY, Outcome.DEAD, Outcome.SNOOZED, Outcome.RELEASED, Outcome.UNDELIVERABLE):
        await env.put()
        job = await worker.claim_one()
        await env.store.cancel([job.id])
        answers = [await worker.settle(job, outcome, delay=MINUTE, keep=env.settings.keep) for _ in range(2)]
        same(answers, [Settled.APPLIED, Settled.ALREADY], f"answers to {outcome.name}, once and again")
        await _is_cancelled(env, job.id, f"{outcome.name} of a job that was to be cancelled")
        failures = (await env.read(job.id)).failures
        same(failures, int(outcome in (Outcome.RETRY, Outcome.DEAD)), f"failures after {outcome.name}")


async def check_an_overruled_retry_keeps_its_error(env: Env) -> None:
    await env.put()
    worker = await env.worker()
    job = await worker.claim_one()
    await env.store.cancel([job.id])
    await worker.settle_all(ended(job, Outcome.RETRY, error=b"e"))
    same((await env.read(job.id)).errors, [b"e"], "errors")


async def check_unclaim_cancels(env: Env) -> None:
    worker = await env.worker()
    job_id = await _flagged(env, worker)
    await env.store.unclaim(worker.id, worker.number)
    await _is_cancelled(env, job_id, "unclaimed after a request to cancel it")


async def check_a_renewal_that_does_not_name_it_cancels(env: Env) -> None:
    worker = await env.worker()
    job_id = await _flagged(env, worker)
    await worker.renew([])
    await _is_cancelled(env, job_id, "given back by a renewal after a request to cancel it")


async def check_closing_cancels(env: Env) -> None:
    worker = await env.worker()
    job_id = await _flagged(env, worker)
    await env.store.close(worker.id)
    await _is_cancelled(env, job_id, "given back by close after a request to cancel it")


async def check_reaping_cancels(env: Env) -> None:
    worker = await env.worker()
    job_id = await _flagged(env, worker)
    await env.reap(worker)
    await _is_cancelled(env, job_id, "reaped after a request to cancel it")
    same((await env.read(job_id)).losses, 1, "losses")


async def check_losing_the_last_time_cancels(env: Env) -> None:
    """Even where its losses are spent, so that somebody who cancelled does not find it dead."""
    job_id = await env.put()
    await env.lose(job_id, 1 + env.settings.max_lost)
    worker = await env.worker()
    await worker.claim_one(alone=True)
    await env.store.cancel([job_id])
    await env.reap(worker)
    await _is_cancelled(env, job_id, "lost for the last time after a request to cancel it")


async def check_a_cancelled_attempt_releases_what_hangs_on_it(env: Env) -> None:
    worker = await env.worker()
    job_id = await _flagged(env, worker)
    child = await env.put(parents=[job_id])
    await env.store.unclaim(worker.id, worker.number)
    record = await env.expect(child, State.CANCELLED, "its parent was cancelled by unclaim")
    same(record.reason, Reason.PARENT, "reason")
