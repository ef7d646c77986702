"""Limit keys: they take turns, and one that is at its limit stands in nobody's way and is not forgotten."""

from __future__ import annotations

from collections import Counter

from windlass.core.clock import HOUR, MINUTE, SECOND
from windlass.core.lifecycle import Outcome, State
from windlass.core.model import MAX_BATCH, ClaimedJob, Lane
from windlass.core.records import Limit, LimitScope, Rate
from windlass.testing.conformance.env import Env, Worker, ended
from windlass.testing.conformance.expect import same
from windlass.testing.conformance.marks import sets_clock_back


async def _limit(env: Env, name: str, concurrency: int | None = None, rate: Rate | None = None) -> None:
    await env.store.put_limit(Limit(scope=LimitScope.KEY, name=name, concurrency=concurrency, rate=rate))


async def _keys(worker: Worker, limit: int = MAX_BATCH) -> list[str | None]:
    return [job.limit_key for job in await worker.claim(limit)]


async def _put_keys(env: Env, keys: str, **fields: object) -> list[bytes]:
    return await env.put_all([env.job(limit_key=f"g:{key}", **fields) for key in keys])


async def check_keys_take_turns_within_a_claim(env: Env) -> None:
    await _put_keys(env, "aaaabbc")
    worker = await env.worker()
    same(await _keys(worker), [f"g:{key}" for key in "abcabaa"], "keys claimed")


async def check_keys_take_turns_from_claim_to_claim(env: Env) -> None:
    await _put_keys(env, "aaaabbc")
    worker = await env.worker()
    claimed = [key for _ in range(7) for key in await _keys(worker, 1)]
    same(claimed, [f"g:{key}" for key in "abcabaa"], "keys claimed one by one")


async def check_a_small_key_is_served_soon_beside_a_large_one(env: Env) -> None:
    await _put_keys(env, "a" * 300)
    worker = await env.worker()
    await worker.claim(5)
    await _put_keys(env, "b")
    claimed = await _keys(worker, 2)
    same("g:b" in claimed, True, f"that the newcomer's is among the next two, which are {claimed}")


async def check_a_newcomer_does_not_overtake_the_others(env: Env) -> None:
    await _put_keys(env, "aaabbb")
    worker = await env.worker()
    same(await _keys(worker, 1), ["g:a"], "first")
    await _put_keys(env, "c")
    same(await _keys(worker, 3), ["g:b", "g:a", "g:c"], "then: those that were there before")


async def check_jobs_of_a_key_go_by_priority_and_sequence(env: Env) -> None:
    low = await _put_keys(env, "aab", priority=2)
    high = await _put_keys(env, "ab", priority=8)
    claimed = await env.claim_ids()
    same(claimed, [*high, low[0], low[2], low[1]], "claimed: the higher priority first, the keys in turn")


async def check_jobs_with_and_without_a_key_take_turns(env: Env) -> None:
    """However many there are of either."""
    plain = await env.put_all(env.jobs(40))
    keyed = await _put_keys(env, "abcd" * 10)
    worker = await env.worker()
    claimed = [job.id for _ in range(10) for job in await worker.claim(1)]
    same(len(set(claimed) & set(plain)), 5, "jobs without a key among ten that were claimed one by one")
    claimed += [job.id for job in await worker.claim(10)]
    same(len(set(claimed) & set(keyed)), 10, "jobs with a key among twenty")
    same([id for id in claimed if id in plain], plain[:10], "those without a key, in their order")  # noqa: A001


async def check_priority_goes_before_turns(env: Env) -> None:
    plain = await env.put_all(env.jobs(3, priority=9))
    keyed = await _put_keys(env, "ab")
    same(await env.claim_ids(), [*plain, *keyed], "claimed: the higher priority first")


async def check_a_key_at_its_limit_holds_no_other_key_up(env: Env) -> None:
    await _put_keys(env, "a" * 500)
    await _put_keys(env, "bc")
    await _limit(env, "g", 1)
    worker = await env.worker()
    same(await _keys(worker), ["g:a", "g:b", "g:c"], "keys claimed, one of each")
    same(await _keys(worker), [], "keys claimed while all are at their limit")


async def check_many_keys_at_their_limits_hold_nobody_up(env: Env) -> None:
    await env.put_all([env.job(limit_key=f"g:{number}") for number in range(400) for _ in range(2)])
    await _limit(env, "g", 1)
    worker = await env.worker()
    same(len(await worker.claim()), 400, "claimed, one of each key")
    behind = await env.put()
    same([job.id for job in await worker.claim()], [behind], "claimed while 400 keys are at their limits")


async def check_every_end_lets_the_key_go_on(env: Env) -> None:
    await _limit(env, "g", 1)
    await _put_keys(env, "aa")
    worker = await env.worker()

    async def next_one() -> ClaimedJob:
        job = await worker.claim_one()
        same(await _keys(worker), [], "claimed while one of the key runs")
        return job

    for outcome in (Outcome.RETRY, Outcome.SNOOZED, Outcome.RELEASED, Outcome.UNDELIVERABLE):
        await worker.end(await next_one(), outcome)
    await next_one()
    await env.store.unclaim(worker.id, worker.number - 1)
    await env.store.unclaim(worker.id, worker.number)
    await next_one()
    await worker.renew([])
    await next_one()
    await env.store.close(worker.id)
    worker = await env.worker()
    await next_one()
    await env.reap(worker)
    worker = await env.worker()
    job = await next_one()
    await env.store.cancel([job.id])
    await worker.end(job, Outcome.RETRY)
    await worker.end(await next_one())


async def check_a_raised_limit_is_in_force_at_once(env: Env) -> None:
    await _put_keys(env, "aaaabbbb")
    await _limit(env, "g", 1)
    worker = await env.worker()
    same(len(await worker.claim()), 2, "claimed, one of each key")
    await _limit(env, "g:a", 3)
    same(await _keys(worker), ["g:a", "g:a"], "claimed once one key has a record of its own")
    await _limit(env, "g")
    same(await _keys(worker), ["g:b"] * 3, "claimed once the group has no limit")


async def check_a_rate_lets_the_key_go_on_in_time(env: Env) -> None:
    await _put_keys(env, "aaabb")
    await _limit(env, "g", rate=Rate(1, MINUTE))
    worker = await env.worker()
    same(await _keys(worker), ["g:a", "g:b"], "started")
    answer = await worker.ask()
    same((answer.jobs, answer.retry_in), ([], MINUTE), "jobs, and when to come back")
    await env.advance(MINUTE - 1)
    same((await worker.ask()).retry_in, 1, "when to come back, a microsecond before")
    await env.advance(1)
    same(await _keys(worker), ["g:a", "g:b"], "started after a minute")
    await _limit(env, "g", rate=Rate(1, SECOND))
    same((await worker.ask()).retry_in, SECOND, "when to come back, the rate having been raised")
    await env.advance(SECOND)
    same(await _keys(worker), ["g:a"], "started a second after the rate was raised")


@sets_clock_back
async def check_a_clock_set_back_bars_no_key_for_long(env: Env) -> None:
    await _put_keys(env, "aaa")
    await _limit(env, "g", rate=Rate(1, SECOND))
    worker = await env.worker()
    same((await _keys(worker), await _keys(worker)), (["g:a"], []), "started")
    await env.step(-HOUR)
    same(await _keys(worker), [], "started just after the clock was set back")
    await env.advance(SECOND)
    same(await _keys(worker), ["g:a"], "started a second after the clock was set back by an hour")


async def check_a_key_counts_in_all_lanes_and_tasks(env: Env) -> None:
    await _put_keys(env, "a", queue="a")
    await _put_keys(env, "a", queue="b", task="u")
    await _put_keys(env, "a", queue="b", requires="gpu=1", priority=9)
    await _limit(env, "g", 1)
    worker = await env.worker()
    lanes = [Lane("a"), Lane("b"), Lane("b", "gpu=1")]
    queues = []
    for _ in range(3):
        jobs = await worker.claim(lanes=lanes)
        same(len(jobs), 1, "claimed of a key that is limited to one")
        queues.append((jobs[0].queue, jobs[0].requires))
        await worker.end(jobs[0])
    same(queues, [("a", ""), ("b", ""), ("b", "gpu=1")], "lanes claimed from, one after the other")


async def check_a_job_given_back_stands_before_its_key_again(env: Env) -> None:
    ids = await _put_keys(env, "aab")
    worker = await env.worker()
    job = await worker.claim_one()
    await worker.end(job, Outcome.RELEASED, started=False)
    same([job.id for job in await worker.claim()], [ids[2], ids[0], ids[1]], "claimed: a's first job before its second")


async def check_expired_and_cancelled_jobs_end_no_line(env: Env) -> None:
    ids = await env.put_all(
        [env.job(limit_key="g:a", expires_in=SECOND), env.job(limit_key="g:a"), env.job(limit_key="g:b")]
    )
    await env.advance(SECOND)
    more = await _put_keys(env, "a")
    await env.store.cancel([ids[1]])
    same(sorted(await env.claim_ids()), sorted([ids[2], *more]), "claimed, one having expired and one been cancelled")


async def check_a_limited_task_lets_its_keys_wait(env: Env) -> None:
    """And everybody else's go on."""
    await _put_keys(env, "aabb", task="u")
    others = await _put_keys(env, "ab")
    await env.store.put_limit(Limit(scope=LimitScope.TASK, name="u", concurrency=1))
    worker = await env.worker()
    jobs = await worker.claim()
    same(Counter(job.task for job in jobs), {"u": 1, "t": 2}, "tasks claimed")
    same({job.id for job in jobs if job.task == "t"}, set(others), "those of the other task")
    await worker.end(next(job for job in jobs if job.task == "u"))
    same([(job.task, job.limit_key) for job in await worker.claim()], [("u", "g:b")], "claimed next: the other key's")


async def check_jobs_of_a_limited_task_keep_their_places(env: Env) -> None:
    first = await env.put_all(env.jobs(3, task="u"))
    await env.store.put_limit(Limit(scope=LimitScope.TASK, name="u", concurrency=1))
    worker = await env.worker()
    job = await worker.claim_one()
    same(await _keys(worker), [], "claimed at the limit")
    behind = await env.put_all([env.job(), env.job(task="u"), env.job(task="u", priority=9)])
    await worker.end(job)
    claimed = []
    while jobs := await worker.claim():
        claimed += [job.id for job in jobs]
        for job in jobs:
            await worker.end(job)
    same(claimed, [behind[2], behind[0], first[1], first[2], behind[1]], "claimed, one of the limited task at a time")


async def check_a_key_that_ran_empty_begins_anew(env: Env) -> None:
    await _put_keys(env, "a")
    worker = await env.worker()
    same(await _keys(worker), ["g:a"], "claimed first")
    await _put_keys(env, "ba")
    same(await _keys(worker), ["g:b", "g:a"], "claimed then: in the order in which they came")


async def _kinds(env: Env, claims: int, *, with_others: bool = False) -> str:
    """What claims of one job each bring from "default", each of a new session: a job of a line (k), or not (p)."""
    kinds = ""
    for _ in range(claims):
        worker = await env.worker()
        if with_others:
            await worker.claim(1, lanes=[Lane("other", "", 1)])
        kinds += "".join("p" if job.limit_key is None else "k" for job in await worker.claim(1))
    return kinds


async def check_turns_do_not_depend_on_who_claims(env: Env) -> None:
    """Nor on what was claimed elsewhere meanwhile: a rotation over two queues must not starve either kind."""
    await env.put_all([*env.jobs(6), *env.jobs(12, queue="other"), *env.jobs(12, queue="other", limit_key="g:z")])
    await _put_keys(env, "abcdef")
    same(await _kinds(env, 6, with_others=True), "kpkpkp", "kinds claimed, by one session after the other")
    worker = await env.worker()
    worker.number = 7
    kinds = ""
    for _ in range(4):
        kinds += "".join("p" if job.limit_key is None else "k" for job in await worker.claim(1))
        await worker.claim(lanes=[Lane("other", "", 1)])
    same(kinds, "kpkp", "kinds claimed by a worker with one slot that looks at two queues in turn")


async def check_whose_turn_it_is_outlives_an_empty_lane(env: Env) -> None:
    for expected in ("kp", "pk", "kp"):
        await env.put()
        await _put_keys(env, "a")
        same(await _kinds(env, 3), expected, "kinds claimed, of one job of either: the last one had no choice")


async def check_only_a_choice_is_a_turn(env: Env) -> None:
    """A job that was alone at its priority changes nothing, and what is held back is not there to be chosen."""
    await env.put_all(env.jobs(2, priority=9))
    await _put_keys(env, "a", priority=8)
    await env.put_all(env.jobs(3))
    await _put_keys(env, "abc")
    same(await _kinds(env, 6), "ppkkpk", "kinds claimed: three without a choice, then a line first")
    await env.store.put_limit(Limit(scope=LimitScope.TASK, name="t", concurrency=1))
    same(await _kinds(env, 2), "", "kinds claimed at a limit")
    await env.store.put_limit(Limit(scope=LimitScope.TASK, name="t"))
    same(await _kinds(env, 3), "pkp", "kinds claimed once the limit is gone")


async def check_each_lane_has_turns_of_its_own(env: Env) -> None:
    for lane in ({}, {"requires": "gpu=1"}, {"queue": "other"}):
        await env.put_all(env.jobs(2, **lane))
        await _put_keys(env, "ab", **lane)
    lanes = [Lane("default", "", 1), Lane("default", "gpu=1", 2), Lane("other", "", 3)]
    worker = await env.worker()
    kinds = [[job.limit_key is not None for job in await worker.claim(lanes=lanes)] for _ in range(2)]
    same(kinds, [[True] * 3, [False] * 3], "whether a line's: first of each lane, then of each lane again")


async def check_what_was_passed_over_lets_nothing_overtake(env: Env) -> None:
    """However much a store passes over in one claim: what stands behind it comes before lower priorities."""
    await env.put_all(env.jobs(2500, task="u", priority=5))
    order = [await env.put(priority=5), *await _put_keys(env, "a", priority=4), await env.put(priority=3)]
    await env.store.pause(LimitScope.TASK, "u", paused=True)
    worker = await env.worker()
    claimed = []
    more = True
    while more:
        answer = await worker.ask()
        more = bool(answer.jobs) or answer.more
        claimed += [job.id for job in answer.jobs]
    same(claimed, order, "claimed behind 2,500 jobs of a paused task, until there is no more")


async def check_lines_of_expired_jobs_hold_no_other_up(env: Env) -> None:
    """However many there are: of the same priority and before, in lines of one job and of several."""
    await _put_keys(env, "xy", priority=9)
    for times in (1, 3):
        await env.put_all(
            [env.job(limit_key=f"g:{times}-{number}", expires_in=SECOND) for number in range(130) for _ in range(times)]
        )
    for _ in range(2):
        await _put_keys(env, "ab")
    behind = await _put_keys(env, "a", priority=1)
    await env.advance(SECOND)
    worker = await env.worker()
    same(await _keys(worker), [f"g:{key}" for key in "xyababa"], "keys claimed behind 260 whose jobs have expired")
    same(await env.state(behind[0]), State.RUNNING, "the last of them: that of the lowest priority")


async def check_a_line_goes_on_behind_its_expired_job(env: Env) -> None:
    """And as one line: it has one turn at a time, whether the janitor has come by or not."""
    for key in "ab":
        await env.put_all([env.job(limit_key=f"g:{key}", expires_in=SECOND), *env.jobs(3, limit_key=f"g:{key}")])
    await env.advance(SECOND)
    worker = await env.worker()
    same(await _keys(worker, 2), ["g:a", "g:b"], "keys claimed behind the first job of each, which has expired")
    same(await _keys(worker, 1), ["g:a"], "the next")
    same((await env.store.promote()).done, 2, "cancelled by the janitor")
    same(await _keys(worker), ["g:b", "g:a", "g:b"], "keys claimed then")


async def check_many_expired_jobs_are_a_bounded_detour(env: Env) -> None:
    """Whatever bounds a claim, it says so, it lets nothing overtake, and it goes on once the janitor has come by."""
    await env.store.put_limit(Limit(scope=LimitScope.TASK, name="u", concurrency=1))
    for at in range(0, 5000, 500):
        await env.put_all([env.job(limit_key="g:many", expires_in=SECOND) for _ in range(250)])
        await env.put_all([env.job(limit_key=f"g:{at + number}", expires_in=SECOND) for number in range(250)])
    order = [*await _put_keys(env, "a"), await env.put(priority=1)]
    await env.advance(SECOND)
    worker = await env.worker()
    answer = await worker.ask()
    claimed = [job.id for job in answer.jobs]
    same(claimed == order or (answer.more and not claimed), True, f"all, or none and more to come: {len(claimed)} jobs")
    while (await env.store.promote()).more:
        pass
    same(claimed + [job.id for job in await worker.claim()], order, "claimed once the janitor has come by")


async def check_what_is_given_back_together_opens_a_line_by_its_least_sequence(env: Env) -> None:
    """However it is given back, and in whichever order: a line that has had no turn stands by its first job."""

    async def unclaim(worker: Worker, _: list[ClaimedJob]) -> None:
        await env.store.unclaim(worker.id, worker.number)

    async def renew(worker: Worker, _: list[ClaimedJob]) -> None:
        await worker.renew([])

    async def close(worker: Worker, _: list[ClaimedJob]) -> None:
        await env.store.close(worker.id)

    async def reap(worker: Worker, _: list[ClaimedJob]) -> None:
        await env.reap(worker)

    async def settle(worker: Worker, jobs: list[ClaimedJob]) -> None:
        await worker.settle_all(*(ended(job, Outcome.RELEASED, started=False) for job in reversed(jobs)))

    for give_back in (unclaim, renew, close, reap, settle):
        worker = await env.worker()
        delayed = await env.put_all([env.job(limit_key="g:a", delay=HOUR), env.job(limit_key="g:a", delay=MINUTE)])
        await env.advance(MINUTE)
        await env.store.promote()
        between = await _put_keys(env, "b")
        await env.advance(HOUR)
        await env.store.promote()
        jobs = await worker.claim()
        same([job.limit_key for job in jobs], ["g:a", "g:b", "g:a"], "keys claimed: a's by sequence, not by row")
        await give_back(worker, jobs)
        other = await env.worker()
        again = await other.claim()
        same([job.id for job in again], [delayed[1], between[0], delayed[0]], f"claimed after {give_back.__name__}")
        for job in again:
            await other.end(job)


async def check_a_line_stands_by_its_first_job_until_its_first_turn(env: Env) -> None:
    ids = await _put_keys(env, "aab")
    await env.store.cancel(ids[:1])
    same(await env.claim_ids(1), ids[1:2], "claimed: the line's next job is still before the other's")
    first = await _put_keys(env, "c")
    worker = await env.worker()
    same(await _keys(worker), ["g:b", "g:c"], "keys claimed")
    held = await env.read(first[0])
    same(held.state, State.RUNNING, "the state of c's job")
    ids = await _put_keys(env, "dc")
    await worker.renew([])
    same(await _keys(worker, 3), ["g:b", "g:c", "g:d"], "keys claimed, c's line standing by the job that came back")
