"""Reading."""

from __future__ import annotations

import msgspec

from windlass.core.clock import MINUTE, SECOND
from windlass.core.errors import UsageError
from windlass.core.lifecycle import Outcome, State
from windlass.core.model import MAX_BATCH, Note
from windlass.core.records import JobFilter, JobResult, Limit, LimitScope, QueueRecord, Reason
from windlass.testing.conformance.env import Env
from windlass.testing.conformance.expect import raises, same

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


async def check_jobs_are_listed_newest_id_first(env: Env) -> None:
    ids = await env.put_all(env.jobs(7))
    newest = sorted(ids, reverse=True)
    pages = []
    cursor = None
    for _ in range(4):
        page = await env.store.list_jobs(ALL, limit=3, cursor=cursor)
        pages.append([job.id for job in page.jobs])
        cursor = page.cursor
        if cursor is None:
            break
        same(cursor, pages[-1][-1], "the cursor: the last one's id")
    same(pages, [newest[:3], newest[3:6], newest[6:]], "pages of three")
    page = await env.store.list_jobs(ALL, limit=7)
    same((len(page.jobs), page.cursor), (7, None), "jobs and cursor of a page that is just full")
    same((await env.store.list_jobs(JobFilter(queue="nobody"))).jobs, [], "jobs of an unknown queue")


async def check_lists_can_be_filtered(env: Env) -> None:
    ids = {(queue, task): await env.put(queue=queue, task=task) for queue in "ab" for task in "tu"}
    await env.store.cancel([ids["a", "t"], ids["b", "u"]])

    async def listed(**what: object) -> set[bytes]:
        page = await env.store.list_jobs(JobFilter(**what))  # type: ignore[arg-type]  # fields of all types
        return {job.id for job in page.jobs}

    same(await listed(queue="a"), {ids["a", "t"], ids["a", "u"]}, "of queue a")
    same(await listed(task="u"), {ids["a", "u"], ids["b", "u"]}, "of task u")
    same(await listed(states=(State.READY,)), {ids["a", "u"], ids["b", "t"]}, "ready")
    same(await listed(states=(State.READY, State.CANCELLED)), set(ids.values()), "ready or cancelled")
    same(await listed(states=()), set(), "in none of no states")
    same(await listed(queue="a", task="t", states=(State.CANCELLED,)), {ids["a", "t"]}, "of a, t, cancelled")
    same(await listed(queue="A"), set(), "of queue A")
    same(await listed(task="%"), set(), "of task %")


async def check_filtered_lists_have_pages_too(env: Env) -> None:
    await env.put_all([env.job(queue="ab"[i % 2]) for i in range(8)])
    first = await env.store.list_jobs(JobFilter(queue="a"), limit=3)
    rest = await env.store.list_jobs(JobFilter(queue="a"), limit=3, cursor=first.cursor)
    same(
        (len(first.jobs), len(rest.jobs), rest.cursor), (3, 1, None), "jobs on two pages of three, and the last cursor"
    )


async def check_lists_leave_out_errors_and_logs(env: Env) -> None:
    job_id = await env.put(options=b"{}")
    worker = await env.worker()
    job = await worker.claim_one()
    await env.store.annotate(worker.id, [Note(job_id, job.token, 0.5, "m", "log")])
    await worker.end(job, Outcome.DEAD, error=b"e")
    whole = await env.read(job_id)
    same((whole.errors, whole.log), ([b"e"], "log"), "errors and log of the whole record")
    [listed] = (await env.store.list_jobs(ALL)).jobs
    same(listed, msgspec.structs.replace(whole, errors=[], log=""), "the listed record")


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
    limit = Limit(scope=LimitScope.QUEUE, name="c", paused=True)
    await env.store.put_limit(limit)
    await env.store.put_limit(Limit(scope=LimitScope.TASK, name="t", concurrency=9))
    expected = [
        QueueRecord(name="a", running=1),
        QueueRecord(name="b", waiting=1, scheduled=1, ready=3, oldest_ready_at=first),
        QueueRecord(name="c", limit=limit),
        QueueRecord(name="elsewhere", ready=1, oldest_ready_at=first + SECOND),
    ]
    same(await env.store.queues(), expected, "queues(), by name: with a record or unfinished jobs")


async def check_reading_changes_nothing(env: Env) -> None:
    job_id = await env.put()
    before = await env.read(job_id)
    await env.store.list_jobs(ALL)
    await env.store.counts()
    await env.store.queues()
    await env.store.results([job_id])
    same(await env.read(job_id), before, "the record")
    same(await env.claim_ids(), [job_id], "claimed")
