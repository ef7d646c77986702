"""Asking for a job not to run."""

from __future__ import annotations

from windlass.core.errors import UsageError
from windlass.core.lifecycle import State
from windlass.core.model import MAX_BATCH
from windlass.core.records import CancelAnswer, Reason
from windlass.testing.conformance.env import Env
from windlass.testing.conformance.expect import raises, same


async def check_unstarted_jobs_are_cancelled_at_once(env: Env) -> None:
    for state in (State.WAITING, State.SCHEDULED, State.READY):
        job_id = await env.put_in(state, queue="q")
        same(await env.store.cancel([job_id]), [CancelAnswer.CANCELLED], f"answer for a job that is {state.word}")
        now = await env.now()
        record = await env.expect(job_id, State.CANCELLED, f"cancelled while {state.word}")
        got = (record.reason, record.finished_at, record.purge_at)
        same(got, (Reason.CANCELLED, now, now + env.settings.keep), "reason, finished_at, purge_at")


async def check_a_cancelled_job_is_not_run(env: Env) -> None:
    ids = await env.put_all(env.jobs(3))
    await env.store.cancel(ids[:2])
    same(await env.claim_ids(), ids[2:], "claimed")


async def check_a_running_job_is_flagged(env: Env) -> None:
    job_id = await env.put()
    worker = await env.worker()
    job = await worker.claim_one()
    for time in ("first", "second"):
        same(await env.store.cancel([job_id]), [CancelAnswer.REQUESTED], f"answer the {time} time")
        record = await env.expect(job_id, State.RUNNING, "only its worker can stop it")
        same(record.cancel_requested, True, "cancel_requested")
    await worker.end(job)


async def check_finished_and_unknown_jobs(env: Env) -> None:
    for state in (State.SUCCEEDED, State.DEAD, State.CANCELLED):
        job_id = await env.put_in(state)
        before = await env.read(job_id)
        same(await env.store.cancel([job_id]), [CancelAnswer.FINISHED], f"answer for a job that is {state.word}")
        same(await env.read(job_id), before, "the record")
    same(await env.store.cancel([env.id()]), [CancelAnswer.UNKNOWN], "answer for an unknown job")


async def check_answers_come_in_order(env: Env) -> None:
    ready, done = await env.put(), await env.put_in(State.SUCCEEDED, queue="q")
    running = await env.put_in(State.RUNNING, queue="q")
    answers = await env.store.cancel([done, running, env.id(), ready, ready])
    expected = [
        CancelAnswer.FINISHED,
        CancelAnswer.REQUESTED,
        CancelAnswer.UNKNOWN,
        CancelAnswer.CANCELLED,
        CancelAnswer.FINISHED,
    ]
    same(answers, expected, "answers for finished, running, unknown, ready, and the same again")


async def check_a_parent_and_its_dependant_in_one_call(env: Env) -> None:
    parent = await env.put()
    child = await env.put(parents=[parent])
    answers = await env.store.cancel([parent, child])
    same(answers[0], CancelAnswer.CANCELLED, "answer for the parent")
    same(await env.states([parent, child]), [State.CANCELLED] * 2, "states")


async def check_batches_are_bounded(env: Env) -> None:
    ids = [env.id() for _ in range(MAX_BATCH + 1)]
    store = env.store
    for name, call in [("cancel", store.cancel), ("replay", store.replay), ("delete", store.delete)]:
        await raises(UsageError, call(ids), f"{name} of {MAX_BATCH + 1} ids")
    same(await store.cancel(ids[1:]), [CancelAnswer.UNKNOWN] * MAX_BATCH, "answers to the largest batch")
    same(await store.cancel([]), [], "answers to nothing")
