"""How long finished jobs are kept, and what is left of them."""

from __future__ import annotations

from windlass.core.clock import DAY, HOUR, MINUTE, SECOND
from windlass.core.graph import EdgePolicy
from windlass.core.lifecycle import Outcome, State
from windlass.core.model import KEEP_AT_LEAST, STORED, Edge, Lane, Note, Parent, Progress, Unique
from windlass.core.records import JobFilter
from windlass.testing.conformance.env import Env, Worker
from windlass.testing.conformance.expect import same


async def _finish(worker: Worker, queue: str = "default", **how: object) -> None:
    await worker.end(await worker.claim_one(lanes=[Lane(queue)]), **how)  # type: ignore[arg-type]  # fields of all types


async def _purge(env: Env) -> int:
    return (await env.store.purge()).done


async def check_a_job_goes_when_its_retention_is_over(env: Env) -> None:
    job_id = await env.put()
    worker = await env.worker()
    await _finish(worker, keep=HOUR)
    await env.advance(HOUR - 1)
    same(await _purge(env), 0, "purged a microsecond before")
    await env.expect(job_id, State.SUCCEEDED, "its retention is not over")
    await env.advance(1)
    same(await env.store.purge(), Progress(done=1), "progress at its end")
    same(await env.store.get_jobs([job_id]), [None], "what is known of it")
    same(await env.store.results([job_id]), [None], "its result")
    same((await env.store.list_jobs(JobFilter())).jobs, [], "jobs listed")
    same(await _purge(env), 0, "purged by another call")


async def check_unfinished_jobs_are_never_purged(env: Env) -> None:
    ids = [await env.put_in(state) for state in (State.WAITING, State.SCHEDULED, State.READY, State.RUNNING)]
    await env.advance(30 * DAY)
    await env.store.purge()
    same(await env.states(ids), [State.WAITING, State.SCHEDULED, State.READY, State.RUNNING], "states")


async def check_each_end_has_its_retention(env: Env) -> None:
    settings = env.settings
    worker = await env.worker()
    await env.put_all(env.jobs(2))
    for outcome in (Outcome.SUCCEEDED, Outcome.DEAD):
        job = await worker.claim_one()
        await worker.end(job, outcome, keep=2 * HOUR)
        same((await env.read(job.id)).purge_at, await env.now() + 2 * HOUR, f"purge_at of {outcome.name}")
    cancelled, expired, skipped = await env.put(), await env.put(expires_in=SECOND), await env.put()
    await env.store.cancel([cancelled])
    await env.store.skip(skipped, b"1")
    await env.advance(SECOND)
    await env.store.promote()
    for job_id in (cancelled, expired, skipped):
        record = await env.read(job_id)
        same((record.purge_at or 0) - (record.finished_at or 0), settings.keep, "retention where the store decides")


async def check_what_just_finished_is_kept_for_a_while(env: Env) -> None:
    """However short its retention: a repeated enqueue must find the id."""
    job = env.job()
    await env.put_all([job])
    worker = await env.worker()
    await _finish(worker, keep=0)
    await env.advance(KEEP_AT_LEAST - 1)
    same(await _purge(env), 0, "purged within the least time")
    same(await env.enqueue([job]), [STORED], "answer to a repeated enqueue")
    await env.expect(job.id, State.SUCCEEDED, "repeated within the least time")
    await env.advance(1)
    same(await _purge(env), 1, "purged after the least time")


async def check_purging_is_bounded(env: Env) -> None:
    ids = await env.put_all(env.jobs(5))
    await env.store.cancel(ids)
    await env.advance(env.settings.keep)
    same(await env.store.purge(2), Progress(done=2, more=True), "progress of the first step")
    same(await env.store.purge(3), Progress(done=3), "progress of the second step")


async def check_a_purged_id_can_be_stored_anew(env: Env) -> None:
    job = env.job(unique=Unique("k"))
    await env.put_all([job])
    worker = await env.worker()
    first = await worker.claim_one()
    await env.store.annotate(worker.id, [Note(job.id, first.token, 0.5, "m", "log")])
    await worker.end(first, Outcome.DEAD, error=b"e", keep=HOUR)
    await env.advance(HOUR)
    same(await _purge(env), 1, "purged")
    same(await env.enqueue([job]), [STORED], "answer to the same id")
    record = await env.expect(job.id, State.READY, "stored anew")
    got = (record.token, record.attempt, record.errors, record.progress, record.message, record.log)
    same(
        got, (0, 0, [], None, None, ""), "token, attempt, errors, progress, message, log: nothing is left of the first"
    )
    same((await worker.claim_one()).token, 1, "token of its first claim")


async def check_retention_starts_with_the_last_dependants_end(env: Env) -> None:
    parent = await env.put()
    children = [await env.put(parents=[parent], queue="later") for _ in range(2)]
    worker = await env.worker()
    await _finish(worker, keep=HOUR)
    for child in children:
        same((await env.read(parent)).purge_at, None, "purge_at while dependants are unfinished")
        await env.advance(30 * DAY)
        same(await _purge(env), 0, "purged while dependants are unfinished")
        await _finish(worker, "later", keep=365 * DAY)
        same((await env.read(child)).purge_at, await env.now() + 365 * DAY, "purge_at of a dependant")
    same((await env.read(parent)).purge_at, await env.now() + HOUR, "purge_at once its last dependant has finished")
    await env.advance(HOUR)
    same(await _purge(env), 1, "purged an hour later")
    same(await env.store.get_jobs([parent]), [None], "the parent")


async def check_a_dead_parent_is_kept_for_its_dependants_too(env: Env) -> None:
    parent = await env.put()
    child = await env.put(parents=[parent])
    await env.store.cancel([parent])
    await env.expect(child, State.CANCELLED, "its parent was cancelled")
    ends = [record.purge_at for record in (await env.read(parent), await env.read(child))]
    same(ends, [await env.now() + env.settings.keep] * 2, "purge_at of both: no dependant is unfinished")


async def check_a_new_dependant_holds_a_finished_parent(env: Env) -> None:
    parent = await env.put_in(State.SUCCEEDED)
    child = await env.put(parents=[parent], delay=HOUR)
    same((await env.read(parent)).purge_at, None, "purge_at of a parent that got a dependant after its end")
    await env.advance(60 * DAY)
    same(await _purge(env), 0, "purged")
    await env.store.cancel([child])
    kept = (await env.read(parent)).purge_at
    same(kept, await env.now() + DAY, "purge_at once that dependant has finished: its own retention, from then on")


async def check_an_added_edge_holds_a_finished_parent(env: Env) -> None:
    parent, child = await env.put_in(State.SUCCEEDED), await env.put_in(State.WAITING)
    await env.store.enqueue([], [Edge(parent, child)], first_sent=await env.now())
    same((await env.read(parent)).purge_at, None, "purge_at of a parent that got an edge after its end")


async def check_a_dependant_outlives_its_purged_parent(env: Env) -> None:
    """What it was told of its parent stays true."""
    parent = await env.put()
    child = await env.put(parents=[parent], queue="later")
    worker = await env.worker()
    await _finish(worker, keep=KEEP_AT_LEAST)
    await worker.end(await worker.claim_one(lanes=[Lane("later")]), Outcome.DEAD, keep=DAY)
    await env.advance(KEEP_AT_LEAST)
    same(await _purge(env), 1, "purged: the parent, its dependant having finished")
    await env.store.replay([child])
    await env.expect(child, State.READY, "replayed; its parent had succeeded and is gone")
    await _finish(worker, "later", keep=MINUTE * 10)
    await env.advance(10 * MINUTE)
    same(await _purge(env), 1, "purged: the dependant")


async def check_delete_purges_by_hand(env: Env) -> None:
    done, dead, ready = await env.put_in(State.SUCCEEDED), await env.put_in(State.DEAD), await env.put(delay=HOUR)
    same(await env.store.delete([done, dead, ready]), 0, "deleted just after they finished")
    await env.advance(KEEP_AT_LEAST - 1)
    same(await env.store.delete([done, dead]), 0, "deleted a microsecond too early")
    await env.advance(1)
    same(
        await env.store.delete([done, ready, env.id(), done]), 1, "deleted of one finished, one unfinished, one unknown"
    )
    same(await env.store.get_jobs([done]), [None], "the deleted job")
    same(await env.store.delete([done]), 0, "deleted again")
    await env.expect(dead, State.DEAD, "not named")
    await env.expect(ready, State.SCHEDULED, "unfinished")


async def check_delete_spares_what_dependants_need(env: Env) -> None:
    parent = await env.put_in(State.SUCCEEDED)
    child = await env.put(parents=[parent], delay=HOUR)
    await env.advance(KEEP_AT_LEAST)
    same(await env.store.delete([parent]), 0, "deleted while a dependant is unfinished")
    await env.store.cancel([child])
    same(await env.store.delete([parent]), 1, "deleted once it has finished")


async def check_an_unfinished_parent_is_kept_when_its_dependants_are_done(env: Env) -> None:
    parent = await env.put()
    child = await env.put(parents=[parent])
    await env.store.cancel([child])
    same((await env.read(parent)).purge_at, None, "purge_at of a ready job whose only dependant was cancelled")
    await env.advance(60 * DAY)
    same(await _purge(env), 1, "purged: the dependant")
    await env.expect(parent, State.READY, "its dependant is gone, and it has not run yet")


async def check_a_purged_dependant_troubles_its_parent_no_more(env: Env) -> None:
    """Whatever becomes of the parent afterwards."""
    parent = await env.put()
    await env.store.cancel([await env.put(parents=[parent])])
    await env.advance(env.settings.keep)
    same(await _purge(env), 1, "purged: the dependant")
    worker = await env.worker()
    await worker.end(await worker.claim_one(), Outcome.DEAD)
    await env.expect(parent, State.DEAD, "settled, its dependant being gone")
    child = await env.put(parents=[Parent(parent, EdgePolicy.DONE)])
    await env.store.cancel([child])
    await env.advance(KEEP_AT_LEAST)
    same(await env.store.delete([child]), 1, "deleted dependants")
    await env.store.replay([parent])
    await env.expect(parent, State.READY, "replayed, its dependants being gone")
