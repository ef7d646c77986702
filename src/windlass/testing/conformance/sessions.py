"""The lives of workers, from open to close."""

from __future__ import annotations

import msgspec

from windlass.core.clock import HOUR, SECOND
from windlass.core.lifecycle import State
from windlass.core.model import MAX_BATCH, Lane, Refusal, SessionSign
from windlass.core.records import SessionRecord
from windlass.testing.conformance.env import Env, Worker
from windlass.testing.conformance.expect import holds, same
from windlass.testing.conformance.marks import sets_clock_back


async def _signs(env: Env, worker: Worker) -> list[SessionSign]:
    return [sign for sign in await env.store.observe() if sign.id == worker.id]


async def check_a_session_is_known_as_it_presents_itself(env: Env) -> None:
    session = env.session(
        node="host-é", pid=42, lanes=(Lane("a"), Lane("b", "gpu=1", 3)), tasks=("t", "u"), version="1.2", slots=9
    )
    await env.store.open(session)
    now = await env.now()
    expected = SessionRecord(
        session=session, opened_at=now, lease_until=now + env.settings.lease, renewals=0, revoked=False, running=0
    )
    same(await env.store.sessions(), [expected], "sessions()")


async def check_sessions_are_listed_oldest_first_with_what_they_run(env: Env) -> None:
    workers = []
    for _ in range(3):
        workers.append(await env.worker())
        await env.advance(SECOND)
    await env.put_all(env.jobs(3))
    await workers[1].claim(2)
    await env.store.command(workers[2].id, "drain")
    listed = await env.store.sessions()
    same([record.session.id for record in listed], [worker.id for worker in workers], "order")
    same([record.running for record in listed], [0, 2, 0], "running")
    same([record.commands for record in listed], [[], [], ["drain"]], "commands")


async def check_opening_again_changes_nothing(env: Env) -> None:
    await env.put()
    worker = await env.worker()
    job = await worker.claim_one()
    await worker.renew([job])
    before = await env.store.sessions()
    await env.advance(SECOND)
    await env.store.open(worker.session)
    same(await env.store.sessions(), before, "sessions() after opening again: no new lease")
    same((await env.store.claim(worker.id, worker.request())).refused, None, "its next claim")


async def check_opening_again_replaces_what_a_session_says_of_itself(env: Env) -> None:
    suspect = await env.put(requires="gpu=1")
    await env.lose(suspect, 2)
    worker = await env.worker()
    same((await worker.renew()).suspects, False, "whether a suspect waits in its lanes")
    [before] = await env.store.sessions()
    session = msgspec.structs.replace(worker.session, lanes=(Lane("default"), Lane("default", "gpu=1")), offer="gpu=1")
    await env.store.open(session)
    [after] = await env.store.sessions()
    same(after, msgspec.structs.replace(before, session=session), "the session, presented anew")
    same((await worker.renew()).suspects, True, "whether a suspect waits in its new lanes")


async def check_opening_again_does_not_revive(env: Env) -> None:
    await env.put_all(env.jobs(2))
    worker = await env.worker()
    await worker.claim()
    await env.reap(worker, limit=1)
    await env.store.open(worker.session)
    same((await worker.ask()).refused, Refusal.REVOKED, "the claim of a revoked session that was opened again")
    same((await worker.renew()).revoked, True, "its renewal")


async def check_closing_gives_back_what_is_held(env: Env) -> None:
    ids = await env.put_all(env.jobs(3))
    worker = await env.worker()
    await worker.claim(2)
    await env.store.close(worker.id)
    record = await env.expect(ids[0], State.READY, "its session closed")
    same((record.attempt, record.token, record.losses), (0, 1, 0), "attempt, token, losses")
    same(await env.claim_ids(), ids, "order of claiming: old positions")
    known = {record.session.id for record in await env.store.sessions()}
    holds(worker.id not in known, "a closed session that holds nothing is still listed")


async def check_a_closed_session_is_over(env: Env) -> None:
    await env.put()
    worker = await env.worker()
    await env.store.close(worker.id)
    await env.store.close(worker.id)
    holds((await worker.ask()).refused is not None, "a closed session could claim")
    same((await worker.renew()).revoked, True, "its renewal")
    same(await env.store.command(worker.id, "stop"), False, "the answer to a command for it")
    await env.store.close(env.session().id)
    await env.advance(env.settings.lease)
    same(await _signs(env, worker), [], "signs of it after a lease")


async def check_closing_is_bounded_and_the_reaper_does_the_rest(env: Env) -> None:
    await env.put_all(env.jobs(MAX_BATCH + 20))
    worker = await env.worker()
    held = await worker.claim_all()
    same(len(held), MAX_BATCH + 20, "jobs held")
    same((await worker.renew(held)).duty, True, "duty of the only session")
    await env.store.close(worker.id)
    counts = await env.store.counts()
    same(counts.get(("default", State.READY)), MAX_BATCH, "jobs that close gave back")
    same((await worker.ask()).refused, Refusal.REVOKED, "its claim")
    same(await env.store.command(worker.id, "stop"), False, "the answer to a command for it")
    heir = await env.worker()
    same((await heir.renew()).duty, True, "duty of another, the first being revoked")
    await env.store.close(heir.id)
    signs = await _signs(env, worker)
    same([sign.revoked for sign in signs], [True], "revoked, in its sign")
    progress = await env.store.reap(signs)
    same((progress.done, progress.more), (20, False), "what the reaper did at once")
    same(await env.store.sessions(), [], "sessions")
    worker = await env.worker()
    same(len(await worker.claim_all(MAX_BATCH)), MAX_BATCH, "jobs held by the next")
    await env.store.close(worker.id)
    same(await env.store.sessions(), [], "sessions, the next having given back all at once")


async def check_reapers_watch_who_may_be_dying(env: Env) -> None:
    lease = env.settings.lease
    watched = lease * 5 // 9
    worker = await env.worker()
    same(await _signs(env, worker), [], "signs of a session just opened")
    await env.advance(lease - watched)
    same(await _signs(env, worker), [], "signs with exactly 5/9 of the lease left")
    await env.advance(1)
    same(await _signs(env, worker), [SessionSign(worker.id, 0, watched - 1, False, lease)], "signs with less left")
    await env.advance(lease)
    over = SessionSign(worker.id, 0, watched - 1 - lease, False, lease)
    same(await _signs(env, worker), [over], "signs with none left")
    await worker.renew()
    same(await _signs(env, worker), [], "signs of a session that renewed")


async def check_a_sign_carries_the_renewal_counter(env: Env) -> None:
    worker = await env.worker()
    for _ in range(3):
        await worker.renew()
    await env.advance(env.settings.lease)
    sign = SessionSign(worker.id, 3, 0, False, env.settings.lease)
    same(await _signs(env, worker), [sign], "signs after three renewals")


@sets_clock_back
async def check_a_lease_too_far_ahead_is_clamped(env: Env) -> None:
    """After the clock was set back a dead worker must not keep its jobs for as long as the step was."""
    lease = env.settings.lease
    job_id = await env.put()
    worker = await env.worker()
    await worker.claim_one()
    await env.step(-HOUR)
    same(await _signs(env, worker), [], "signs just after the clock was set back: a full lease, no more")
    await env.advance(lease - SECOND)
    same(await _signs(env, worker), [SessionSign(worker.id, 0, SECOND, False, lease)], "signs almost a lease later")
    await env.advance(SECOND)
    await env.store.reap(await _signs(env, worker))
    await env.expect(job_id, State.READY, "its worker said nothing for a lease since the clock was set back")


async def check_commands_go_to_live_sessions_only(env: Env) -> None:
    worker = await env.worker()
    same(await env.store.command(env.session().id, "stop"), False, "the answer for an unknown session")
    same(await env.store.command(worker.id, "stop"), True, "the answer for a live one")
    await env.advance(env.settings.lease)
    same(await env.store.command(worker.id, "stop"), False, "the answer for one whose lease is over")
    await env.store.reap(await env.store.observe())
    same(await env.store.command(worker.id, "stop"), False, "the answer for one that was reaped")
