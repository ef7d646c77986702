"""Skipping: an operator says that a job need not run."""

from __future__ import annotations

from windlass.core.lifecycle import State
from windlass.core.model import STORED, Unique
from windlass.core.records import JobResult, Reason, SkipAnswer
from windlass.testing.conformance.env import Env
from windlass.testing.conformance.expect import same


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
