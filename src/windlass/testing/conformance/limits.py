"""Queue records: paused, and how many at once. For all workers together."""

from __future__ import annotations

from windlass.core.errors import UsageError
from windlass.core.lifecycle import Outcome, State
from windlass.core.model import Lane
from windlass.core.records import Limit, LimitScope, Rate
from windlass.testing.conformance.env import Env, Worker, ended
from windlass.testing.conformance.expect import raises, same

QUEUE, TASK, KEY = LimitScope.QUEUE, LimitScope.TASK, LimitScope.KEY


async def _limit(env: Env, scope: LimitScope, name: str, concurrency: int | None = None, **more: object) -> None:
    limit = Limit(scope=scope, name=name, concurrency=concurrency, **more)  # type: ignore[arg-type]  # fields of all types
    await env.store.put_limit(limit)


async def _running(env: Env, ids: list[bytes]) -> int:
    return (await env.states(ids)).count(State.RUNNING)


async def check_a_paused_queue_gives_nothing(env: Env) -> None:
    ids = await env.put_all([env.job(), env.job(requires="gpu=1"), env.job(queue="other")])
    await env.store.pause(QUEUE, "default", paused=True)
    lanes = [Lane("default"), Lane("default", "gpu=1"), Lane("other")]
    same(await env.claim_ids(lanes=lanes), ids[2:], "claimed from a paused queue's lanes and another")
    await env.store.pause(QUEUE, "default", paused=False)
    same(await env.claim_ids(lanes=lanes), ids[:2], "claimed once it goes on")


async def check_pausing_keeps_the_other_limits(env: Env) -> None:
    rate = Rate(2, per=10, burst=3)
    for scope in (QUEUE, TASK):
        await _limit(env, scope, "n", 2, rate=rate)
        for paused in (True, True, False, False):
            await env.store.pause(scope, "n", paused=paused)
            expected = [Limit(scope=scope, name="n", paused=paused, concurrency=2, rate=rate)]
            same(await env.store.limits(scope), expected, f"the record after pause({paused})")


async def check_a_limit_leaves_a_pause_as_it_is(env: Env) -> None:
    ids = await env.put_all([env.job(), env.job(task="u")])
    for scope, name in ((QUEUE, "default"), (TASK, "u")):
        await env.store.pause(scope, name, paused=True)
        for concurrency in (2, 5, None):
            await _limit(env, scope, name, concurrency)
            expected = [Limit(scope=scope, name=name, paused=True, concurrency=concurrency)]
            same(await env.store.limits(scope), expected, f"the record after a limit of {concurrency} was put")
    same(await env.claim_ids(), [], "claimed from a paused queue after limits were put and taken away")
    await env.store.pause(QUEUE, "default", paused=False)
    same(await env.claim_ids(), ids[:1], "claimed beside a paused task after limits were put and taken away")


async def check_a_limit_cannot_pause(env: Env) -> None:
    """There is one verb for that, so that none undoes what another did."""
    paused = Limit(scope=QUEUE, name="default", paused=True)
    await raises(UsageError, env.store.put_limit(paused), "putting a record that says paused")
    same(await env.store.limits(), [], "the records afterwards")


async def check_what_was_paused_without_a_record_has_none_afterwards(env: Env) -> None:
    ids = await env.put_all([env.job(task="u"), env.job()])
    await env.store.pause(TASK, "u", paused=True)
    same(await env.store.limits(), [Limit(scope=TASK, name="u", paused=True)], "the record of a paused task")
    same(await env.claim_ids(), ids[1:], "claimed beside a paused task")
    await env.store.pause(TASK, "u", paused=False)
    same(await env.store.limits(), [], "the records once it goes on")
    same(await env.claim_ids(), ids[:1], "claimed once it goes on")
    await env.store.pause(QUEUE, "nobody", paused=False)
    same(await env.store.limits(), [], "the records after a queue without one was told to go on")


async def check_what_runs_goes_on_when_its_queue_is_paused(env: Env) -> None:
    await env.put()
    worker = await env.worker()
    job = await worker.claim_one()
    await env.store.pause(QUEUE, "default", paused=True)
    same((await worker.renew([job])).lost, [], "lost")
    await worker.end(job)


async def check_a_paused_task_holds_nobody_else_up(env: Env) -> None:
    await env.put(task="u", priority=9)
    behind = await env.put()
    await env.store.pause(TASK, "u", paused=True)
    same(await env.claim_ids(), [behind], "claimed, a paused task's job being first in the lane")


async def check_a_queues_concurrency_is_for_all_workers(env: Env) -> None:
    ids = await env.put_all([*env.jobs(4), *env.jobs(2, requires="gpu=1")])
    await _limit(env, QUEUE, "default", 3)
    one, two = await env.worker(), await env.worker()
    lanes = [Lane("default"), Lane("default", "gpu=1")]
    same(len(await one.claim(lanes=lanes[1:])), 2, "claimed by the first, from one lane")
    held = await two.claim(lanes=lanes)
    same([job.id for job in held], ids[:1], "claimed by the second: the one that is left")
    same(await one.claim(lanes=lanes), [], "claimed at the limit")
    await two.end(held[0])
    same([job.id for job in await one.claim(lanes=lanes)], [ids[1]], "claimed once one has ended")


async def check_every_end_of_an_attempt_frees_its_place(env: Env) -> None:
    await _limit(env, QUEUE, "default", 1)
    await env.put()
    worker = await env.worker()
    for outcome in (Outcome.RETRY, Outcome.SNOOZED, Outcome.RELEASED, Outcome.UNDELIVERABLE):
        await worker.end(await worker.claim_one(), outcome)
    await worker.claim_one()
    await env.store.unclaim(worker.id, worker.number)
    await worker.claim_one()
    await worker.renew([])
    await worker.claim_one()
    await env.store.close(worker.id)
    worker = await env.worker()
    await worker.claim_one()
    await env.reap(worker)
    worker = await env.worker()
    await worker.end(await worker.claim_one())


async def check_a_dead_worker_holds_its_places_until_it_is_reaped(env: Env) -> None:
    await _limit(env, QUEUE, "default", 1)
    await env.put_all(env.jobs(2))
    dead = await env.worker()
    await dead.claim_one()
    await env.advance(env.settings.lease)
    worker = await env.worker()
    same(await worker.claim(), [], "claimed while a dead worker's job counts as running")
    await env.store.reap(await env.store.observe())
    same(len(await worker.claim()), 1, "claimed after it was reaped")


async def check_a_tasks_concurrency_is_for_all_queues(env: Env) -> None:
    for queue in ("a", "b"):
        await env.put_all(env.jobs(2, queue=queue))
        await env.put(queue=queue, task="u")
    await _limit(env, TASK, "t", 1)
    lanes = [Lane("a"), Lane("b")]
    worker = await env.worker()
    tasks = sorted(job.task for job in await worker.claim(lanes=lanes))
    same(tasks, ["t", "u", "u"], "tasks claimed: one of the limited, all of the other")


async def check_a_keys_concurrency(env: Env) -> None:
    ids = await env.put_all(
        [env.job(limit_key="k"), env.job(limit_key="k", task="u"), env.job(), env.job(limit_key="l")]
    )
    await _limit(env, KEY, "k", 1)
    claimed = sorted(await env.claim_ids())
    same(claimed, sorted([ids[0], ids[2], ids[3]]), "claimed: one with the key, and all without")


async def check_a_groups_record_is_for_each_of_its_keys(env: Env) -> None:
    keys = ("g:1", "g:1", "g:2", "g:2", "g", "g", "h:1", "h:1", "gg:1", "gg:1")
    await env.put_all([env.job(limit_key=key) for key in keys])
    await _limit(env, KEY, "g", 1)
    worker = await env.worker()
    claimed = sorted(str(job.limit_key) for job in await worker.claim())
    same(claimed, ["g", "g:1", "g:2", "gg:1", "gg:1", "h:1", "h:1"], "keys claimed: one of each in the group")


async def check_a_keys_own_record_goes_before_its_groups(env: Env) -> None:
    await env.put_all([env.job(limit_key=key) for key in ("g:1",) * 3 + ("g:2",) * 3])
    await _limit(env, KEY, "g", 1)
    await _limit(env, KEY, "g:1", 2)
    worker = await env.worker()
    same(sorted(str(job.limit_key) for job in await worker.claim()), ["g:1", "g:1", "g:2"], "keys claimed")


async def check_all_limits_hold_together(env: Env) -> None:
    await env.put_all([env.job(limit_key="k") for _ in range(4)])
    await _limit(env, QUEUE, "default", 3)
    await _limit(env, TASK, "t", 2)
    await _limit(env, KEY, "k", 1)
    worker = await env.worker()
    job = await worker.claim_one()
    same(await worker.claim(), [], "claimed beyond the tightest of three limits")
    await _limit(env, KEY, "k")
    same(len(await worker.claim()), 1, "claimed once that one is gone: up to the next")
    await worker.end(job)


async def check_a_limited_job_holds_nobody_else_up(env: Env) -> None:
    """However many wait at the head of the lane."""
    await env.put_all([env.job(limit_key="k", priority=9) for _ in range(600)])
    behind = await env.put_all(env.jobs(3))
    await _limit(env, KEY, "k", 1)
    worker = await env.worker()
    claimed = []
    for _ in range(20):
        answer = await worker.ask()
        claimed += [job.id for job in answer.jobs]
        if not answer.jobs and not answer.more:
            break
    same(claimed[1:], behind, "claimed behind the first of 600 that are limited to one")


async def check_a_freed_place_is_given_in_the_same_trip(env: Env) -> None:
    ids = await env.put_all(env.jobs(2))
    await _limit(env, QUEUE, "default", 1)
    worker = await env.worker()
    job = await worker.claim_one()
    result = await worker.settle_all(ended(job), claim=worker.request())
    same([job.id for job in result.claim.jobs] if result.claim else [], ids[1:], "what came with the settlement")


async def check_a_lower_limit_stops_new_starts_only(env: Env) -> None:
    ids = await env.put_all(env.jobs(4))
    worker = await env.worker()
    held = await worker.claim(3)
    await _limit(env, QUEUE, "default", 1)
    await worker.end(held[0])
    same(await worker.claim(), [], "claimed while two run under a limit of one")
    same(await _running(env, ids), 2, "running")
    await worker.end(held[1])
    await worker.end(held[2])
    same(len(await worker.claim()), 1, "claimed once nothing runs")


async def check_records_are_kept_replaced_and_listed(env: Env) -> None:
    records = [
        Limit(scope=QUEUE, name="a", concurrency=1),
        Limit(scope=QUEUE, name="b", concurrency=2, rate=Rate(3, 5, 7)),
        Limit(scope=TASK, name="a", concurrency=1),
        Limit(scope=KEY, name="g:1", rate=Rate(1)),
    ]
    for record in reversed(records):
        await env.store.put_limit(record)
    same(await env.store.limits(), records, "limits(), by scope and name")
    same(await env.store.limits(QUEUE), records[:2], "limits of queues")
    other = Limit(scope=QUEUE, name="a", concurrency=5)
    for _ in range(2):
        await env.store.put_limit(other)
    same(await env.store.limits(QUEUE), [other, records[1]], "limits of queues after one was replaced")
    for _ in range(2):
        await env.store.put_limit(Limit(scope=QUEUE, name="a"))
    same(await env.store.limits(QUEUE), records[1:2], "limits of queues after one was put that limits nothing")


async def check_a_limit_is_in_force_for_every_worker_at_once(env: Env) -> None:
    """Whatever a store object remembers of the records."""
    await env.put_all(env.jobs(3))
    here, there = await env.worker(), Worker(env.twin(), env.session())
    await there.store.open(there.session)
    same((len(await here.claim(1)), len(await there.claim(1))), (1, 1), "claimed by either before")
    await env.store.pause(QUEUE, "default", paused=True)
    same((len(await here.claim(1)), len(await there.claim(1))), (0, 0), "claimed by either while paused")
    await there.store.pause(QUEUE, "default", paused=False)
    same(len(await here.claim(1)), 1, "claimed after another store object lifted it")


async def check_what_runs_is_counted_by_all_that_can_be_limited(env: Env) -> None:
    same(await env.store.running(), {}, "running() of an empty store")
    await env.put_all([env.job(limit_key="g:1"), env.job(task="u", limit_key="g:1", requires="gpu=1"), env.job()])
    waiting = await env.put(queue="other", limit_key="g:2")
    same(await env.store.running(), {}, "running() while all waits")
    worker = await env.worker()
    held = await worker.claim(lanes=[Lane("default"), Lane("default", "gpu=1")])
    expected = {(QUEUE, "default"): 3, (TASK, "t"): 2, (TASK, "u"): 1, (KEY, "g:1"): 2}
    same(await env.store.running(), expected, "running()")
    for job in held:
        await worker.end(job)
    await worker.claim(lanes=[Lane("other")])
    expected = {(QUEUE, "other"): 1, (TASK, "t"): 1, (KEY, "g:2"): 1}
    same(await env.store.running(), expected, f"running() once all but {waiting.hex()} have ended")
