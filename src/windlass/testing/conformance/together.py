"""Several at once, through several store objects: one winner, whoever it is."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Sequence
from typing import TypeVar

from windlass.core.clock import SECOND
from windlass.core.lifecycle import Outcome, State
from windlass.core.model import STORED, Enqueued, Settled, Unique
from windlass.core.records import Limit, LimitScope
from windlass.testing.conformance.env import Env, ended
from windlass.testing.conformance.expect import holds, same

T = TypeVar("T")
MANY = 4


async def _at_once(calls: Sequence[Awaitable[T]]) -> list[T]:
    return list(await asyncio.gather(*calls))


async def check_claims_share_the_jobs(env: Env) -> None:
    ids = await env.put_all(env.jobs(60))
    workers = [await env.worker(env.twin()) for _ in range(MANY)]
    taken: list[bytes] = []
    for _ in range(4):
        taken += [job.id for jobs in await _at_once([worker.claim(5) for worker in workers]) for job in jobs]
    same((len(taken), len(set(taken))), (60, 60), "jobs taken by several at once, and how many different ones")
    same(set(taken), set(ids), "the jobs")


async def check_the_same_enqueue_at_once_stores_once(env: Env) -> None:
    batch = env.jobs(20)
    stores = [env.twin() for _ in range(MANY)]
    now = await env.now()
    results = await _at_once([store.enqueue(batch, first_sent=now) for store in stores])
    same([result.jobs for result in results], [[STORED] * 20] * MANY, "answers")
    same(Counter(await env.claim_ids()), Counter(job.id for job in batch), "claimed, each once")


async def check_a_unique_key_has_one_holder(env: Env) -> None:
    jobs = env.jobs(MANY, unique=Unique("k"))
    now = await env.now()
    results = await _at_once([env.twin().enqueue([job], first_sent=now) for job in jobs])
    answers = [result.jobs[0] for result in results]
    stored = [job.id for job, answer in zip(jobs, answers, strict=True) if answer == STORED]
    same(len(stored), 1, "jobs stored with one key, enqueued at once")
    duplicates = [answer.holder for answer in answers if answer.status is Enqueued.DUPLICATE]
    same(duplicates, stored * (MANY - 1), "the holder that the others were told")


async def check_a_limit_holds_for_all_at_once(env: Env) -> None:
    await env.put_all(env.jobs(20))
    await env.store.put_limit(Limit(scope=LimitScope.QUEUE, name="default", concurrency=3))
    workers = [await env.worker(env.twin()) for _ in range(MANY)]
    taken = await _at_once([worker.claim(2) for worker in workers])
    same(sum(map(len, taken)), 3, "jobs taken at once under a limit of three")


async def check_a_settle_and_a_reap_have_one_winner(env: Env) -> None:
    """Either the result stands and no loss is counted, or the job goes back and the settle is lost."""
    ids = await env.put_all(env.jobs(10))
    worker = await env.worker(env.twin())
    jobs = await worker.claim()
    await env.advance(env.settings.lease + SECOND)
    signs = await env.store.observe()
    results, _ = await asyncio.gather(worker.settle_all(*map(ended, jobs)), env.twin().reap(signs))
    for job_id, answer in zip(ids, results.answers, strict=True):
        record = await env.read(job_id)
        got = (record.state, record.losses)
        expected = (State.SUCCEEDED, 0) if answer is Settled.APPLIED else (State.READY, 1)
        same(got, expected, f"state and losses of a job whose settle answered {answer.name}")


async def check_several_reapers_count_each_loss_once(env: Env) -> None:
    ids = await env.put_all(env.jobs(10))
    worker = await env.worker()
    await worker.claim()
    await env.advance(env.settings.lease)
    signs = await env.store.observe()
    progress = await _at_once([env.twin().reap(signs) for _ in range(MANY)])
    same(sum(step.done for step in progress), 10, "jobs taken back by all together")
    same([(await env.read(job_id)).losses for job_id in ids], [1] * 10, "losses")


async def check_several_janitors_do_each_thing_once(env: Env) -> None:
    await env.put_all([*env.jobs(10, delay=SECOND), *env.jobs(10, expires_in=SECOND, queue="other")])
    await env.advance(SECOND)
    progress = await _at_once([env.twin().promote() for _ in range(MANY)])
    same(sum(step.done for step in progress), 20, "jobs promoted and expired by all together")


async def check_parents_that_end_at_once_release_once(env: Env) -> None:
    parents = await env.put_all(env.jobs(MANY))
    child = await env.put(parents=parents, queue="later")
    workers = [await env.worker(env.twin()) for _ in parents]
    jobs = [await worker.claim_one() for worker in workers]
    answers = await _at_once([worker.settle(job, Outcome.SUCCEEDED) for worker, job in zip(workers, jobs, strict=True)])
    same(answers, [Settled.APPLIED] * MANY, "answers")
    record = await env.expect(child, State.READY, "all its parents ended at once")
    same(record.parents_open, 0, "parents_open")


async def check_a_renewal_and_a_settle_may_cross(env: Env) -> None:
    await env.put_all(env.jobs(10))
    worker = await env.worker()
    jobs = await worker.claim()
    twin = env.twin()
    held = [(job.id, job.token) for job in jobs]
    result, renewal = await asyncio.gather(
        worker.settle_all(*map(ended, jobs)), twin.renew(worker.id, held, worker.number)
    )
    same(result.answers, [Settled.APPLIED] * 10, "answers of the settle")
    holds(not renewal.revoked, "the renewal was told that the session is over")
    same((await env.store.counts())["default", State.SUCCEEDED], 10, "succeeded")
