"""At most one unfinished job per task and key."""

from __future__ import annotations

from windlass.core.clock import SECOND
from windlass.core.lifecycle import Outcome, State
from windlass.core.model import STORED, EnqueueAnswer, Enqueued, Parent, Unique, UniqueUntil
from windlass.core.records import Reason, ReplayAnswer
from windlass.testing.conformance.env import Env
from windlass.testing.conformance.expect import same

KEY = Unique("k")
STARTED = Unique("k", UniqueUntil.STARTED)
REPLACE = Unique("k", replace=True)


async def _answer(env: Env, unique: Unique, **fields: object) -> EnqueueAnswer:
    """Ask for one more job with the key, and cancel it if it is stored."""
    job = env.job(unique=unique, **fields)
    answer = (await env.enqueue([job]))[0]
    if answer == STORED:
        await env.store.cancel([job.id])
    return answer


def _held_by(job_id: bytes) -> EnqueueAnswer:
    return EnqueueAnswer(Enqueued.DUPLICATE, job_id)


async def check_a_duplicate_is_not_stored(env: Env) -> None:
    holder = await env.put(unique=KEY)
    job = env.job(unique=KEY)
    same(await env.enqueue([job]), [_held_by(holder)], "answer, naming the holder")
    same(await env.store.get_jobs([job.id]), [None], "what is stored of the duplicate")
    same(await env.claim_ids(), [holder], "claimed")


async def check_a_duplicate_within_a_call(env: Env) -> None:
    jobs = env.jobs(3, unique=KEY)
    same(await env.enqueue(jobs), [STORED, _held_by(jobs[0].id), _held_by(jobs[0].id)], "answers")


async def check_the_scope_is_task_and_key(env: Env) -> None:
    holder = await env.put(unique=KEY)
    same(await _answer(env, KEY, task="u"), STORED, "the same key of another task")
    same(await _answer(env, Unique("l")), STORED, "another key of the same task")
    same(await _answer(env, KEY, queue="other", priority=9), _held_by(holder), "the same key in another queue")


async def check_the_key_is_held_while_the_job_is_unfinished(env: Env) -> None:
    for state in (State.WAITING, State.SCHEDULED, State.READY, State.RUNNING):
        holder = await env.put_in(state, unique=KEY)
        same(await _answer(env, KEY), _held_by(holder), f"while the holder is {state.word}")
        await env.store.cancel([holder])
        if state is State.RUNNING:
            same(await _answer(env, KEY), _held_by(holder), "while the holder runs, somebody having asked to cancel it")


async def check_the_key_is_free_once_the_job_has_finished(env: Env) -> None:
    for state in (State.SUCCEEDED, State.DEAD, State.CANCELLED):
        await env.put_in(state, unique=KEY)
        same(await _answer(env, KEY), STORED, f"after the holder is {state.word}")
    expired = await env.put(unique=KEY, expires_in=SECOND)
    await env.advance(SECOND)
    same(await _answer(env, KEY), _held_by(expired), "after its expiry, before anybody promoted: it is still there")
    await env.store.promote()
    same(await _answer(env, KEY), STORED, "after the holder expired")
    skipped = await env.put(unique=KEY)
    await env.store.skip(skipped, b"1")
    same(await _answer(env, KEY), STORED, "after the holder was skipped")
    parent = await env.put()
    await env.put(unique=KEY, parents=[parent])
    await env.store.cancel([parent])
    same(await _answer(env, KEY), STORED, "after the holder was cancelled with its parent")
    lost = await env.put(unique=KEY)
    await env.lose(lost, 2 + env.settings.max_lost)
    same(await _answer(env, KEY), STORED, "after the holder was lost for good")


async def check_the_key_outlives_an_attempt(env: Env) -> None:
    holder = await env.put(unique=KEY)
    worker = await env.worker()
    for outcome in (Outcome.RETRY, Outcome.SNOOZED, Outcome.RELEASED, Outcome.UNDELIVERABLE):
        await worker.end(await worker.claim_one(), outcome)
        same(await _answer(env, KEY), _held_by(holder), f"after {outcome.name}")
    await env.lose(holder)
    same(await _answer(env, KEY), _held_by(holder), "after its worker died")


async def check_until_started_is_until_the_first_claim(env: Env) -> None:
    for state in (State.WAITING, State.SCHEDULED):
        unstarted = await env.put_in(state, unique=STARTED)
        same(await _answer(env, STARTED), _held_by(unstarted), f"while the holder is {state.word}")
        await env.store.cancel([unstarted])
    holder = await env.put(unique=STARTED)
    same(await _answer(env, STARTED), _held_by(holder), "while the holder is ready")
    worker = await env.worker()
    job = await worker.claim_one()
    same(await _answer(env, STARTED), STORED, "once the holder was claimed")
    await worker.end(job, Outcome.RETRY)
    same(await _answer(env, STARTED), STORED, "when it is ready again: the key was given up for good")
    second = await env.put(unique=STARTED)
    same(await _answer(env, KEY), _held_by(second), "while a second one holds it, beside the first")
    same(await env.claim_ids(), [holder, second], "claimed: both, the first for the second time")


async def check_how_long_is_the_holders_to_say(env: Env) -> None:
    holder = await env.put(unique=KEY)
    worker = await env.worker()
    await worker.claim_one()
    same(await _answer(env, STARTED), _held_by(holder), "a job that would give it up meets one that does not")


async def check_replacing_an_unstarted_holder(env: Env) -> None:
    for state in (State.WAITING, State.SCHEDULED, State.READY):
        old = await env.put_in(state, unique=KEY)
        new = await env.put(unique=REPLACE, delay=SECOND)
        record = await env.expect(old, State.CANCELLED, f"replaced while it was {state.word}")
        same((record.reason, record.finished_at), (Reason.REPLACED, await env.now()), "reason, finished_at")
        same(await _answer(env, KEY), _held_by(new), "the key's holder afterwards")
        await env.store.cancel([new])


async def check_a_running_holder_is_not_replaced(env: Env) -> None:
    holder = await env.put_in(State.RUNNING, unique=KEY)
    same(await _answer(env, REPLACE), _held_by(holder), "answer")
    same((await env.read(holder)).cancel_requested, False, "cancel_requested of the holder")


async def check_replacing_is_idempotent(env: Env) -> None:
    await env.put(unique=KEY)
    new = env.job(unique=REPLACE)
    await env.put_all([new])
    before = await env.read(new.id)
    same(await env.enqueue([new]), [STORED], "answer to the same call again")
    same(await env.read(new.id), before, "the record: it does not replace itself")


async def check_the_last_of_a_call_replaces_the_others(env: Env) -> None:
    jobs = env.jobs(3, unique=REPLACE)
    same(await env.enqueue(jobs), [STORED] * 3, "answers")
    states = await env.states([job.id for job in jobs])
    same(states, [State.CANCELLED, State.CANCELLED, State.READY], "states")


async def check_a_replaced_jobs_dependants_are_cancelled(env: Env) -> None:
    old = await env.put(unique=KEY)
    child, heir = await env.put(parents=[old]), await env.put(parents=[Parent(old)], unique=Unique("other"))
    await env.put(unique=REPLACE)
    same(await env.states([child, heir]), [State.CANCELLED] * 2, "states of its dependants")


async def check_replay_is_refused_while_another_holds_the_key(env: Env) -> None:
    first = await env.put_in(State.DEAD, unique=KEY)
    second = await env.put(unique=KEY)
    before = await env.read(first)
    same(await env.store.replay([first]), [ReplayAnswer.KEY_HELD], "answer")
    same(await env.read(first), before, "the record after a refused replay")
    await env.store.cancel([second])
    same(await env.store.replay([first, second]), [ReplayAnswer.REPLAYED, ReplayAnswer.KEY_HELD], "answers")
    same(await _answer(env, KEY), _held_by(first), "the key's holder after the replay")


async def check_a_key_given_up_does_not_stop_a_replay(env: Env) -> None:
    first = await env.put_in(State.DEAD, unique=STARTED)
    second = await env.put(unique=STARTED)
    same(
        await env.store.replay([first]), [ReplayAnswer.REPLAYED], "answer: it has started, and gave its key up for good"
    )
    await env.store.cancel([first])
    same(await _answer(env, STARTED), _held_by(second), "the key's holder, after the first one's end")


async def check_a_key_kept_until_the_start_is_needed_for_a_replay(env: Env) -> None:
    first = await env.put_in(State.CANCELLED, unique=STARTED)
    second = await env.put(unique=STARTED)
    same(await env.store.replay([first]), [ReplayAnswer.KEY_HELD], "answer: it never started")
    await env.store.cancel([second])
    same(await env.store.replay([first]), [ReplayAnswer.REPLAYED], "answer once the key is free")
    same(await _answer(env, STARTED), _held_by(first), "the key's holder after the replay")
