"""Reading."""

from __future__ import annotations

from typing import Any

from windlass.core.clock import DAY, HOUR, MINUTE, SECOND
from windlass.core.errors import UsageError
from windlass.core.graph import EdgePolicy
from windlass.core.lifecycle import Outcome, State
from windlass.core.model import MAX_BATCH, Lane, Note, Parent
from windlass.core.records import (
    Backlog,
    JobFilter,
    JobResult,
    Limit,
    LimitScope,
    ParentRecord,
    QueueRecord,
    Rate,
    Reason,
)
from windlass.core.remote import encode_error
from windlass.testing.conformance.env import Env
from windlass.testing.conformance.expect import raises, same
from windlass.testing.conformance.marks import sets_clock_back
from windlass.testing.snapshot import without_large

ALL = JobFilter()


async def check_the_clock_is_the_stores(env: Env) -> None:
    before = await env.now()
    await env.advance(MINUTE)
    same(await env.now() - before, MINUTE, "now(), after a minute")
    same((await env.read(await env.put())).enqueued_at, await env.now(), "enqueued_at")


async def check_jobs_are_read_in_the_order_of_the_call(env: Env) -> None:
    one, two = await env.put(), await env.put()
    found = await env.store.get_jobs([two, env.id(), one, two])
    same([record and record.id for record in found], [two, None, one, two], "ids read, an unknown one among them")
    same(await env.store.get_jobs([]), [], "jobs read for no ids")


async def check_results_are_of_finished_jobs_only(env: Env) -> None:
    unfinished = [await env.put_in(state, queue="q") for state in list(State)[:4]]
    dead, done = await env.put(), await env.put()
    worker = await env.worker()
    one, two = await worker.claim()
    await worker.end(one, Outcome.RETRY, error=b"first")
    same(
        await env.store.results([*unfinished, dead, env.id()]), [None] * 6, "results of the unfinished and the unknown"
    )
    await worker.end(two, result=b"2")
    await worker.end(await worker.claim_one(), Outcome.DEAD, error=b"last")
    expected = [
        JobResult(dead, State.DEAD, Reason.NONE, None, b"last"),
        JobResult(done, State.SUCCEEDED, Reason.NONE, b"2", None),
    ]
    same(await env.store.results([dead, done]), expected, "results, in the order of the call")


async def _walk(env: Env, wanted: JobFilter = ALL, **how: Any) -> list[bytes]:
    """The ids on all pages, in their order. A page may be short, or empty."""
    ids: list[bytes] = []
    cursor = None
    while True:
        page = await env.store.list_jobs(wanted, cursor=cursor, **how)
        ids += [job.id for job in page.jobs]
        cursor = page.cursor
        if cursor is None:
            return ids


async def check_jobs_are_listed_in_the_order_of_their_ids(env: Env) -> None:
    ids = sorted(await env.put_all(env.jobs(7)))
    for limit in (1, 3, 7, 8):
        same(await _walk(env, limit=limit), ids[::-1], f"pages of {limit}, newest first")
        same(await _walk(env, limit=limit, oldest_first=True), ids, f"pages of {limit}, oldest first")
    page = await env.store.list_jobs(ALL, limit=3)
    same([job.id for job in page.jobs], ids[:3:-1], "the first page of three")
    same(page.cursor is not None, True, "there is a cursor, since there is more")


async def check_lists_can_be_filtered(env: Env) -> None:
    ids = {(queue, task): await env.put(queue=queue, task=task) for queue in "ab" for task in "tu"}
    await env.store.cancel([ids["a", "t"], ids["b", "u"]])

    async def listed(**what: Any) -> set[bytes]:
        return set(await _walk(env, JobFilter(**what)))

    same(await listed(queue="a"), {ids["a", "t"], ids["a", "u"]}, "of queue a")
    same(await listed(task="u"), {ids["a", "u"], ids["b", "u"]}, "of task u")
    same(await listed(states=(State.READY,)), {ids["a", "u"], ids["b", "t"]}, "ready")
    same(await listed(states=(State.READY, State.CANCELLED)), set(ids.values()), "ready or cancelled")
    same(await listed(states=()), set(), "in none of no states")
    same(await listed(queue="a", task="t", states=(State.CANCELLED,)), {ids["a", "t"]}, "of a, t, cancelled")
    same(await listed(queue="A"), set(), "of queue A")
    same(await listed(queue="nobody"), set(), "of an unknown queue")
    same(await listed(task="%"), set(), "of task %")


async def check_lists_can_be_filtered_by_age(env: Env) -> None:
    first = await env.put()
    await env.advance(SECOND)
    now = await env.now()
    second = await env.put()
    await env.advance(1)
    third = await env.put()
    for wanted, expected in (
        (JobFilter(enqueued_before=now), {first}),
        (JobFilter(enqueued_before=now + 1), {first, second}),
        (JobFilter(enqueued_from=now), {second, third}),
        (JobFilter(enqueued_from=now, enqueued_before=now + 1), {second}),
        (JobFilter(enqueued_from=now + 2), set()),
    ):
        same(set(await _walk(env, wanted)), expected, f"enqueued at {now - SECOND}, {now}, {now + 1}: {wanted}")


async def check_lists_can_be_filtered_by_the_last_error(env: Env) -> None:
    class Refused(ConnectionError):
        pass

    def error(kind: type[Exception]) -> bytes:
        return encode_error(kind("why"), 1, 0)

    ids = await env.put_all(env.jobs(5))
    worker = await env.worker()
    jobs = {job.id: job for job in await worker.claim()}
    for job_id, kind in zip(ids, (ValueError, Refused, KeyError), strict=False):
        await worker.end(jobs[job_id], Outcome.DEAD, error=error(kind))
    await worker.end(jobs[ids[3]], Outcome.DEAD, error=b"no record")
    await worker.end(jobs[ids[4]], Outcome.RETRY, error=error(ValueError))
    retried = await worker.claim_one()
    await worker.end(retried, Outcome.RETRY, error=error(KeyError), delay=MINUTE)
    untouched = await env.put()
    for name, expected in (
        ("ValueError", [ids[0]]),
        (f"{Refused.__module__}.{Refused.__qualname__}", [ids[1]]),
        ("Refused", [ids[1]]),
        ("ConnectionError", [ids[1]]),
        ("KeyError", [ids[2], ids[4]]),
        ("LookupError", [ids[2], ids[4]]),
        ("Exception", [*ids[:3], ids[4]]),
        ("keyerror", []),
        ("Key%", []),
    ):
        found = await _walk(env, JobFilter(error=name), limit=2)
        same(found, sorted(expected, reverse=True), f"last error is of {name}")
    dead = JobFilter(error="Exception", states=(State.DEAD,))
    same(set(await _walk(env, dead, limit=1)), set(ids[:3]), "dead, with any exception")
    same(untouched in await _walk(env), True, "without the filter those without an error are there too")


async def check_a_walk_meets_what_is_there_all_the_while(env: Env) -> None:
    """Whatever comes, goes or changes meanwhile."""
    ids = sorted(await env.put_all(env.jobs(12)))
    for oldest_first, newcomer in ((False, None), (True, env.id())):
        order = ids if oldest_first else ids[::-1]
        met: list[bytes] = []
        cursor = None
        while True:
            page = await env.store.list_jobs(ALL, limit=4, cursor=cursor, oldest_first=oldest_first)
            met += [job.id for job in page.jobs]
            cursor = page.cursor
            if cursor is None:
                break
            await env.store.cancel([job.id for job in page.jobs])
            if newcomer is None:
                await env.put()
            await env.advance(MINUTE)
        same([job_id for job_id in met if job_id in ids], order, f"met, oldest_first={oldest_first}")


async def check_a_selective_walk_gets_to_the_end(env: Env) -> None:
    """However many jobs are in between that are not meant."""
    rare = [await env.put(queue="rare")]
    await env.put_all(env.jobs(50))
    rare.append(await env.put(queue="rare"))
    wanted = JobFilter(queue="rare")
    same(await _walk(env, wanted, limit=1), sorted(rare, reverse=True), "newest first")
    same(await _walk(env, wanted, limit=50, oldest_first=True), sorted(rare), "oldest first")


async def check_lists_leave_out_what_may_be_large(env: Env) -> None:
    job_id = await env.put(options=b"{}")
    worker = await env.worker()
    job = await worker.claim_one()
    await env.store.annotate(worker.id, [Note(job_id, job.token, 0.5, "m", "log")])
    await worker.end(job, Outcome.RETRY, error=b"e")
    await worker.end(await worker.claim_one(), result=b"7")
    whole = await env.read(job_id)
    large = (whole.payload, whole.options, whole.result, whole.errors, whole.log)
    same(large, (b"{}", b"{}", b"7", [b"e"], "log"), "payload, options, result, errors and log of the whole record")
    [listed] = (await env.store.list_jobs(ALL)).jobs
    same(listed, without_large(whole), "the listed record")


async def check_reads_are_bounded(env: Env) -> None:
    ids = [env.id() for _ in range(MAX_BATCH + 1)]
    await raises(UsageError, env.store.get_jobs(ids), f"reading {MAX_BATCH + 1} jobs")
    await raises(UsageError, env.store.results(ids), f"reading {MAX_BATCH + 1} results")
    for limit in (0, -1, MAX_BATCH + 1):
        await raises(UsageError, env.store.list_jobs(ALL, limit=limit), f"listing {limit} jobs")
    same(len(await env.store.get_jobs(ids[1:])), MAX_BATCH, "records of the largest batch")


async def check_jobs_are_counted_by_queue_and_state(env: Env) -> None:
    same(await env.store.counts(), {}, "counts of an empty store")
    for state in State:
        await env.put_in(state, queue="q")
    await env.put_all(env.jobs(3))
    counts = {key: count for key, count in (await env.store.counts()).items() if count}
    expected = {("q", int(state)): 1 for state in State} | {("default", 2): 3, ("elsewhere", 2): 1}
    same(counts, expected, "counts")


async def check_queues_tell_what_waits_and_runs(env: Env) -> None:
    same(await env.store.queues(), [], "queues of an empty store")
    await env.put(queue="b", delay=MINUTE)
    await env.advance(SECOND)
    first = await env.now()
    await env.put(queue="b")
    await env.advance(SECOND)
    await env.put(queue="b")
    await env.put(queue="b", requires="gpu=1")
    await env.put_in(State.WAITING, queue="b")
    await env.put_in(State.SUCCEEDED, queue="done")
    await env.put_in(State.RUNNING, queue="a")
    limit = Limit(scope=LimitScope.QUEUE, name="c", concurrency=2)
    await env.store.put_limit(limit)
    await env.store.put_limit(Limit(scope=LimitScope.TASK, name="t", concurrency=9))
    expected = [
        QueueRecord(name="a", running=1),
        QueueRecord(name="b", waiting=1, scheduled=1, ready=3, oldest_ready_at=first),
        QueueRecord(name="c", limit=limit),
        QueueRecord(name="elsewhere", ready=1, oldest_ready_at=first + SECOND),
    ]
    same(await env.store.queues(), expected, "queues(), by name: with a record or unfinished jobs")


@sets_clock_back
async def check_the_oldest_ready_job_is_the_one_stored_first(env: Env) -> None:
    """Whatever the clock said, and wherever it stands in the line."""
    await env.advance(HOUR)
    oldest = await env.put(queue="q", priority=0)
    first = await env.now()
    await env.step(-MINUTE)
    await env.put(queue="q", priority=9)
    await env.put(queue="q", limit_key="k")
    [queue] = await env.store.queues()
    same(queue.oldest_ready_at, first, "oldest_ready_at: that of the job stored first")
    worker = await env.worker()
    job = next(job for job in await worker.claim(lanes=[Lane("q")]) if job.id == oldest)
    await worker.end(job, Outcome.RETRY)
    [queue] = await env.store.queues()
    same(queue.oldest_ready_at, first, "oldest_ready_at: it is ready again, at the end of the line")


async def check_the_backlog_shows_lanes_and_who_is_next(env: Env) -> None:
    same(await env.store.backlog(), Backlog(lanes=[], scheduled=[], last_scheduled=None, waiting=[]), "of nothing")
    plain = await env.put_all([env.job(queue="b", priority=4), env.job(queue="b", priority=6)])
    gpu = await env.put(queue="b", requires="gpu=1")
    await env.put_all([env.job(queue="a", limit_key=f"k:{i % 3}") for i in range(9)])
    later, soon = await env.put(queue="s", delay=DAY), await env.put(queue="s", delay=SECOND)
    waiting = await env.put_in(State.WAITING, queue="w")
    await env.put_in(State.RUNNING, queue="r")
    await env.put_in(State.DEAD, queue="r")
    backlog = await env.store.backlog()
    lanes = [(lane.queue, lane.requires, lane.ready, lane.suspects) for lane in backlog.lanes]
    same(lanes, [("a", "", 9, 0), ("b", "", 2, 0), ("b", "gpu=1", 1, 0), ("elsewhere", "", 1, 0)], "lanes")
    same([job.id for job in backlog.lanes[1].first], plain[::-1], "first of b: by priority")
    same([job.id for job in backlog.lanes[2].first], [gpu], "first of b with gpu=1")
    same({job.limit_key for job in backlog.lanes[0].first[:3]}, {"k:0", "k:1", "k:2"}, "limit keys of the first of a")
    same([job.id for job in backlog.scheduled], [soon, later], "scheduled: due first")
    last = backlog.last_scheduled
    same(last and last.id, later, "due last")
    same([job.id for job in backlog.waiting], [waiting], "waiting")
    shown = [*backlog.waiting, *backlog.scheduled, *(job for lane in backlog.lanes for job in lane.first)]
    for job in shown:
        same(job, without_large(await env.read(job.id)), "a job of the backlog")


async def check_the_backlog_is_bounded(env: Env) -> None:
    await env.put_all([env.job(queue=f"q{i}") for i in range(5) for _ in range(3)])
    await env.put_all([env.job(queue="q0", limit_key=f"k:{i}") for i in range(5)])
    for _ in range(4):
        await env.put_in(State.WAITING)
        await env.put_in(State.SCHEDULED)
    backlog = await env.store.backlog(2)
    same([lane.queue for lane in backlog.lanes], ["elsewhere", "q0"], "the first two lanes")
    same([len(lane.first) for lane in backlog.lanes], [2, 2], "jobs of each")
    same([lane.ready for lane in backlog.lanes], [4, 8], "all are counted")
    same((len(backlog.scheduled), len(backlog.waiting)), (2, 2), "scheduled, waiting")
    for limit in (0, MAX_BATCH + 1):
        await raises(UsageError, env.store.backlog(limit), f"a backlog of {limit}")


async def check_suspects_are_in_the_backlog(env: Env) -> None:
    suspect = await env.put()
    await env.lose(suspect, 2)
    other = await env.put()
    [lane] = (await env.store.backlog()).lanes
    same((lane.ready, lane.suspects), (2, 1), "ready, of these suspect")
    same([job.id for job in lane.first], [other, suspect], "first: suspects last")


async def check_lanes_are_those_in_which_jobs_are_ready(env: Env) -> None:
    same(await env.store.lanes(["default"]), [], "lanes of an empty store")
    await env.put_all([*env.jobs(3), *env.jobs(2, requires="gpu=1"), env.job(queue="other", requires="gpu=2")])
    await env.put(requires="@keyed", limit_key="k")
    await env.lose(await env.put(requires="@suspect"), 2)
    expected = [("default", requires) for requires in ("", "@keyed", "@suspect", "gpu=1")]
    same(await env.store.lanes(["default"]), expected, "lanes of a queue")
    both = [*expected, ("other", "gpu=2")]
    same(await env.store.lanes(["other", "default", "nobody", "default"]), both, "lanes of two queues")
    same(await env.store.lanes([]), [], "lanes of no queue")


async def check_open_parents_are_those_that_a_job_waits_for(env: Env) -> None:
    done, running, dead = [await env.put_in(state, queue="p") for state in (State.SUCCEEDED, State.RUNNING, State.DEAD)]
    ready = await env.put(queue="p")
    job_id = await env.put(
        parents=[done, running, Parent(ready, EdgePolicy.DONE), Parent(dead, EdgePolicy.DONE)], queue="c"
    )
    expected = {
        ParentRecord(id=running, policy=EdgePolicy.SUCCEEDED, state=State.RUNNING),
        ParentRecord(id=ready, policy=EdgePolicy.DONE, state=State.READY),
    }
    found = await env.store.open_parents(job_id)
    same((set(found), len(found)), (expected, 2), "parents whose edges are not marked")
    same(len(await env.store.open_parents(job_id, 1)), 1, "at most one")
    same(await env.store.open_parents(ready), [], "of a job without parents")
    same(await env.store.open_parents(env.id()), [], "of an unknown job")
    await env.store.cancel([job_id])
    await env.store.replay([job_id])
    same(set(await env.store.open_parents(job_id)), expected, "after a replay")
    cancelled = await env.put(parents=[dead], queue="c")
    await env.store.replay([cancelled])
    [parent] = await env.store.open_parents(cancelled)
    expected_parent = ParentRecord(id=dead, policy=EdgePolicy.SUCCEEDED, state=State.DEAD)
    same(parent, expected_parent, "replayed, it waits for a replay of its parent")


async def check_the_waits_of_rates_are_told(env: Env) -> None:
    queue, task, key = (LimitScope.QUEUE, "q"), (LimitScope.TASK, "t"), (LimitScope.KEY, "g:1")
    names = [queue, task, key, (LimitScope.KEY, "g:2"), (LimitScope.QUEUE, "nobody")]
    same(await env.store.rate_waits(names), [0] * 5, "waits without a record")
    await env.store.put_limit(Limit(scope=LimitScope.QUEUE, name="q", concurrency=9))
    await env.store.put_limit(Limit(scope=LimitScope.TASK, name="t", rate=Rate(count=1, per=MINUTE, burst=3)))
    await env.store.put_limit(Limit(scope=LimitScope.KEY, name="g", rate=Rate(count=2, per=MINUTE)))
    same(await env.store.rate_waits(names), [0] * 5, "waits before a job has started")
    await env.put_all([*env.jobs(2, queue="q"), env.job(queue="q", limit_key="g:1")])
    worker = await env.worker()
    same(len(await worker.claim(lanes=[Lane("q")])), 3, "jobs claimed")
    same(await env.store.rate_waits(names), [0, MINUTE, MINUTE // 2, 0, 0], "waits after three have started")
    await env.advance(20 * SECOND)
    same(await env.store.rate_waits([task, key]), [40 * SECOND, 10 * SECOND], "20 s later")
    await env.advance(MINUTE)
    same(await env.store.rate_waits([task, key]), [0, 0], "when both may start again")
    same(await env.store.rate_waits([]), [], "of nothing")


async def check_reading_changes_nothing(env: Env) -> None:
    job_id = await env.put()
    before = await env.read(job_id)
    await env.store.list_jobs(ALL)
    await env.store.counts()
    await env.store.queues()
    await env.store.results([job_id])
    same(await env.read(job_id), before, "the record")
    same(await env.claim_ids(), [job_id], "claimed")
