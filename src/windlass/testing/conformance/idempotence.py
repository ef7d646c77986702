"""Enqueueing again: the answer was lost, and the call is repeated."""

from __future__ import annotations

import msgspec

from windlass.core.clock import SECOND
from windlass.core.errors import StaleEnqueue
from windlass.core.lifecycle import Outcome, State
from windlass.core.model import STALE_AFTER, STORED, Edge, EdgeAnswer, Lane, Unique
from windlass.testing.conformance.env import Env
from windlass.testing.conformance.expect import raises, same


async def check_a_repeated_enqueue_changes_nothing(env: Env) -> None:
    parent = env.job()
    batch = [parent, env.job(delay=SECOND), env.job(unique=Unique("k")), env.job(parents=[parent.id])]
    ids = await env.put_all(batch)
    before = [await env.read(job_id) for job_id in ids]
    await env.advance(SECOND)
    same(await env.enqueue(batch), [STORED] * 4, "answers the second time")
    same([await env.read(job_id) for job_id in ids], before, "the records after a repeated call")


async def check_the_id_decides_whatever_the_job_says(env: Env) -> None:
    job = env.job()
    await env.put_all([job])
    other = msgspec.structs.replace(job, queue="other", priority=9, payload=b"1", delay=SECOND, parents=())
    same(await env.enqueue([other]), [STORED], "answer for a known id that says something else")
    record = await env.read(job.id)
    same((record.queue, record.priority, record.payload), ("default", 5, b"{}"), "what is stored")


async def check_an_id_twice_in_a_call_is_one_job(env: Env) -> None:
    job = env.job()
    same(await env.enqueue([job, job]), [STORED, STORED], "answers")
    same(await env.claim_ids(), [job.id], "claimed")


async def check_a_started_job_is_not_started_again(env: Env) -> None:
    job = env.job()
    await env.put_all([job])
    worker = await env.worker()
    claimed = await worker.claim_one()
    same(await env.enqueue([job]), [STORED], "answer while it runs")
    await env.expect(job.id, State.RUNNING, "enqueued again while it ran")
    await worker.end(claimed)
    same(await env.enqueue([job]), [STORED], "answer after its end")
    await env.expect(job.id, State.SUCCEEDED, "enqueued again after its end")
    same(await worker.claim(), [], "claimed after all that")


async def check_a_job_that_gave_its_key_up_is_still_known(env: Env) -> None:
    """Its own key does not make a duplicate of it, nor does that of its successor."""
    job = env.job(unique=Unique("k"))
    await env.put_all([job])
    same(await env.enqueue([job]), [STORED], "answer while it holds its key itself")
    worker = await env.worker()
    await worker.end(await worker.claim_one())
    await env.put(unique=Unique("k"))
    same(await env.enqueue([job]), [STORED], "answer while another holds the key")


async def check_an_enqueue_repeated_too_late_is_refused(env: Env) -> None:
    job = env.job()
    now = await env.now()
    sent = now - STALE_AFTER - 1
    await raises(StaleEnqueue, env.store.enqueue([job], first_sent=sent), "repeating after more than four minutes")
    same(await env.store.get_jobs([job.id]), [None], "what is stored of it")
    result = await env.store.enqueue([job], first_sent=now - STALE_AFTER)
    same(result.jobs, [STORED], "answer at the last moment")
    same((await env.store.enqueue([job], first_sent=now + SECOND)).jobs, [STORED], "answer where clocks differ a bit")


async def check_a_repeated_edge_answers_added(env: Env) -> None:
    first, second = await env.put(), await env.put(queue="other")
    child = await env.put(parents=[first], queue="later")
    edge = Edge(second, child)
    for attempt in ("first", "second"):
        result = await env.store.enqueue([], [edge], first_sent=await env.now())
        same(result.edges, [EdgeAnswer.ADDED], f"answer the {attempt} time")
    same((await env.read(child)).parents_open, 2, "parents_open")
    worker = await env.worker()
    await worker.end(await worker.claim_one())
    await env.expect(child, State.WAITING, "one of two parents has succeeded")
    jobs = await worker.claim(lanes=[Lane("other")])
    await worker.end(jobs[0])
    await env.expect(child, State.READY, "both parents have succeeded")
    result = await env.store.enqueue([], [edge], first_sent=await env.now())
    same(result.edges, [EdgeAnswer.ADDED], "answer after the dependant has gone on")


async def check_a_cancelled_job_is_not_revived(env: Env) -> None:
    job = env.job()
    await env.put_all([job])
    await env.store.cancel([job.id])
    same(await env.enqueue([job]), [STORED], "answer after it was cancelled")
    await env.expect(job.id, State.CANCELLED, "enqueued again after it was cancelled")


async def check_a_dead_job_is_not_revived(env: Env) -> None:
    job = env.job()
    await env.put_all([job])
    worker = await env.worker()
    await worker.end(await worker.claim_one(), Outcome.DEAD)
    same(await env.enqueue([job]), [STORED], "answer after it died")
    await env.expect(job.id, State.DEAD, "enqueued again after it died")
