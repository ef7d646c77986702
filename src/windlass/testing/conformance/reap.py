"""Taking jobs back from the dead, and from nobody else."""

from __future__ import annotations

import msgspec

from windlass.core.clock import MINUTE, SECOND
from windlass.core.errors import UsageError
from windlass.core.lifecycle import Outcome, State
from windlass.core.model import MAX_BATCH, Progress, Refusal, Settled
from windlass.testing.conformance.env import Env
from windlass.testing.conformance.expect import holds, raises, same


async def check_a_dead_workers_jobs_go_back(env: Env) -> None:
    ids = await env.put_all(env.jobs(3))
    worker = await env.worker()
    await worker.claim(2)
    later = await env.put()
    same(await env.reap(worker), Progress(done=2), "progress")
    record = await env.expect(ids[0], State.READY, "its worker died")
    got = (record.losses, record.attempt, record.token, record.failures, record.suspect)
    same(got, (1, 1, 1, 0, False), "losses, attempt, token, failures, suspect")
    same(await env.claim_ids(), [*ids, later], "order of claiming: old positions")


async def check_what_its_worker_died_of_is_undeliverable_no_longer(env: Env) -> None:
    """It ran, perhaps for hours: undeliverable once more, it would be dead at once."""
    job_id = await env.put()
    worker = await env.worker()
    await worker.end(await worker.claim_one(), Outcome.UNDELIVERABLE)
    await worker.claim_one()
    await env.reap(worker)
    same((await env.read(job_id)).undeliverable_since, None, "undeliverable_since")


async def check_the_lease_must_be_over(env: Env) -> None:
    await env.put()
    worker = await env.worker()
    job = await worker.claim_one()
    await env.advance(env.settings.lease - 1)
    same((await env.store.reap(await env.store.observe())).done, 0, "jobs taken, a microsecond of the lease being left")
    await env.expect(job.id, State.RUNNING, "the lease was not over")
    same((await worker.renew([job])).revoked, False, "revoked")


async def check_a_renewal_after_the_sign_saves_the_session(env: Env) -> None:
    """Compare-and-set on the renewal counter: an outage of the store, or a clock that jumps, robs nobody."""
    await env.put()
    worker = await env.worker()
    job = await worker.claim_one()
    await env.advance(env.settings.lease + SECOND)
    signs = await env.store.observe()
    same((await worker.renew([job])).revoked, False, "revoked, having renewed late")
    await env.advance(env.settings.lease + SECOND)
    same((await env.store.reap(signs)).done, 0, "jobs taken by a sign from before the renewal")
    await env.expect(job.id, State.RUNNING, "its worker has renewed since it was seen")
    same((await worker.settle(job, Outcome.SUCCEEDED)), Settled.APPLIED, "its settlement")


async def check_a_forged_counter_reaps_nobody(env: Env) -> None:
    await env.put()
    worker = await env.worker()
    await worker.claim()
    await worker.renew([], answered=0)
    await env.advance(env.settings.lease)
    signs = [
        msgspec.structs.replace(sign, renewals=sign.renewals + by)
        for sign in await env.store.observe()
        for by in (-1, 1)
    ]
    for sign in signs:
        same((await env.store.reap([sign])).done, 0, f"jobs taken by a sign with {sign.renewals} renewals instead of 1")


async def check_the_store_looks_at_the_lease_itself(env: Env) -> None:
    """A sign may be old, or wrong about how much is left."""
    await env.put()
    worker = await env.worker()
    await worker.claim()
    await env.advance(env.settings.lease - SECOND)
    signs = [msgspec.structs.replace(sign, lease_left=-MINUTE) for sign in await env.store.observe()]
    holds(signs, "a session with a second of its lease left was not listed")
    same((await env.store.reap(signs)).done, 0, "jobs taken by a sign that says that the lease is over, and it is not")


async def check_reaping_is_bounded(env: Env) -> None:
    ids = await env.put_all(env.jobs(5))
    worker = await env.worker()
    await worker.claim()
    same(await env.reap(worker, limit=2), Progress(done=2, more=True), "progress of the first step")
    states = await env.states(ids)
    same((states.count(State.READY), states.count(State.RUNNING)), (2, 3), "ready and running after it")
    signs = await env.store.observe()
    same([(sign.id, sign.revoked) for sign in signs], [(worker.id, True)], "signs: revoked, and still holding jobs")
    same(await env.store.reap(signs, 3), Progress(done=3), "progress of the second step")
    same(await env.states(ids), [State.READY] * 5, "states")
    same(await env.store.sessions(), [], "sessions: forgotten once it holds nothing")


async def check_several_sessions_share_the_bound(env: Env) -> None:
    await env.put_all(env.jobs(6))
    workers = [await env.worker() for _ in range(3)]
    for worker in workers:
        await worker.claim(2)
    done = [await env.reap(*workers, limit=3)]
    holds(done[0].more, "more: three of six jobs were taken back")
    while done[-1].more:
        done.append(await env.store.reap(await env.store.observe(), 3))
    same(sum(step.done for step in done), 6, "jobs taken back in all")
    same((await env.store.counts())["default", State.READY], 6, "ready afterwards")


async def check_reaping_revokes_first(env: Env) -> None:
    """From then on the session takes nothing and keeps nothing, though most of its jobs are still to be moved."""
    await env.put_all(env.jobs(4))
    worker = await env.worker()
    jobs = await worker.claim(3)
    await env.reap(worker, limit=1)
    same((await worker.ask()).refused, Refusal.REVOKED, "its claim")
    same((await worker.renew(jobs)).revoked, True, "its renewal")


async def check_a_revoked_session_may_settle_what_was_not_taken(env: Env) -> None:
    await env.put_all(env.jobs(3))
    worker = await env.worker()
    jobs = await worker.claim()
    await env.reap(worker, limit=1)
    running = [job for job in jobs if await env.state(job.id) is State.RUNNING]
    taken = [job for job in jobs if job not in running]
    same(await worker.settle(running[0], Outcome.SUCCEEDED), Settled.APPLIED, "settling what was not yet taken")
    same(await worker.settle(taken[0], Outcome.SUCCEEDED), Settled.LOST, "settling what was taken")
    same((await env.store.reap(await env.store.observe())).done, 1, "jobs left to take")
    await env.expect(running[0].id, State.SUCCEEDED, "settled in time")


async def check_reaping_twice_counts_once(env: Env) -> None:
    job_id = await env.put()
    worker = await env.worker()
    await worker.claim_one()
    await env.advance(env.settings.lease)
    signs = await env.store.observe()
    same([(await env.store.reap(signs)).done for _ in range(3)], [1, 0, 0], "jobs taken by the same signs, repeated")
    same((await env.read(job_id)).losses, 1, "losses")


async def check_reaping_does_not_touch_the_next_attempt(env: Env) -> None:
    """An old sign comes after the job was claimed by another."""
    await env.put()
    dead = await env.worker()
    await dead.claim_one()
    await env.advance(env.settings.lease)
    signs = await env.store.observe()
    await env.store.reap(signs)
    worker = await env.worker()
    job = await worker.claim_one()
    await env.store.reap(signs)
    await env.expect(job.id, State.RUNNING, "it belongs to a living session now")
    await worker.end(job)


async def check_an_idle_dead_session_is_forgotten(env: Env) -> None:
    worker, alive = await env.worker(), await env.worker()
    await env.advance(env.settings.lease)
    signs = await env.store.observe()
    await alive.renew()
    same(await env.store.reap(signs), Progress(done=0), "progress")
    same([record.session.id for record in await env.store.sessions()], [alive.id], "sessions left")
    holds((await worker.ask()).refused is not None, "a session that was reaped could claim")


async def check_a_reaped_job_is_not_too_late_to_run(env: Env) -> None:
    """It has started once, so that its expiry is met for good."""
    job_id = await env.put(expires_in=SECOND)
    worker = await env.worker()
    await worker.claim_one()
    await env.reap(worker)
    await env.store.promote()
    await env.expect(job_id, State.READY, "it had started in time")
    same(await env.claim_ids(), [job_id], "claimed again")


async def check_nothing_to_reap_is_nothing(env: Env) -> None:
    same(await env.store.reap([]), Progress(done=0), "progress of reaping nobody")


async def check_signs_are_bounded(env: Env) -> None:
    worker = await env.worker()
    await env.advance(env.settings.lease)
    [sign] = await env.store.observe()
    await raises(UsageError, env.store.reap([sign] * (MAX_BATCH + 1)), f"reaping by {MAX_BATCH + 1} signs")
    same((await env.store.claim(worker.id, worker.request())).refused, None, "a claim of whom nobody reaped")
