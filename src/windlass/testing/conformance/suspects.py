"""Jobs that may kill their process: they run alone, and not for ever."""

from __future__ import annotations

from windlass.core.lifecycle import Outcome, State
from windlass.core.model import Lane, Refusal
from windlass.core.records import LimitScope, Reason
from windlass.testing.conformance.env import Env, ended
from windlass.testing.conformance.expect import holds, same


async def check_the_second_loss_makes_a_suspect(env: Env) -> None:
    job_id = await env.put()
    await env.lose(job_id)
    same((await env.read(job_id)).suspect, False, "suspect after one loss")
    await env.lose(job_id)
    record = await env.expect(job_id, State.READY, "lost twice")
    same((record.suspect, record.losses), (True, 2), "suspect and losses")


async def check_suspects_wait_for_a_claim_alone(env: Env) -> None:
    suspect, plain = await env.put(), await env.put(queue="safe")
    await env.lose(suspect, 2)
    worker = await env.worker()
    lanes = [Lane("default"), Lane("safe")]
    same([job.id for job in await worker.claim(lanes=lanes)], [plain], "claimed by a plain claim")
    alone = await env.worker()
    same([job.id for job in await alone.claim(lanes=lanes, alone=True)], [suspect], "claimed by a claim alone")


async def check_a_claim_alone_takes_one_suspect_and_nothing_else(env: Env) -> None:
    suspects = [await env.put(), await env.put()]
    for _ in range(2):
        worker = await env.worker()
        await worker.claim()
        await env.reap(worker)
    await env.put_all(env.jobs(2))
    worker = await env.worker()
    lanes = [Lane("other"), Lane("default", "", 10)]
    job = await worker.claim_one(lanes=lanes, alone=True)
    same(job.id, suspects[0], "the first suspect, at its old position")
    await worker.end(job)
    job = await worker.claim_one(lanes=lanes, alone=True)
    same(job.id, suspects[1], "the second")
    await worker.end(job)
    same(await worker.claim(lanes=lanes, alone=True), [], "claimed alone, plain jobs only being left")


async def check_alone_means_alone(env: Env) -> None:
    suspect = await env.put()
    await env.lose(suspect, 2)
    await env.put_all(env.jobs(2))
    worker = await env.worker()
    plain = await worker.claim_one()
    same((await worker.ask(alone=True)).refused, Refusal.NOT_ALONE, "claiming alone beside a plain job")
    await worker.end(plain)
    job = await worker.claim_one(alone=True)
    same((await worker.ask()).refused, Refusal.NOT_ALONE, "a plain claim beside a suspect")
    same((await worker.ask(alone=True)).refused, Refusal.NOT_ALONE, "a claim alone beside a suspect")
    await worker.end(job)
    same(len(await worker.claim()), 1, "jobs for a plain claim once the suspect is settled")


async def check_settling_makes_room_for_the_claim_that_travels_along(env: Env) -> None:
    suspect = await env.put()
    await env.lose(suspect, 2)
    await env.put()
    worker = await env.worker()
    plain = await worker.claim_one()
    result = await worker.settle_all(ended(plain), claim=worker.request(alone=True))
    got = [job.id for job in result.claim.jobs] if result.claim else []
    same(got, [suspect], "what came alone, with the settlement of all that was held")
    await env.put()
    result = await worker.settle_all(*map(ended, result.claim.jobs if result.claim else []), claim=worker.request())
    holds(result.claim is not None and result.claim.jobs, "a plain claim with the suspect's settlement brought nothing")


async def check_losses_alone_are_counted_to_death(env: Env) -> None:
    job_id = await env.put()
    await env.lose(job_id, 2)
    for alone in range(1, env.settings.max_lost + 1):
        await env.expect(job_id, State.READY, f"lost alone {alone - 1} times")
        await env.lose(job_id)
    now = await env.now()
    record = await env.expect(job_id, State.DEAD, f"lost alone {env.settings.max_lost} times")
    same(record.reason, Reason.LOST, "reason")
    same(record.losses, 2 + env.settings.max_lost, "losses")
    same(record.purge_at, now + env.settings.keep_dead, "purge_at")
    same(record.failures, 0, "failures: a loss is none")


async def check_neighbours_of_a_killer_do_not_die_for_it(env: Env) -> None:
    """Losses beside others make a suspect, and no more: it may be innocent."""
    ids = await env.put_all(env.jobs(3))
    for _ in range(2):
        worker = await env.worker()
        await worker.claim()
        await env.reap(worker)
    same([(await env.read(job_id)).suspect for job_id in ids], [True] * 3, "suspect, after dying together twice")
    worker = await env.worker()
    for _ in ids:
        await worker.end(await worker.claim_one(alone=True))
    same(await env.states(ids), [State.SUCCEEDED] * 3, "states, each having run alone")


async def check_a_suspect_stays_one(env: Env) -> None:
    job_id = await env.put()
    await env.lose(job_id, 2)
    worker = await env.worker()
    for outcome in (Outcome.RETRY, Outcome.SNOOZED, Outcome.RELEASED, Outcome.UNDELIVERABLE):
        await worker.end(await worker.claim_one(alone=True), outcome)
        record = await env.expect(job_id, State.READY, outcome.name)
        same((record.suspect, record.losses), (True, 2), f"suspect and losses after {outcome.name}")
        same(await worker.claim(), [], f"claimed by a plain claim after {outcome.name}")
    await worker.claim_one(alone=True)
    await env.store.unclaim(worker.id, worker.number)
    same((await env.read(job_id)).losses, 2, "losses after unclaim")
    same(len(await worker.claim(alone=True)), 1, "claimed alone after unclaim")


async def check_giving_back_is_no_loss(env: Env) -> None:
    job_id = await env.put()
    for _ in range(4):
        worker = await env.worker()
        await worker.claim_one()
        await env.store.close(worker.id)
    same(((await env.read(job_id)).losses, (await env.read(job_id)).suspect), (0, False), "losses, suspect")


async def check_suspects_keep_to_their_lane_and_priority(env: Env) -> None:
    low, high = await env.put(priority=1), await env.put(priority=8)
    elsewhere = await env.put(requires="gpu=1")
    lanes = [Lane("default"), Lane("default", "gpu=1")]
    for _ in range(2):
        worker = await env.worker()
        await worker.claim(lanes=lanes)
        await env.reap(worker)
    worker = await env.worker()
    got = []
    for _ in range(3):
        job = await worker.claim_one(lanes=lanes, alone=True)
        got.append(job.id)
        await worker.end(job)
    same(got, [high, low, elsewhere], "order of claiming alone")


async def check_limits_hold_for_suspects_too(env: Env) -> None:
    job_id = await env.put()
    await env.lose(job_id, 2)
    await env.store.pause(LimitScope.QUEUE, "default", paused=True)
    worker = await env.worker()
    same(await worker.claim(alone=True), [], "claimed alone from a paused queue")
    await env.store.pause(LimitScope.QUEUE, "default", paused=False)
    same([job.id for job in await worker.claim(alone=True)], [job_id], "claimed alone once it goes on")


async def check_a_replayed_suspect_is_none(env: Env) -> None:
    job_id = await env.put()
    await env.lose(job_id, 2 + env.settings.max_lost)
    await env.store.replay([job_id])
    record = await env.read(job_id)
    same((record.suspect, record.losses), (False, 0), "suspect and losses")
    same(await env.claim_ids(), [job_id], "claimed by a plain claim")


async def check_queues_count_suspects(env: Env) -> None:
    job_id = await env.put()
    await env.put()
    worker = await env.worker()
    for _ in range(2):
        await worker.claim(1)
        await env.reap(worker)
        worker = await env.worker()
    [queue] = await env.store.queues()
    same((queue.ready, queue.suspects), (2, 1), "ready, and how many of them are suspects")
    same((await env.read(job_id)).suspect, True, "suspect")
