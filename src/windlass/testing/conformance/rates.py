"""How many starts in a time: token buckets, spent at claim."""

from __future__ import annotations

from windlass.core.clock import HOUR, MINUTE, SECOND
from windlass.core.lifecycle import Outcome
from windlass.core.model import Lane
from windlass.core.records import Limit, LimitScope, Rate
from windlass.testing.conformance.env import Env, Worker
from windlass.testing.conformance.expect import same
from windlass.testing.conformance.marks import sets_clock_back


async def _rate(env: Env, rate: Rate | None, scope: LimitScope = LimitScope.QUEUE, name: str = "default") -> Limit:
    limit = Limit(scope=scope, name=name, rate=rate)
    await env.store.put_limit(limit)
    return limit


async def _count(worker: Worker, **how: object) -> int:
    return len(await worker.claim(**how))  # type: ignore[arg-type]  # passed on


async def check_a_burst_and_then_the_rate(env: Env) -> None:
    await env.put_all(env.jobs(20))
    await _rate(env, Rate(2, SECOND, 5))
    worker = await env.worker()
    same(await _count(worker), 5, "started at once: the burst")
    same(await _count(worker), 0, "started at the same instant")
    await env.advance(SECOND // 2 - 1)
    same(await _count(worker), 0, "started a microsecond before the next token")
    await env.advance(1)
    same(await _count(worker), 1, "started after half a second, at two per second")
    await env.advance(SECOND)
    same(await _count(worker), 2, "started after another second")
    await env.advance(MINUTE)
    same(await _count(worker), 5, "started after a minute: the bucket holds no more than the burst")


async def check_the_answer_says_when_to_come_back(env: Env) -> None:
    await env.put_all(env.jobs(3))
    await _rate(env, Rate(1, 10 * SECOND))
    worker = await env.worker()
    same(len((await worker.ask()).jobs), 1, "started")
    await env.advance(4 * SECOND)
    answer = await worker.ask()
    same((answer.jobs, answer.retry_in), ([], 6 * SECOND), "jobs, and after what time to ask again")
    await env.advance(6 * SECOND)
    same(len((await worker.ask(1)).jobs), 1, "started after that time")


async def check_the_answer_says_when_the_first_may_start(env: Env) -> None:
    for queue, per in (("slow", MINUTE), ("quick", SECOND), ("slower", 2 * MINUTE)):
        await env.put_all(env.jobs(2, queue=queue))
        await _rate(env, Rate(1, per), name=queue)
    worker = await env.worker()
    lanes = [Lane("slow"), Lane("quick"), Lane("slower")]
    same(await _count(worker, lanes=lanes), 3, "started")
    same((await worker.ask(lanes=lanes)).retry_in, SECOND, "retry_in: of the quickest, not of the first or the last")


async def check_every_rate_must_allow_a_start(env: Env) -> None:
    await env.put_all(env.jobs(4, limit_key="k"))
    await _rate(env, Rate(1, MINUTE))
    await _rate(env, Rate(5, SECOND, 5), LimitScope.TASK, "t")
    await _rate(env, Rate(5, SECOND, 5), LimitScope.KEY, "k")
    worker = await env.worker()
    same(
        [await _count(worker), await _count(worker)], [1, 0], "started, the queue's rate being tighter than the others"
    )
    await env.advance(MINUTE)
    await _rate(env, None)
    await _rate(env, Rate(1, MINUTE), LimitScope.KEY, "k")
    same(await _count(worker), 1, "started, the key's rate being tighter than the task's")


async def check_a_smaller_burst_forgives_what_it_could_not_hold(env: Env) -> None:
    await env.put_all(env.jobs(110))
    await _rate(env, Rate(1, SECOND, 100))
    worker = await env.worker()
    same(await _count(worker), 100, "started: the burst")
    await _rate(env, Rate(1, SECOND, 2))
    same(await _count(worker), 0, "started just after the burst was made smaller")
    await env.advance(SECOND)
    same(await _count(worker), 1, "started a second later, the burst being two now")


async def check_a_claim_that_no_rate_holds_back_says_nothing(env: Env) -> None:
    await env.put()
    worker = await env.worker()
    same((await worker.ask()).retry_in, None, "retry_in without limits")
    await env.store.put_limit(Limit(scope=LimitScope.QUEUE, name="default", concurrency=1))
    await env.put()
    answer = await worker.ask()
    same((answer.jobs, answer.retry_in), ([], None), "jobs and retry_in at a limit of concurrency: nobody knows when")


async def check_the_rate_is_for_all_workers(env: Env) -> None:
    await env.put_all(env.jobs(10))
    await _rate(env, Rate(1, SECOND, 3))
    one, two = await env.worker(), await env.worker(env.twin())
    same((len(await one.claim(2)), await _count(two)), (2, 1), "started by either")
    await env.advance(SECOND)
    same((await _count(two), await _count(one)), (1, 0), "started a second later")


async def check_a_token_is_spent_at_claim(env: Env) -> None:
    """Whatever becomes of the attempt: the start has happened."""
    await env.put()
    await _rate(env, Rate(1, MINUTE))
    worker = await env.worker()
    await worker.end(await worker.claim_one(), Outcome.RELEASED, started=False)
    same(await _count(worker), 0, "started again within the minute")
    await env.advance(MINUTE)
    await worker.claim_one()
    await env.store.unclaim(worker.id, worker.number)
    same(await _count(worker), 0, "started again after unclaim, within the minute")


async def check_rates_of_tasks_and_keys(env: Env) -> None:
    await env.put_all([env.job(queue=queue, task=task) for queue in "ab" for task in "tuu"])
    await _rate(env, Rate(1, MINUTE, 1), LimitScope.TASK, "u")
    worker = await env.worker()
    lanes = [Lane("a"), Lane("b")]
    same([job.task for job in await worker.claim(lanes=lanes)], ["t", "u", "t"], "tasks started")
    await env.put_all([env.job(limit_key=key) for key in ("g:1", "g:1", "g:2", "g:2")])
    await _rate(env, Rate(1, MINUTE), LimitScope.KEY, "g")
    keys = sorted(str(job.limit_key) for job in await worker.claim())
    same(keys, ["g:1", "g:2"], "keys started: each has a bucket of its own")


async def check_no_token_is_spent_on_what_does_not_start(env: Env) -> None:
    await env.put_all([env.job(task="u"), env.job()])
    await _rate(env, Rate(1, MINUTE))
    await env.store.pause(LimitScope.TASK, "u", paused=True)
    worker = await env.worker()
    same([job.task for job in await worker.claim()], ["t"], "tasks started: the paused one took no token")


async def check_putting_the_same_record_again_fills_nothing(env: Env) -> None:
    await env.put_all(env.jobs(4))
    limit = await _rate(env, Rate(1, MINUTE, 2))
    worker = await env.worker()
    same(await _count(worker), 2, "started")
    await env.store.put_limit(limit)
    same(await _count(worker), 0, "started after the same record was put again")


async def check_a_record_without_a_rate_lets_all_start(env: Env) -> None:
    await env.put_all(env.jobs(4))
    await _rate(env, Rate(1, HOUR))
    worker = await env.worker()
    same(await _count(worker), 1, "started")
    await _rate(env, None)
    same(await _count(worker), 3, "started once the rate is gone")


async def check_janitors_do_not_refill_a_bucket(env: Env) -> None:
    await env.put_all([*env.jobs(3, queue="a"), *env.jobs(3, queue="b", limit_key="g:1")])
    await _rate(env, Rate(1, MINUTE), name="a")
    await _rate(env, Rate(1, MINUTE), LimitScope.KEY, "g")
    worker = await env.worker()
    lanes = [Lane("a"), Lane("b")]
    same(await _count(worker, lanes=lanes), 2, "started")
    for after in (0, MINUTE // 2, MINUTE // 2 - 1):
        await env.advance(after)
        await env.store.promote()
        await env.store.purge()
        same(await _count(worker, lanes=lanes), 0, "started after the janitor came by")
    await env.advance(1)
    await env.store.purge()
    same(await _count(worker, lanes=lanes), 2, "started after a minute")


@sets_clock_back
async def check_a_clock_set_back_stops_nothing_for_long(env: Env) -> None:
    """The bucket was last used in what is now the future: it fills from the next look on."""
    await env.put_all(env.jobs(5))
    await _rate(env, Rate(1, SECOND))
    worker = await env.worker()
    same(await _count(worker), 1, "started")
    await env.step(-HOUR)
    same(await _count(worker), 0, "started just after the clock was set back")
    await env.advance(SECOND)
    same(await _count(worker), 1, "started a second after the clock was set back by an hour")
