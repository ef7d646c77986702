"""Signs of life, and what the store tells in return."""

from __future__ import annotations

from windlass.core.clock import SECOND
from windlass.core.lifecycle import Outcome, State
from windlass.core.model import Lane, Renewal
from windlass.testing.conformance.env import Env, Worker
from windlass.testing.conformance.expect import same


async def _record(env: Env, worker: Worker) -> tuple[int, int]:
    """How often a session renewed, and how much of its lease is left."""
    now = await env.now()
    known = {record.session.id: record for record in await env.store.sessions()}
    return known[worker.id].renewals, known[worker.id].lease_until - now


async def check_it_gives_a_full_lease(env: Env) -> None:
    worker = await env.worker()
    same(await _record(env, worker), (0, env.settings.lease), "renewals and lease left, just opened")
    await env.advance(3 * SECOND)
    same((await worker.renew()).revoked, False, "revoked")
    same(await _record(env, worker), (1, env.settings.lease), "renewals and lease left, just renewed")
    await env.advance(env.settings.lease + SECOND)
    same((await worker.renew()).revoked, False, "revoked, the lease being over but nobody having reaped")
    same(await _record(env, worker), (2, env.settings.lease), "renewals and lease left, renewed late")


async def check_one_renewal_covers_all_that_is_held(env: Env) -> None:
    ids = await env.put_all(env.jobs(20))
    worker = await env.worker()
    held = [job for _ in range(4) for job in await worker.claim(5)]
    for _ in range(3):
        await env.advance(env.settings.lease - SECOND)
        same((await worker.renew(held)).lost, [], "lost")
        await env.store.reap(await env.store.observe())
    same(await env.states(ids), [State.RUNNING] * 20, "states after three leases, renewed in time")


async def check_what_is_not_the_sessions_is_lost(env: Env) -> None:
    await env.put_all(env.jobs(3))
    worker, other = await env.worker(), await env.worker()
    mine, settled = await worker.claim(2)
    theirs = await other.claim_one()
    await worker.end(settled)
    unknown = (env.id(), 1)
    held = [(mine.id, mine.token), (settled.id, settled.token), (theirs.id, theirs.token), unknown]
    renewal = await env.store.renew(worker.id, held, worker.number)
    same(set(renewal.lost), {settled.id, theirs.id, unknown[0]}, "lost: settled, another's, unknown")
    await env.expect(mine.id, State.RUNNING, "named by the renewal")
    await env.expect(theirs.id, State.RUNNING, "another session's")


async def check_an_old_token_is_lost(env: Env) -> None:
    """And the attempt that the worker does not know of is given back."""
    job_id = await env.put()
    worker = await env.worker()
    old = await worker.claim_one()
    await worker.end(old, Outcome.RELEASED)
    await worker.claim_one()
    renewal = await worker.renew([old])
    same(renewal.lost, [job_id], "lost, the job being held under a newer token")
    record = await env.expect(job_id, State.READY, "its newer attempt was not named")
    same((record.token, record.attempt), (2, 1), "token and attempt")


async def check_what_it_does_not_name_is_given_back(env: Env) -> None:
    """The worker forgot, or never knew: an answer that was lost in a way that nobody noticed."""
    ids = await env.put_all(env.jobs(3))
    worker = await env.worker()
    jobs = await worker.claim()
    same((await worker.renew(jobs[1:2])).lost, [], "lost")
    ready = State.READY
    same(await env.states(ids), [ready, State.RUNNING, ready], "states, only the second being named")
    record = await env.read(ids[0])
    same((record.attempt, record.token, record.losses), (0, 1, 0), "attempt, token, losses")
    same(await env.claim_ids(), [ids[0], ids[2]], "order of claiming: old positions")


async def check_what_is_being_settled_is_not_given_back(env: Env) -> None:
    """The worker names it until the answer to its settle has come, so that both can cross."""
    await env.put()
    worker = await env.worker()
    job = await worker.claim_one()
    await worker.renew([job])
    await worker.end(job)
    same((await worker.renew([job])).lost, [job.id], "lost, the settle having come first")
    await env.expect(job.id, State.SUCCEEDED, "renewing changes nothing of it")


async def check_requests_without_an_answer_are_left_alone(env: Env) -> None:
    """A renewal that crosses a claim's answer must not take back what the answer brings."""
    ids = await env.put_all(env.jobs(2))
    worker = await env.worker()
    await worker.claim(1)
    await worker.claim(1)
    await worker.renew([], answered=1)
    same(await env.states(ids), [State.READY, State.RUNNING], "states, only the first request being answered")
    await worker.renew([], answered=2)
    same(await env.states(ids), [State.READY, State.READY], "states, both requests being answered")


async def check_requests_to_cancel_travel_with_it(env: Env) -> None:
    ids = await env.put_all(env.jobs(3))
    worker = await env.worker()
    jobs = await worker.claim()
    same((await worker.renew(jobs)).cancel, [], "to be cancelled, nobody having asked")
    await env.store.cancel([ids[2], ids[0]])
    for time in ("first", "second"):
        same(set((await worker.renew(jobs)).cancel), {ids[0], ids[2]}, f"to be cancelled, the {time} time")
    await worker.end(jobs[0], Outcome.CANCELLED)
    same((await worker.renew(jobs[1:])).cancel, [ids[2]], "to be cancelled, one having been acknowledged")


async def check_commands_travel_until_the_session_closes(env: Env) -> None:
    worker, other = await env.worker(), await env.worker()
    for command in ("drain", "stop", "drain"):
        same(await env.store.command(worker.id, command), True, "the answer to a command for a live session")
    for _ in range(2):
        same((await worker.renew()).commands, ["drain", "stop"], "commands, each once")
    same((await other.renew()).commands, [], "commands for another session")


async def check_an_unknown_session_is_told_so(env: Env) -> None:
    stranger = Worker(env.store, env.session())
    same(await stranger.renew(), Renewal(revoked=True), "the answer to a session never opened")
    same(await env.store.sessions(), [], "sessions known afterwards")


async def check_a_revoked_session_is_told_so(env: Env) -> None:
    """And nothing changes: what it holds is reaped in its turn, as lost."""
    ids = await env.put_all(env.jobs(2))
    worker = await env.worker()
    jobs = await worker.claim()
    await env.reap(worker, limit=1)
    before = [await env.read(job_id) for job_id in ids]
    same(await worker.renew(jobs), Renewal(revoked=True), "the answer to a session that is being reaped")
    same(await worker.renew([]), Renewal(revoked=True), "the answer if it names nothing")
    same([await env.read(job_id) for job_id in ids], before, "the records after that")


async def check_one_live_session_has_the_duty(env: Env) -> None:
    one, two = await env.worker(), await env.worker()
    same([(await worker.renew()).duty for worker in (one, two, one, two)], [True, False, True, False], "duty")
    await env.store.close(one.id)
    same((await two.renew()).duty, True, "duty of the other, the first being closed")
    three = await env.worker()
    same((await three.renew()).duty, False, "duty of a third")
    await env.advance(env.settings.lease)
    same((await three.renew()).duty, True, "duty of the third, the other's lease being over")
    same((await two.renew()).duty, False, "duty of the one that was late")


async def check_suspects_are_announced_to_whom_they_concern(env: Env) -> None:
    job_id = await env.put(queue="q")
    concerned = await env.worker(lanes=(Lane("x"), Lane("q")))
    others = [await env.worker(), await env.worker(lanes=(Lane("q", "gpu=1"),)), await env.worker(lanes=())]
    same((await concerned.renew()).suspects, False, "suspects, there being none")
    await env.lose(job_id)
    same((await concerned.renew()).suspects, False, "suspects, the job being lost once")
    await env.lose(job_id)
    same((await concerned.renew()).suspects, True, "suspects, the job being lost twice")
    same([(await other.renew()).suspects for other in others], [False] * 3, "suspects, for sessions of other lanes")
    suspect = await concerned.claim_one(lanes=[Lane("q")], alone=True)
    same((await concerned.renew([suspect])).suspects, False, "suspects, the only one running")


async def check_many_may_be_held(env: Env) -> None:
    """What a worker holds is bounded by its slots, not by the size of a batch."""
    await env.put_all(env.jobs(1200))
    worker = await env.worker()
    held = await worker.claim_all()
    renewal = await worker.renew(held)
    same((len(held), renewal.revoked, renewal.lost), (1200, False, []), "held, revoked, lost")
