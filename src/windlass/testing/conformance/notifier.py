"""Hints: something has happened, look."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from windlass.core.clock import MINUTE, SECOND
from windlass.core.lifecycle import Outcome
from windlass.core.records import Limit, LimitScope
from windlass.core.schedules import NewSchedule
from windlass.store.port import Store, Subscription
from windlass.testing.conformance.env import Env
from windlass.testing.conformance.expect import holds, same

PATIENCE = 10.0
"""Seconds of real time in which a hint must come. A store may be slow; it is not, where it works."""


class Listener:
    """Somebody who waits for hints on some channels."""

    def __init__(self, store: Store, channels: Collection[str]) -> None:
        self.event = asyncio.Event()
        self.loops: set[asyncio.AbstractEventLoop] = set()
        self.subscription: Subscription = store.subscribe(channels, self._wake)

    def _wake(self) -> None:
        self.loops.add(asyncio.get_running_loop())
        self.event.set()

    async def hears(self, what: str) -> None:
        """Wait for a hint."""
        try:
            await asyncio.wait_for(self.event.wait(), PATIENCE)
        except TimeoutError:
            raise AssertionError(f"no hint came within {PATIENCE:g} s: {what}") from None
        self.event.clear()


async def _listen(env: Env, *channels: str) -> Listener:
    store = env.twin()
    await store.connect()
    return Listener(store, channels)


async def check_a_ready_job_is_announced(env: Env) -> None:
    listener = await _listen(env, "ready/default")
    await env.put()
    await listener.hears("a job was enqueued")
    worker = await env.worker()
    job = await worker.claim_one()
    await worker.end(job, Outcome.RELEASED)
    await listener.hears("a job was released")
    job = await worker.claim_one()
    await worker.end(job, Outcome.RETRY)
    await listener.hears("a job was retried at once")
    await worker.claim_one()
    await env.store.unclaim(worker.id, worker.number)
    await listener.hears("a claim was given back")
    await worker.claim_one()
    await env.reap(worker)
    await listener.hears("a job was taken back from a dead worker")


async def check_jobs_that_time_or_parents_make_ready_are_announced(env: Env) -> None:
    listener = await _listen(env, "ready/later")
    await env.put(queue="later", delay=SECOND)
    await env.advance(SECOND)
    await env.store.promote()
    await listener.hears("a job was promoted")
    parent = await env.put()
    child = await env.put(queue="later", parents=[parent])
    await env.store.skip(parent, b"1")
    await listener.hears("a job's parent succeeded")
    await env.store.cancel([child])
    await env.store.replay([child])
    await listener.hears("a job was replayed")


async def check_lifting_a_limit_is_announced(env: Env) -> None:
    await env.store.pause(LimitScope.QUEUE, "default", paused=True)
    await env.put()
    listener = await _listen(env, "ready/default")
    await env.store.pause(LimitScope.QUEUE, "default", paused=False)
    await listener.hears("a queue goes on")
    await env.store.put_limit(Limit(scope=LimitScope.KEY, name="g", concurrency=1))
    await listener.hears("a limit was put")


async def check_a_limit_that_was_put_is_announced(env: Env) -> None:
    """Who holds jobs that have not started learns that their queue was paused, however busy it is."""
    listener, other = await _listen(env, "limits"), await _listen(env, "ready/default")
    other.subscription.disarm()
    await env.put()
    for scope, name in ((LimitScope.QUEUE, "default"), (LimitScope.TASK, "t")):
        for paused in (True, False):
            holds(not listener.event.is_set(), "a hint came for something else")
            await env.store.pause(scope, name, paused=paused)
            await listener.hears(f"pause({paused}) of {name}")
    await env.store.put_limit(Limit(scope=LimitScope.QUEUE, name="default", concurrency=1))
    await listener.hears("a limit was put")


async def check_a_freed_place_under_a_limit_is_announced(env: Env) -> None:
    """Whoever found nothing, others running all that may run, need not wait until it looks again."""
    for limit in (
        Limit(scope=LimitScope.QUEUE, name="default", concurrency=1),
        Limit(scope=LimitScope.TASK, name="t", concurrency=1),
        Limit(scope=LimitScope.KEY, name="k", concurrency=1),
    ):
        await env.store.put_limit(limit)
    await env.put_all(env.jobs(3, limit_key="k"))
    worker = await env.worker()
    for outcome in (Outcome.SUCCEEDED, Outcome.RETRY):
        job = await worker.claim_one()
        listener = await _listen(env, "ready/default")
        await worker.end(job, outcome, delay=MINUTE)
        await listener.hears(f"a job under a limit ended as {outcome.name}")


async def check_an_earlier_due_time_is_announced(env: Env) -> None:
    listener = await _listen(env, "scheduled")
    await env.put(delay=MINUTE)
    await listener.hears("the first job was scheduled")
    await env.put(delay=SECOND)
    await listener.hears("a job was scheduled before all others")
    await env.put()
    worker = await env.worker()
    await worker.end(await worker.claim_one(), Outcome.RETRY, delay=SECOND // 2)
    await listener.hears("a job is to be retried before all others")
    later = await env.put(delay=MINUTE)
    await env.store.reschedule([later], await env.now())
    await listener.hears("a job was rescheduled before all others")


async def check_an_end_is_announced(env: Env) -> None:
    ids = await env.put_all([env.job(), env.job(), env.job(expires_in=SECOND)])
    listeners = [await _listen(env, f"finished/{job_id.hex()}") for job_id in ids]
    worker = await env.worker()
    await worker.end(await worker.claim_one())
    await listeners[0].hears("a job succeeded")
    await env.store.cancel([ids[1]])
    await listeners[1].hears("a job was cancelled")
    await env.advance(SECOND)
    await env.store.promote()
    await listeners[2].hears("a job expired")


async def check_the_end_of_a_dependant_is_announced(env: Env) -> None:
    parent = await env.put()
    child = await env.put(parents=[parent])
    listener = await _listen(env, f"finished/{child.hex()}")
    await env.store.cancel([parent])
    await listener.hears("a job was cancelled with its parent")


async def check_a_session_is_told_of_what_waits_for_it(env: Env) -> None:
    await env.put()
    worker = await env.worker()
    job = await worker.claim_one()
    listener = await _listen(env, f"session/{worker.id.hex()}")
    await env.store.cancel([job.id])
    await listener.hears("somebody asked to cancel a job that it runs")
    await env.store.command(worker.id, "drain")
    await listener.hears("somebody sent it a command")


async def check_one_subscription_may_have_many_channels(env: Env) -> None:
    listener = await _listen(env, "scheduled", "ready/a", "ready/b")
    await env.put(queue="b")
    await listener.hears("the last of its channels")
    await env.put(queue="a", delay=MINUTE)
    await listener.hears("the first of its channels")


async def check_who_is_disarmed_is_left_in_peace(env: Env) -> None:
    sleeper, witness = await _listen(env, "ready/default"), await _listen(env, "ready/default")
    sleeper.subscription.disarm()
    sleeper.subscription.disarm()
    await env.put()
    await witness.hears("a job was enqueued")
    holds(not sleeper.event.is_set(), "a disarmed subscription was woken")
    sleeper.subscription.arm()
    sleeper.subscription.arm()
    await env.put()
    await sleeper.hears("a job was enqueued after it was armed again")


async def check_who_has_left_is_left_in_peace(env: Env) -> None:
    gone, witness = await _listen(env, "ready/default"), await _listen(env, "ready/default")
    gone.subscription.close()
    gone.subscription.close()
    gone.subscription.arm()
    await env.put()
    await witness.hears("a job was enqueued")
    holds(not gone.event.is_set(), "a closed subscription was woken")
    leaving = await _listen(env, "ready/default")
    await env.put()
    leaving.subscription.close()
    await witness.hears("another job was enqueued")
    leaving.event.clear()
    await env.put()
    await witness.hears("a third job was enqueued")
    holds(not leaving.event.is_set(), "a subscription was woken that was closed with a hint on its way")


async def check_other_channels_are_not_mixed_up(env: Env) -> None:
    other, witness = await _listen(env, "ready/default2", "ready/defaul"), await _listen(env, "ready/default")
    await env.put()
    await witness.hears("a job was enqueued")
    holds(not other.event.is_set(), "a subscription to other queues was woken")


async def check_wakes_run_on_the_stores_loop(env: Env) -> None:
    """Whichever thread the hint comes from."""
    listener = await _listen(env, "ready/default")
    twin = env.store.twin()

    def elsewhere() -> None:
        async def enqueue() -> None:
            await twin.enqueue([env.job()], first_sent=await twin.now())
            await twin.aclose()

        asyncio.run(enqueue())

    await asyncio.to_thread(elsewhere)
    await listener.hears("a job was enqueued from another thread, by another loop")
    same(listener.loops, {asyncio.get_running_loop()}, "loops on which the subscriber was called")


async def check_what_comes_between_look_and_wait_is_not_missed(env: Env) -> None:
    """Arm, look, wait: what is stored after `arm` is either seen or announced."""
    listener = await _listen(env, "ready/default")
    listener.subscription.disarm()
    worker = await env.worker()
    for _ in range(20):
        listener.subscription.arm()
        same(await worker.claim(), [], "claimed on the last look")
        await env.put()
        await listener.hears("a job was enqueued after the last look")
        listener.subscription.disarm()
        await worker.end(await worker.claim_one())
        listener.event.clear()


async def check_a_schedule_that_is_due_earlier_is_announced(env: Env) -> None:
    listener = await _listen(env, "schedules")
    now = await env.now()
    await env.store.put_schedules([NewSchedule(name="a", definition=b"{}", version=0, next=now + MINUTE)])
    await listener.hears("the first schedule was made")
    await env.store.put_schedules([NewSchedule(name="b", definition=b"{}", version=0, next=now + SECOND)])
    await listener.hears("one that is due earlier was made")
    await env.store.put_schedules([NewSchedule(name="a", definition=b"{}", version=1, next=now + SECOND // 2)])
    await listener.hears("one is due earlier than it was")
