"""Skipping and rescheduling: an operator says that a job need not run, or when."""

from __future__ import annotations

from windlass.core.clock import HOUR, MINUTE
from windlass.core.errors import UsageError
from windlass.core.lifecycle import Outcome, State
from windlass.core.model import STORED, Settlement, Unique
from windlass.core.records import JobResult, Reason, SkipAnswer
from windlass.testing.conformance.env import Env
from windlass.testing.conformance.expect import raises, same


async def check_an_unstarted_job_is_skipped_with_a_result(env: Env) -> None:
    for state in (State.WAITING, State.SCHEDULED, State.READY):
        job_id = await env.put_in(state, queue="q")
        same(await env.store.skip(job_id, b'{"a":1}'), SkipAnswer.SKIPPED, f"answer for a job that is {state.word}")
        now = await env.now()
        record = await env.expect(job_id, State.SUCCEEDED, f"skipped while {state.word}")
        got = (record.reason, record.result, record.finished_at, record.token)
        same(got, (Reason.SKIPPED, b'{"a":1}', now, 0), "reason, result, finished_at, token")
        expected = JobResult(job_id, State.SUCCEEDED, Reason.SKIPPED, b'{"a":1}', None)
        same(await env.store.results([job_id]), [expected], "results()")


async def check_started_and_finished_jobs_are_not_skipped(env: Env) -> None:
    for state in (State.RUNNING, State.SUCCEEDED, State.DEAD, State.CANCELLED):
        job_id = await env.put_in(state, queue="q")
        before = await env.read(job_id)
        same(await env.store.skip(job_id, b"1"), SkipAnswer.STARTED, f"answer for a job that is {state.word}")
        same(await env.read(job_id), before, "the record")
    same(await env.store.skip(env.id(), b"1"), SkipAnswer.UNKNOWN, "answer for an unknown job")


async def check_skipping_twice_does_nothing(env: Env) -> None:
    job_id = await env.put()
    await env.store.skip(job_id, b"1")
    same(await env.store.skip(job_id, b"2"), SkipAnswer.STARTED, "answer to a repeated skip")
    same((await env.read(job_id)).result, b"1", "result")


async def check_a_skipped_job_is_not_run_and_frees_its_key(env: Env) -> None:
    job_id = await env.put(unique=Unique("k"))
    await env.store.skip(job_id, b"1")
    same(await env.claim_ids(), [], "claimed")
    same(await env.enqueue([env.job(unique=Unique("k"))]), [STORED], "answer to the same key")


async def check_dependants_of_a_skipped_job_go_on(env: Env) -> None:
    parent = await env.put(delay=1_000_000)
    child = await env.put(parents=[parent])
    await env.store.skip(parent, b"1")
    await env.expect(child, State.READY, "its parent was skipped")
    same(await env.claim_ids(), [child], "claimed")


async def check_a_scheduled_job_is_rescheduled(env: Env) -> None:
    first, second = await env.put(delay=HOUR), await env.put(delay=2 * HOUR)
    now = await env.now()
    same(await env.store.reschedule([second, first], now + MINUTE), [True, True], "answers")
    same([(await env.read(one)).due_at for one in (first, second)], [now + MINUTE] * 2, "due")
    same((await env.store.promote()).next_at, now + MINUTE, "when the janitor looks again")
    await env.advance(MINUTE)
    await env.store.promote()
    same(await env.claim_ids(), [first, second], "claimed: of those due at once the first stored is first")


async def check_a_job_rescheduled_for_the_past_is_due_now(env: Env) -> None:
    job_id = await env.put(delay=HOUR)
    now = await env.now()
    same(await env.store.reschedule([job_id], now - HOUR), [True], "answer")
    same((await env.read(job_id)).due_at, now, "due")
    await env.store.promote()
    await env.expect(job_id, State.READY, "rescheduled for the past")


async def check_only_scheduled_jobs_are_rescheduled(env: Env) -> None:
    others = [await env.put_in(state, queue="q") for state in State if state is not State.SCHEDULED]
    before = [await env.read(one) for one in others]
    ids = [*others, env.id()]
    same(await env.store.reschedule(ids, await env.now()), [False] * len(ids), "answers")
    same([await env.read(one) for one in others], before, "the records")
    same(await env.store.reschedule([], await env.now()), [], "answers for no job")
    await raises(UsageError, env.store.reschedule(ids, -1), "an instant before 1970")
    await raises(UsageError, env.store.reschedule(ids, 2**53), "an instant that no store can keep")


async def check_a_retry_may_be_had_at_once(env: Env) -> None:
    job_id = await env.put()
    worker = await env.worker()
    job = await worker.claim_one()
    await env.store.settle(worker.id, [Settlement(job_id, job.token, Outcome.RETRY, error=b"{}", delay=HOUR)])
    await env.store.reschedule([job_id], await env.now())
    await env.store.promote()
    again = await worker.claim_one()
    same((again.id, again.failures), (job_id, 1), "the job that is tried again, and its failures")
