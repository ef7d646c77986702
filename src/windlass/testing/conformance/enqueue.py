"""Storing jobs."""

from __future__ import annotations

from typing import Any

import msgspec

from windlass.core.clock import MINUTE, SECOND
from windlass.core.errors import UsageError
from windlass.core.lifecycle import State
from windlass.core.model import MAX_BATCH, MAX_PAYLOAD, STORED, EnqueueAnswer, Enqueued, Lane, Parent, Unique
from windlass.core.records import JobRecord, Reason
from windlass.testing.conformance.env import Env
from windlass.testing.conformance.expect import raises, same

UNKNOWN = EnqueueAnswer(Enqueued.UNKNOWN_PARENT)


async def check_a_job_is_stored_as_given(env: Env) -> None:
    job = env.job(
        task="mail.send",
        payload=b'{"to":1}',
        queue="mail",
        requires="gpu=1",
        priority=7,
        options=b'{"timeout":3}',
        unique=Unique("k"),
        limit_key="tenant:1",
        expires_in=MINUTE,
    )
    same(await env.enqueue([job]), [STORED], "answer")
    now = await env.now()
    record = await env.read(job.id)
    expected = JobRecord(
        id=job.id,
        task="mail.send",
        queue="mail",
        requires="gpu=1",
        priority=7,
        state=State.READY,
        payload=b'{"to":1}',
        options=b'{"timeout":3}',
        unique_key="k",
        limit_key="tenant:1",
        enqueued_at=now,
        expires_at=now + MINUTE,
        sequence=record.sequence,
    )
    same(record, expected, "the record of a job just enqueued")


async def check_bytes_and_names_are_kept_verbatim(env: Env) -> None:
    hostile = [
        env.job(payload=bytes(range(256)) * 4, options=b"\x00\xff"),
        env.job(payload=b"", task="naïve.<locals>.f/日本:1@x-y"),
        env.job(task="t" * 200, queue="q" * 200, unique=Unique("k" * 500), limit_key="g:" + "v" * 498),
        env.job(queue="Robert_.:@/-", unique=Unique("'; DROP TABLE jobs; --"), limit_key="%_[a-z]*\\\"'{}$1?:1"),
        env.job(requires="gpu=1,zone=a b;'\"", unique=Unique("é\u0301 ß"), limit_key="🦆:🦆"),
    ]
    await env.put_all(hostile)
    for job in hostile:
        record = await env.read(job.id)
        for what in ("task", "queue", "requires", "payload", "options", "limit_key"):
            same(getattr(record, what), getattr(job, what), what)
        same(record.unique_key, job.unique and job.unique.key, "unique key")
    lanes = [Lane(job.queue, job.requires) for job in hostile]
    worker = await env.worker()
    claimed = {job.id: job for job in await worker.claim(lanes=lanes)}
    same(set(claimed), {job.id for job in hostile}, "jobs claimed from lanes with such names")
    for job in hostile:
        got = claimed[job.id]
        same((got.payload, got.options, got.task), (job.payload, job.options, job.task), "what the worker gets")


async def check_names_that_differ_little_are_different(env: Env) -> None:
    """No folding of case, no wildcards, no trimming."""
    lower, upper = await env.put(queue="mail"), await env.put(queue="Mail")
    await env.put(queue="m_il")
    same(await env.claim_ids(lanes=[Lane("mail")]), [lower], "claimed from mail")
    same(await env.claim_ids(lanes=[Lane("Mail")]), [upper], "claimed from Mail")
    answers = await env.enqueue([env.job(unique=Unique(key)) for key in ("k", "K", "k ", " k")])
    same(answers, [STORED] * 4, "answers for keys that differ by case or blanks")


async def check_the_largest_payload_is_kept(env: Env) -> None:
    payload = b'"' + b"x" * (MAX_PAYLOAD - 2) + b'"'
    job_id = await env.put(payload=payload)
    same((await env.read(job_id)).payload == payload, True, "whether a payload of the largest size came back whole")


async def check_a_delay_counts_from_the_stores_now(env: Env) -> None:
    now = await env.now()
    job_id = await env.put(delay=MINUTE)
    record = await env.expect(job_id, State.SCHEDULED, "due in a minute")
    same(record.due_at, now + MINUTE, "due_at")
    same(await env.claim_ids(), [], "claimed before it is due")


async def check_at_says_when(env: Env) -> None:
    now = await env.now()
    later, earlier = await env.put(at=now + MINUTE), await env.put(at=now - MINUTE)
    same((await env.expect(later, State.SCHEDULED, "due in a minute")).due_at, now + MINUTE, "due_at")
    await env.expect(earlier, State.READY, "due a minute ago")
    await env.expect(await env.put(at=now), State.READY, "due just now")


async def check_a_job_with_unfinished_parents_waits(env: Env) -> None:
    parent = await env.put()
    child = await env.put(parents=[parent], queue="later")
    record = await env.expect(child, State.WAITING, "its parent is ready")
    same(record.parents_open, 1, "parents_open")
    same(await env.claim_ids(lanes=[Lane("later")]), [], "claimed while it waits")


async def check_jobs_of_the_call_may_be_parents_of_later_ones(env: Env) -> None:
    first = env.job()
    second = env.job(parents=[first.id])
    same(await env.enqueue([first, second]), [STORED, STORED], "answers")
    await env.expect(second.id, State.WAITING, "its parent came in the same call")
    late = env.job()
    same(await env.enqueue([env.job(parents=[late.id]), late]), [UNKNOWN, STORED], "the parent comes after its child")


async def check_an_unknown_parent_refuses_the_job_alone(env: Env) -> None:
    before, refused, after = env.job(), env.job(parents=[await env.put(), env.id()]), env.job()
    below = env.job(parents=[refused.id])
    answers = await env.enqueue([before, refused, below, after])
    same(answers, [STORED, UNKNOWN, UNKNOWN, STORED], "answers, one job naming an unknown parent, one naming that job")
    same(await env.store.get_jobs([refused.id, below.id]), [None, None], "what is stored of them")
    await env.expect(after.id, State.READY, "it does not depend on the success of others")


async def check_an_unknown_parent_replaces_nobody(env: Env) -> None:
    holder = await env.put(unique=Unique("k"))
    job = env.job(unique=Unique("k", replace=True), parents=[env.id()])
    same(await env.enqueue([job]), [UNKNOWN], "answer")
    await env.expect(holder, State.READY, "the job that would have replaced it was refused")


async def check_a_finished_parent_counts_at_once(env: Env) -> None:
    done, dead = await env.put_in(State.SUCCEEDED), await env.put_in(State.DEAD)
    await env.expect(await env.put(parents=[done]), State.READY, "its only parent has succeeded")
    child = await env.put(parents=[done, dead])
    record = await env.expect(child, State.CANCELLED, "one of its parents is dead")
    same(record.reason, Reason.PARENT, "reason")
    await env.expect(await env.put(parents=[done], delay=SECOND), State.SCHEDULED, "parents settled, due later")
    still = await env.put(queue="elsewhere")
    record = await env.expect(await env.put(parents=[done, still]), State.WAITING, "one of its two parents is ready")
    same(record.parents_open, 1, "parents_open")


async def check_a_job_that_can_never_run_is_finished_at_once(env: Env) -> None:
    """And keeps nobody in the store."""
    dead = await env.put_in(State.DEAD)
    before = await env.read(dead)
    job_id = await env.put(parents=[dead], unique=Unique("k"))
    now = await env.now()
    record = await env.read(job_id)
    same((record.finished_at, record.purge_at), (now, now + env.settings.keep), "finished_at, purge_at")
    same((await env.read(dead)).purge_at, before.purge_at, "its parent's purge_at")
    same(await env.enqueue([env.job(unique=Unique("k"))]), [STORED], "its unique key is free")


async def check_a_parent_named_twice_counts_once(env: Env) -> None:
    parent = await env.put()
    child = await env.put(parents=[Parent(parent), Parent(parent)], queue="later")
    same((await env.read(child)).parents_open, 1, "parents_open")
    worker = await env.worker()
    await worker.end(await worker.claim_one())
    await env.expect(child, State.READY, "its parent has succeeded")


async def check_an_expiry_in_the_past_cancels_at_once(env: Env) -> None:
    now = await env.now()
    for job_id in (await env.put(expires_at=now - 1), await env.put(expires_at=now), await env.put(expires_in=0)):
        record = await env.expect(job_id, State.CANCELLED, "its expiry is past")
        same((record.reason, record.finished_at), (Reason.EXPIRED, now), "reason, finished_at")
    await env.expect(await env.put(expires_at=now + 1), State.READY, "its expiry is to come")


async def check_a_batch_is_bounded(env: Env) -> None:
    await raises(UsageError, env.enqueue(env.jobs(MAX_BATCH + 1)), f"enqueueing {MAX_BATCH + 1} jobs")
    same(await env.store.counts(), {}, "what was stored of a refused batch")
    await env.put_all(env.jobs(MAX_BATCH))
    same(await env.store.counts(), {("default", State.READY): MAX_BATCH}, "counts after the largest batch")


async def check_an_empty_batch_is_nothing(env: Env) -> None:
    same(await env.enqueue([]), [], "answers to nothing")


async def check_all_kinds_in_one_call_are_answered_in_order(env: Env) -> None:
    parent = env.job()
    batch = [
        parent,
        env.job(delay=SECOND),
        env.job(unique=Unique("k")),
        env.job(unique=Unique("k")),
        env.job(parents=[parent.id]),
        env.job(parents=[env.id()]),
        env.job(expires_in=0),
        env.job(),
    ]
    answers = await env.enqueue(batch)
    duplicate = EnqueueAnswer(Enqueued.DUPLICATE, batch[2].id)
    same(answers, [STORED, STORED, STORED, duplicate, STORED, UNKNOWN, STORED, STORED], "answers")
    states = await env.states([batch[i].id for i in (0, 1, 2, 4, 6, 7)])
    ready = State.READY
    same(states, [ready, State.SCHEDULED, ready, State.WAITING, State.CANCELLED, ready], "states")


async def check_jobs_that_are_stored_together_keep_their_order(env: Env) -> None:
    """Plain ones and others, mixed: positions are given in the order of the call."""
    done = await env.put_in(State.SUCCEEDED)
    worker = await env.worker()
    same(await worker.claim(), [], "left over")
    batch = [
        env.job(),
        env.job(unique=Unique("a")),
        env.job(),
        env.job(parents=[done]),
        env.job(expires_in=MINUTE),
        env.job(),
    ]
    ids = await env.put_all(batch)
    claimed = [job.id for job in await worker.claim()]
    same(claimed, ids, "order of claiming")


async def check_what_is_no_job_is_refused(env: Env) -> None:
    """By `UsageError`; what becomes of other jobs of the call is not said."""
    wrong: list[dict[str, Any]] = [
        *({"id": one} for one in (b"x", b"x" * 17)),
        *({"priority": one} for one in (-1, 10, 2**70)),
        *({name: "\ud800"} for name in ("task", "queue", "requires", "limit_key")),
        *({"payload": one} for one in ("{}", None)),
        {"options": "{}"},
        *({name: 2**70} for name in ("delay", "at", "expires_in", "expires_at")),
        {"at": "noon"},
        {"unique": Unique("\ud800")},
        {"unique": "k"},
    ]
    for fields in wrong:
        job = msgspec.structs.replace(env.job(), **fields)
        await raises(UsageError, env.enqueue([job]), f"a job with {fields}")
    same(await env.claim_ids(), [], "claimable")
    await env.put()
