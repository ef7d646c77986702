"""Ending attempts."""

from __future__ import annotations

from windlass.core.clock import HOUR, MINUTE, SECOND
from windlass.core.errors import UsageError
from windlass.core.lifecycle import Outcome, State
from windlass.core.model import MAX_BATCH, MAX_ERRORS, ClaimedJob, ClaimRequest, Refusal, Settled, Settlement
from windlass.core.records import JobResult, Reason
from windlass.testing.conformance.env import EVERYWHERE, Env, Worker, ended
from windlass.testing.conformance.expect import holds, raises, same


async def check_success_keeps_the_result(env: Env) -> None:
    job_id = await env.put()
    worker = await env.worker()
    job = await worker.claim_one()
    await env.advance(SECOND)
    same(await worker.settle(job, Outcome.SUCCEEDED, result=b"[1]", keep=HOUR), Settled.APPLIED, "answer")
    now = await env.now()
    record = await env.expect(job_id, State.SUCCEEDED, "settled so")
    same((record.result, record.finished_at, record.purge_at), (b"[1]", now, now + HOUR), "result, end, retention")
    same((record.reason, record.failures, record.errors), (Reason.NONE, 0, []), "reason, failures, errors")
    result = JobResult(job_id, State.SUCCEEDED, Reason.NONE, b"[1]", None)
    same(await env.store.results([job_id]), [result], "results()")


async def check_death_keeps_the_error(env: Env) -> None:
    job_id = await env.put()
    worker = await env.worker()
    await worker.end(await worker.claim_one(), Outcome.DEAD, error=b"why", keep=MINUTE * 10)
    now = await env.now()
    record = await env.expect(job_id, State.DEAD, "settled so")
    same((record.failures, record.errors, record.purge_at), (1, [b"why"], now + 10 * MINUTE), "failures, errors, end")
    same(await env.store.results([job_id]), [JobResult(job_id, State.DEAD, Reason.NONE, None, b"why")], "results()")


async def check_an_acknowledged_cancellation_ends_the_job(env: Env) -> None:
    job_id = await env.put()
    worker = await env.worker()
    await worker.end(await worker.claim_one(), Outcome.CANCELLED, keep=HOUR)
    record = await env.expect(job_id, State.CANCELLED, "settled so")
    same((record.reason, record.failures), (Reason.CANCELLED, 0), "reason, failures")
    same(record.purge_at, await env.now() + HOUR, "purge_at")


async def check_a_retry_counts_and_waits(env: Env) -> None:
    job_id = await env.put()
    worker = await env.worker()
    await worker.end(await worker.claim_one(), Outcome.RETRY, delay=MINUTE, error=b"e1")
    record = await env.expect(job_id, State.SCHEDULED, "to be retried in a minute")
    same(record.due_at, await env.now() + MINUTE, "due_at")
    got = (record.failures, record.attempt, record.snoozes, record.losses, record.errors)
    same(got, (1, 1, 0, 0, [b"e1"]), "failures, attempt, snoozes, losses, errors")
    same(record.result, None, "result of a job that is to be retried")
    same(await worker.claim(), [], "claimed before it is due")


async def check_a_retry_without_delay_is_ready(env: Env) -> None:
    job_id = await env.put()
    worker = await env.worker()
    await worker.end(await worker.claim_one(), Outcome.RETRY)
    await env.expect(job_id, State.READY, "to be retried at once")
    same((await worker.claim_one()).attempt, 2, "the number of the next attempt")


async def check_a_snooze_counts_no_failure(env: Env) -> None:
    job_id = await env.put()
    worker = await env.worker()
    await worker.end(await worker.claim_one(), Outcome.SNOOZED, delay=MINUTE)
    record = await env.expect(job_id, State.SCHEDULED, "snoozed for a minute")
    same((record.snoozes, record.failures, record.attempt), (1, 0, 1), "snoozes, failures, attempt")


async def check_a_release_counts_nothing(env: Env) -> None:
    job_id = await env.put()
    worker = await env.worker()
    await worker.end(await worker.claim_one(), Outcome.RELEASED)
    record = await env.expect(job_id, State.READY, "released")
    same((record.attempt, record.failures, record.losses, record.snoozes), (1, 0, 0, 0), "counters, once started")
    await worker.end(await worker.claim_one(), Outcome.RELEASED, started=False)
    same((await env.read(job_id)).attempt, 1, "the attempt number after one that was given back unstarted")


async def check_undeliverable_is_no_attempt(env: Env) -> None:
    job_id = await env.put()
    worker = await env.worker()
    await worker.end(await worker.claim_one(), Outcome.UNDELIVERABLE, delay=SECOND, error=b"no such task")
    record = await env.expect(job_id, State.SCHEDULED, "undeliverable")
    got = (record.attempt, record.failures, record.errors)
    same(got, (0, 0, [b"no such task"]), "attempt, failures, errors")
    await env.advance(SECOND)
    await env.store.promote()
    await worker.end(await worker.claim_one(), Outcome.UNDELIVERABLE)
    await env.advance(MINUTE)
    job = await worker.claim_one()
    same(job.undeliverable_for, SECOND + MINUTE, "how long it has been undeliverable: from the first time on")


async def check_what_could_be_run_is_undeliverable_no_longer(env: Env) -> None:
    """Else a job that is undeliverable again, days later, would be dead at once."""
    for outcome in (Outcome.RETRY, Outcome.SNOOZED, Outcome.RELEASED):
        job_id = await env.put()
        worker = await env.worker()
        await worker.end(await worker.claim_one(), Outcome.UNDELIVERABLE)
        same((await env.read(job_id)).undeliverable_since, await env.now(), "undeliverable_since")
        await worker.end(await worker.claim_one(), outcome)
        same((await env.read(job_id)).undeliverable_since, None, f"undeliverable_since after {outcome.name}")
        await env.advance(MINUTE)
        job = await worker.claim_one()
        same(job.undeliverable_for, 0, f"undeliverable_for after {outcome.name}")
        await worker.end(job)


async def check_what_was_not_started_stays_undeliverable(env: Env) -> None:
    job_id = await env.put()
    worker = await env.worker()
    await worker.end(await worker.claim_one(), Outcome.UNDELIVERABLE)
    since = await env.now()
    await env.advance(SECOND)
    await worker.end(await worker.claim_one(), Outcome.RELEASED, started=False)
    same((await env.read(job_id)).undeliverable_since, since, "undeliverable_since")


async def check_new_positions_and_old_ones(env: Env) -> None:
    worker = await env.worker()
    ids = await env.put_all(env.jobs(4))
    jobs = await worker.claim()
    behind = await env.put()
    for job, outcome in zip(
        jobs, (Outcome.SNOOZED, Outcome.UNDELIVERABLE, Outcome.RELEASED, Outcome.RETRY), strict=True
    ):
        await worker.end(job, outcome)
    same(await env.claim_ids(), [ids[2], behind, ids[0], ids[1], ids[3]], "order: only the released one kept its place")


async def check_errors_are_kept_up_to_a_number(env: Env) -> None:
    job_id = await env.put()
    worker = await env.worker()
    for i in range(MAX_ERRORS + 3):
        await worker.end(await worker.claim_one(), Outcome.RETRY, error=b"e%d" % i)
    expected = [b"e%d" % i for i in range(3, MAX_ERRORS + 3)]
    same((await env.read(job_id)).errors, expected, "errors: the last ones, oldest first")


async def check_a_wrong_proof_is_lost(env: Env) -> None:
    await env.put()
    worker, other = await env.worker(), await env.worker()
    job = await worker.claim_one()
    before = await env.read(job.id)
    strangers = [
        await other.settle(job, Outcome.SUCCEEDED),
        (await worker.settle_all(Settlement(job.id, job.token + 1, Outcome.SUCCEEDED))).answers[0],
        (await worker.settle_all(Settlement(job.id, job.token - 1, Outcome.SUCCEEDED))).answers[0],
        (await worker.settle_all(Settlement(env.id(), job.token, Outcome.SUCCEEDED))).answers[0],
    ]
    same(strangers, [Settled.LOST] * 4, "answers for a wrong session, token too high, token too low, unknown job")
    same(await env.read(job.id), before, "the record after refused settlements")


async def check_a_repeated_settlement_is_already(env: Env) -> None:
    worker = await env.worker()
    for outcome in Outcome:
        job_id = await env.put()
        job = await worker.claim_one()
        same(await worker.settle(job, outcome, result=b"1", delay=SECOND, error=b"e"), Settled.APPLIED, outcome.name)
        before = await env.read(job_id)
        await env.advance(SECOND)
        answer = await worker.settle(job, outcome, result=b"2", delay=MINUTE, error=b"f")
        same(answer, Settled.ALREADY, f"{outcome.name} again")
        same(await env.read(job_id), before, f"the record after {outcome.name} again")
        other = Outcome.RETRY if outcome is Outcome.SUCCEEDED else Outcome.SUCCEEDED
        same(await worker.settle(job, other), Settled.LOST, f"{other.name} after {outcome.name}")
        same(await env.read(job_id), before, f"the record after {other.name}")
        await env.store.cancel([job_id])


async def check_a_settlement_is_lost_once_somebody_claimed_again(env: Env) -> None:
    """Even the same session: it may not settle its new attempt by the old proof."""
    worker = await env.worker()
    for before in (Outcome.RETRY, Outcome.SNOOZED, Outcome.UNDELIVERABLE, Outcome.RELEASED, None):
        await env.put()
        old = await worker.claim_one()
        if before is None:
            await env.store.unclaim(worker.id, worker.number)
        else:
            await worker.end(old, before)
        new = await worker.claim_one()
        await _lost_whatever_it_says(env, worker, old, f"by the old proof, beside the new attempt after {before!r}")
        await worker.end(new, result=b"new")
        await _lost_whatever_it_says(env, worker, old, f"by the old proof, after the new attempt after {before!r}")


async def check_a_settlement_is_lost_if_only_an_earlier_attempt_ended_so(env: Env) -> None:
    """What the attempt before wrote must not pass for the end of one that was taken away."""
    for outcome in (Outcome.RETRY, Outcome.SNOOZED, Outcome.UNDELIVERABLE, Outcome.RELEASED):
        worker, closing = await env.worker(), await env.worker()
        await env.put()
        await worker.end(await worker.claim_one(), outcome)
        unclaimed = await worker.claim_one()
        await env.store.unclaim(worker.id, worker.number)
        await _lost_whatever_it_says(env, worker, unclaimed, f"after {outcome.name}, claim and unclaim")
        await worker.end(await worker.claim_one(), outcome)
        reaped = await worker.claim_one()
        await env.reap(worker)
        await _lost_whatever_it_says(env, worker, reaped, f"after {outcome.name}, claim and reap")
        await closing.end(await closing.claim_one(), outcome)
        closed = await closing.claim_one()
        await env.store.close(closing.id)
        await _lost_whatever_it_says(env, closing, closed, f"after {outcome.name}, claim and close")
        await env.store.cancel([closed.id])


async def _lost_whatever_it_says(env: Env, worker: Worker, job: ClaimedJob, when: str) -> None:
    before = await env.read(job.id)
    for outcome in Outcome:
        same(await worker.settle(job, outcome, result=b"old", error=b"old"), Settled.LOST, f"{outcome.name} {when}")
    same(await env.read(job.id), before, f"the record after settlements {when}")


async def check_a_settlement_is_lost_after_what_it_held_was_taken(env: Env) -> None:
    worker = await env.worker()
    await env.put()
    reaped = await worker.claim_one()
    await env.reap(worker)
    same(await worker.settle(reaped, Outcome.SUCCEEDED), Settled.LOST, "after reap")
    worker = await env.worker()
    unclaimed = await worker.claim_one()
    await env.store.unclaim(worker.id, worker.number)
    same(await worker.settle(unclaimed, Outcome.SUCCEEDED), Settled.LOST, "after unclaim")
    same(await worker.settle(unclaimed, Outcome.RELEASED), Settled.LOST, "after unclaim, as if it were the same")
    closed = await worker.claim_one()
    await env.store.close(worker.id)
    same(await worker.settle(closed, Outcome.SUCCEEDED), Settled.LOST, "after close")
    await env.expect(closed.id, State.READY, "all those settlements came too late")


async def check_each_settlement_is_judged_alone(env: Env) -> None:
    worker, other = await env.worker(), await env.worker()
    await env.put_all(env.jobs(4))
    done, lost, again, dead = await worker.claim()
    await worker.end(again, Outcome.SNOOZED, delay=SECOND)
    await env.store.cancel([lost.id])
    await worker.end(lost, Outcome.CANCELLED)
    result = await worker.settle_all(ended(lost), ended(done), ended(again, Outcome.SNOOZED), ended(dead, Outcome.DEAD))
    expected = [Settled.LOST, Settled.APPLIED, Settled.ALREADY, Settled.APPLIED]
    same(result.answers, expected, "answers, in the order of the call")
    states = await env.states([done.id, lost.id, again.id, dead.id])
    same(states, [State.SUCCEEDED, State.CANCELLED, State.SCHEDULED, State.DEAD], "states")
    same(await other.claim(), [], "left over")


async def check_ids_within_a_call_are_distinct(env: Env) -> None:
    await env.put()
    worker = await env.worker()
    job = await worker.claim_one()
    twice = worker.settle_all(ended(job), ended(job, Outcome.RETRY))
    await raises(UsageError, twice, "settling a job twice in one call")
    await env.expect(job.id, State.RUNNING, "the call was refused as a whole")


async def check_a_batch_is_bounded(env: Env) -> None:
    worker = await env.worker()
    many = [Settlement(env.id(), 1, Outcome.SUCCEEDED) for _ in range(MAX_BATCH + 1)]
    await raises(UsageError, worker.settle_all(*many), f"{MAX_BATCH + 1} settlements")
    same((await worker.settle_all(*many[1:])).answers, [Settled.LOST] * MAX_BATCH, "answers to the largest batch")


async def check_a_claim_travels_along(env: Env) -> None:
    ids = await env.put_all(env.jobs(3))
    worker = await env.worker()
    job = await worker.claim_one()
    result = await worker.settle_all(ended(job), claim=worker.request(1))
    holds(result.claim is not None, "settle with a claim answered none")
    claimed = result.claim.jobs if result.claim else []
    same([(job.id, job.attempt) for job in claimed], [(ids[1], 1)], "the jobs that came along")
    await env.expect(ids[0], State.SUCCEEDED, "settled in the same trip")
    same((await worker.settle_all(*map(ended, claimed))).claim, None, "the claim answer where none was asked for")


async def check_the_claim_sees_what_the_settlements_did(env: Env) -> None:
    worker = await env.worker()
    job_id = await env.put()
    job = await worker.claim_one()
    result = await worker.settle_all(ended(job, Outcome.RETRY), claim=worker.request())
    got = [(job.id, job.token) for job in (result.claim.jobs if result.claim else [])]
    same(got, [(job_id, 2)], "what came: the job that was just put back")


async def check_a_refused_claim_spoils_no_settlement(env: Env) -> None:
    ids = await env.put_all(env.jobs(2))
    worker = await env.worker()
    jobs = await worker.claim(2)
    result = await worker.settle_all(ended(jobs[0]), claim=ClaimRequest(1, EVERYWHERE))
    same(result.answers, [Settled.APPLIED], "answers beside a claim with an old number")
    same(result.claim and result.claim.refused, Refusal.STALE_REQUEST, "the claim")
    await env.reap(worker, limit=200)
    stranger = await worker.settle_all(ended(jobs[1]), claim=worker.request())
    same(stranger.answers, [Settled.LOST], "answers to a session that is gone")
    holds(stranger.claim is not None and stranger.claim.refused is not None, "the claim of a session that is gone")
    await env.expect(ids[0], State.SUCCEEDED, "settled beside a refused claim")


async def check_the_result_is_for_successes_only(env: Env) -> None:
    job_id = await env.put()
    worker = await env.worker()
    await worker.end(await worker.claim_one(), Outcome.DEAD, result=b"1")
    same((await env.read(job_id)).result, None, "the result of a dead job")


async def check_a_zombie_changes_nothing(env: Env) -> None:
    """A worker that slept through its lease wakes up after its job was run by another."""
    job_id = await env.put()
    zombie = await env.worker()
    old = await zombie.claim_one()
    await env.reap(zombie)
    worker = await env.worker()
    new = await worker.claim_one()
    for outcome in Outcome:
        same(await zombie.settle(old, outcome), Settled.LOST, f"a zombie's {outcome.name}, another running the job")
    await worker.end(new, result=b"new")
    same(
        await zombie.settle(old, Outcome.SUCCEEDED, result=b"old"), Settled.LOST, "a zombie's success after the other's"
    )
    same((await env.read(job_id)).result, b"new", "the one result")


async def check_only_what_was_given_back_can_say_that_it_never_started(env: Env) -> None:
    """Whatever a settlement of another outcome says: it was run, so that it is undeliverable no longer."""
    worker = await env.worker()
    for outcome in (Outcome.RETRY, Outcome.SNOOZED):
        job_id = await env.put()
        await worker.end(await worker.claim_one(), Outcome.UNDELIVERABLE)
        before = await env.read(job_id)
        await worker.end(await worker.claim_one(), outcome, started=False)
        record = await env.read(job_id)
        since = before.undeliverable_since is None, record.undeliverable_since is None
        same(since, (False, True), f"whether it is deliverable: before, and after {outcome.name}")
        same(record.attempt, 1, f"attempts counted after {outcome.name}")
        await worker.end(await worker.claim_one())
