"""Dead and cancelled jobs run again."""

from __future__ import annotations

from windlass.core.clock import DAY, MINUTE, SECOND
from windlass.core.graph import EdgePolicy
from windlass.core.lifecycle import Outcome, State
from windlass.core.model import Lane, Note, Parent, Settled
from windlass.core.records import Reason, ReplayAnswer
from windlass.testing.conformance.env import Env, ended
from windlass.testing.conformance.expect import holds, same

REPLAYED = [ReplayAnswer.REPLAYED]


async def check_a_dead_job_starts_with_a_fresh_budget(env: Env) -> None:
    job_id = await env.put(expires_in=DAY)
    worker = await env.worker()
    for outcome, error in ((Outcome.RETRY, b"e"), (Outcome.SNOOZED, None), (Outcome.UNDELIVERABLE, b"f")):
        await worker.end(await worker.claim_one(), outcome, error=error)
    job = await worker.claim_one()
    await env.store.annotate(worker.id, [Note(job_id, job.token, 0.5, "half", "line\n")])
    await worker.end(job, Outcome.DEAD, error=b"last")
    same(await env.store.replay([job_id]), REPLAYED, "answer")
    record = await env.expect(job_id, State.READY, "replayed")
    same((record.failures, record.losses, record.snoozes), (0, 0, 0), "failures, losses, snoozes")
    same((record.token, record.attempt), (4, 3), "token and attempt: they go on")
    same(record.errors, [b"e", b"f", b"last"], "errors: they stay")
    cleared = (record.result, record.progress, record.message, record.log, record.expires_at)
    same(cleared, (None, None, None, "", None), "result, progress, message, log, expires_at")
    same((record.finished_at, record.purge_at, record.due_at), (None, None, None), "finished_at, purge_at, due_at")
    job = await worker.claim_one()
    same((job.token, job.attempt, job.failures, job.undeliverable_for), (5, 4, 0, 0), "what the next worker gets")


async def check_a_cancelled_job_runs_after_all(env: Env) -> None:
    cancelled, expired = await env.put(delay=DAY), await env.put(expires_in=SECOND)
    worker = await env.worker()
    await env.store.cancel([cancelled])
    await env.advance(SECOND)
    await env.store.promote()
    same(await env.store.replay([cancelled, expired]), REPLAYED * 2, "answers")
    reasons = [(await env.read(job_id)).reason for job_id in (cancelled, expired)]
    same(reasons, [Reason.NONE] * 2, "reasons")
    await env.advance(DAY)
    await env.store.promote()
    same([job.id for job in await worker.claim()], [cancelled, expired], "claimed: no delay, no expiry any more")


async def check_the_flag_to_cancel_is_cleared(env: Env) -> None:
    job_id = await env.put()
    worker = await env.worker()
    job = await worker.claim_one()
    await env.store.cancel([job_id])
    await worker.end(job, Outcome.RETRY)
    await env.expect(job_id, State.CANCELLED, "overruled")
    await env.store.replay([job_id])
    same((await env.read(job_id)).cancel_requested, False, "cancel_requested")
    await worker.end(await worker.claim_one(), Outcome.RETRY)
    await env.expect(job_id, State.READY, "retried after the replay; nobody asked to cancel it since")


async def check_a_replayed_job_goes_to_the_end(env: Env) -> None:
    job_id = await env.put()
    await env.store.cancel([job_id])
    other = await env.put()
    await env.store.replay([job_id])
    same(await env.claim_ids(), [other, job_id], "order of claiming")


async def check_only_the_dead_and_the_cancelled(env: Env) -> None:
    for state in (State.WAITING, State.SCHEDULED, State.READY, State.RUNNING, State.SUCCEEDED):
        job_id = await env.put_in(state, queue="q")
        before = await env.read(job_id)
        same(await env.store.replay([job_id]), [ReplayAnswer.NOT_DEAD], f"answer for a job that is {state.word}")
        same(await env.read(job_id), before, "the record")
    same(await env.store.replay([env.id()]), [ReplayAnswer.UNKNOWN], "answer for an unknown job")


async def check_a_repeated_replay_does_nothing(env: Env) -> None:
    job_id = await env.put_in(State.DEAD)
    same(
        await env.store.replay([job_id, job_id]), [ReplayAnswer.REPLAYED, ReplayAnswer.NOT_DEAD], "answers in one call"
    )
    before = await env.read(job_id)
    same(await env.store.replay([job_id]), [ReplayAnswer.NOT_DEAD], "answer to the call again")
    same(await env.read(job_id), before, "the record")


async def check_an_old_proof_is_no_good_afterwards(env: Env) -> None:
    job_id = await env.put()
    worker = await env.worker()
    old = await worker.claim_one()
    await worker.end(old, Outcome.DEAD)
    await env.store.replay([job_id])
    same(await worker.settle(old, Outcome.SUCCEEDED), Settled.LOST, "the old proof with another outcome")
    new = await worker.claim_one()
    same(await worker.settle(old, Outcome.DEAD), Settled.LOST, "the old settlement again, the job being claimed anew")
    await worker.end(new)


async def check_it_waits_where_a_parent_has_not_succeeded(env: Env) -> None:
    """ "Retry from here": parent first or child first, both run in the end."""
    parent = await env.put()
    child = await env.put(parents=[parent], queue="later")
    worker = await env.worker()
    await worker.end(await worker.claim_one(), Outcome.DEAD)
    await env.expect(child, State.CANCELLED, "its parent died")
    same(await env.store.replay([child]), REPLAYED, "answer for the child")
    record = await env.expect(child, State.WAITING, "replayed, its parent being dead")
    same(record.parents_open, 1, "parents_open")
    same((await env.read(parent)).purge_at, None, "purge_at of the parent, which has an unfinished dependant again")
    same(await env.store.replay([parent]), REPLAYED, "answer for the parent")
    await env.expect(child, State.WAITING, "its parent is ready again")
    await worker.end(await worker.claim_one())
    await env.expect(child, State.READY, "its parent has succeeded after all")


async def check_it_waits_for_parents_that_are_unfinished(env: Env) -> None:
    for policy, outcome in (
        (EdgePolicy.SUCCEEDED, Outcome.SUCCEEDED),
        (EdgePolicy.DONE, Outcome.DEAD),
        (EdgePolicy.FAILED, Outcome.DEAD),
    ):
        parent = await env.put()
        child = await env.put(parents=[Parent(parent, policy)], queue="later")
        await env.store.cancel([child])
        await env.store.replay([child])
        await env.expect(child, State.WAITING, f"its parent is ready, and its edge says {policy.name}")
        worker = await env.worker()
        await worker.end(await worker.claim_one(), outcome)
        await env.expect(child, State.READY, f"its parent ended as {outcome.name}, as {policy.name} asks")


async def check_a_whole_branch_is_replayed(env: Env) -> None:
    top = await env.put()
    middle = await env.put(parents=[top])
    bottom = await env.put(parents=[middle])
    worker = await env.worker()
    await worker.end(await worker.claim_one(), Outcome.DEAD)
    await env.store.release_edges()
    same(await env.states([middle, bottom]), [State.CANCELLED] * 2, "states below a dead job")
    same(await env.store.replay([top, middle, bottom]), REPLAYED * 3, "answers")
    for job_id in (top, middle, bottom):
        job = await worker.claim_one()
        same(job.id, job_id, "the next job to run")
        await worker.end(job)


async def check_jobs_with_many_edges_are_replayed_together(env: Env) -> None:
    """A store may cut the batch; the answers are those of the whole call, in its order."""
    tops = await env.put_all(env.jobs(15))
    children = await env.put_all([env.job(parents=tops, queue="later") for _ in range(400)])
    await env.store.cancel(tops)
    while (await env.store.release_edges()).more:
        pass
    unknown = env.id()
    answers = await env.store.replay([*tops, *children, tops[0], unknown])
    same(answers[:-2], REPLAYED * 415, "answers for parents and dependants")
    same(answers[-2:], [ReplayAnswer.NOT_DEAD, ReplayAnswer.UNKNOWN], "answers for one named twice, and an unknown one")
    same(set(await env.states(tops)), {State.READY}, "states of the parents")
    same({(await env.read(child)).parents_open for child in children[::50]}, {15}, "parents_open of some dependants")
    same(set(await env.states(children)), {State.WAITING}, "states of the dependants")


async def check_it_runs_at_once_where_its_parents_have_succeeded(env: Env) -> None:
    parents = [await env.put_in(State.SUCCEEDED) for _ in range(2)]
    child = await env.put(parents=parents, queue="later")
    worker = await env.worker()
    await worker.end(await worker.claim_one(lanes=[Lane("later")]), Outcome.DEAD)
    await env.store.replay([child])
    await env.expect(child, State.READY, "its parents have succeeded")


async def check_its_parents_are_kept_until_it_has_ended_again(env: Env) -> None:
    parent = await env.put()
    child = await env.put(parents=[parent])
    worker = await env.worker()
    await worker.end(await worker.claim_one())
    await worker.end(await worker.claim_one(), Outcome.DEAD)
    holds((await env.read(parent)).purge_at is not None, "the parent is not to be purged, its dependant being dead")
    await env.store.replay([child])
    same((await env.read(parent)).purge_at, None, "purge_at of the parent, its dependant being replayed")
    await worker.end(await worker.claim_one())
    holds((await env.read(parent)).purge_at is not None, "the parent is kept for ever")


async def check_it_runs_at_once_where_its_edges_are_satisfied(env: Env) -> None:
    """A cleaner-up that failed itself does not wait for the failure that it cleans up."""
    dead = await env.put_in(State.DEAD)
    worker = await env.worker()
    for policy in (EdgePolicy.DONE, EdgePolicy.FAILED):
        child = await env.put(parents=[Parent(dead, policy)], queue="later")
        await worker.end(await worker.claim_one(lanes=[Lane("later")]), Outcome.DEAD)
        await env.store.replay([child])
        await env.expect(child, State.READY, f"replayed with a dead parent, whose edge says {policy.name}")
        await env.store.cancel([child])


async def check_it_runs_at_once_where_no_parent_can_change_its_mind(env: Env) -> None:
    """It was cancelled because nothing failed; whoever replays it wants it to run nevertheless."""
    done = await env.put_in(State.SUCCEEDED)
    child = await env.put(parents=[Parent(done, EdgePolicy.FAILED)], queue="later")
    await env.expect(child, State.CANCELLED, "none of its parents failed")
    await env.store.replay([child])
    await env.expect(child, State.READY, "none of its edges is open")


async def check_the_cursor_of_a_replayed_job_is_dropped(env: Env) -> None:
    """Dependants that its first end has not reached wait for its second."""
    parent = await env.put()
    done = EdgePolicy.DONE
    children = await env.put_all(env.jobs(600, parents=[Parent(parent, done)], queue="later"))
    worker = await env.worker()
    same((await worker.settle_all(ended(await worker.claim_one(), Outcome.DEAD))).more_edges, True, "more_edges")
    await env.store.replay([parent])
    before = await env.states(children)
    while (await env.store.release_edges()).more:
        pass
    same(
        await env.states(children) == before, True, "whether the cursor leaves all alone, the parent being ready again"
    )
    await worker.end(await worker.claim_one())
    while (await env.store.release_edges()).more:
        pass
    same(set(await env.states(children)), {State.READY}, "states after its second end")
    same((await env.read(parent)).purge_at, None, "purge_at: its dependants are unfinished")


async def check_dependants_that_still_wait_wait_for_the_next_end(env: Env) -> None:
    """A mark that the parent's first end left is taken off."""
    parent, other = await env.put(), await env.put(queue="other")
    child = await env.put(parents=[Parent(parent, EdgePolicy.DONE), Parent(other, EdgePolicy.DONE)], queue="later")
    worker = await env.worker()
    await worker.end(await worker.claim_one(), Outcome.DEAD)
    same((await env.read(child)).parents_open, 1, "parents_open after the first end")
    await env.store.replay([parent])
    same((await env.read(child)).parents_open, 2, "parents_open after the replay")
    await worker.end(await worker.claim_one(lanes=[Lane("other")]))
    await env.expect(child, State.WAITING, "the replayed parent is not done yet")
    await worker.end(await worker.claim_one())
    await env.expect(child, State.READY, "both parents are done")


async def check_dependants_that_are_finished_stay_so(env: Env) -> None:
    parent = await env.put()
    child = await env.put(parents=[parent], queue="later")
    await env.store.cancel([parent])
    await env.store.replay([parent])
    worker = await env.worker()
    await worker.end(await worker.claim_one())
    await env.expect(child, State.CANCELLED, "replaying a parent revives nobody else")
    await env.advance(MINUTE)
    same((await env.read(child)).reason, Reason.PARENT, "reason")


async def check_a_replayed_job_starts_its_retention_anew(env: Env) -> None:
    job_id = await env.put()
    await env.store.cancel([job_id])
    await env.store.replay([job_id])
    await env.advance(30 * DAY)
    same((await env.store.purge()).done, 0, "purged: it is unfinished again")
    worker = await env.worker()
    await worker.end(await worker.claim_one(), keep=DAY)
    same((await env.read(job_id)).purge_at, await env.now() + DAY, "purge_at")
