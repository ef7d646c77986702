"""What the doctor says of each way in which a job can be stuck, produced in real stores."""

import sqlite3
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from windlass.core.clock import DAY, HOUR, MINUTE, SECOND
from windlass.core.errors import UnknownTask
from windlass.core.graph import EdgePolicy
from windlass.core.ids import to_text
from windlass.core.lifecycle import Outcome, State
from windlass.core.model import Edge, Lane, Parent
from windlass.core.records import Backlog, Limit, LimitScope, Rate
from windlass.core.remote import encode_error
from windlass.core.schedules import NewSchedule
from windlass.doctor import Finding, Kind, examine, examine_job
from windlass.store.memory import MemoryStore
from windlass.store.port import Store
from windlass.store.sqlite import SQLiteStore
from windlass.testing.clock import ManualClock
from windlass.testing.conformance import Env

START = "start one with `windlass worker`"


@pytest.fixture(params=["memory", "sqlite"])
async def env(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Env]:
    clock = ManualClock()
    store: Store = (
        MemoryStore(clock=clock) if request.param == "memory" else SQLiteStore(tmp_path / "w.db", clock=clock)
    )

    async def move(by: int) -> None:
        clock.move(by)

    env = Env(store, move)
    yield env
    await env.close()


def words(finding: Finding | None, ids: Mapping[str, bytes]) -> str:
    """The sentence, with names in place of ids, and a mark if it is stuck."""
    assert finding is not None
    text = finding.sentence
    for name, job_id in ids.items():
        text = text.replace(to_text(job_id), name)
    return f"{'!' if finding.stuck else '-'} {text}"


async def overview(env: Env, **ids: bytes) -> list[str]:
    return [words(finding, ids) for finding in await examine(env.store, patience=0)]


async def about(env: Env, job_id: bytes, **ids: bytes) -> str:
    return words(await examine_job(env.store, job_id, patience=0), {"JOB": job_id, **ids})


# ------------------------------------------------------------------------------------------------------- ready jobs


async def test_nothing_is_stuck_in_an_empty_store(env: Env) -> None:
    assert await overview(env) == []
    assert await examine_job(env.store, env.id()) is None


async def test_no_worker_is_live(env: Env) -> None:
    job = await env.put()
    worker = await env.worker()
    await env.advance(9 * SECOND)
    assert await about(env, job) == f"! job JOB (t), ready in queue default: no worker is live; {START}"
    await env.put()
    expected = f"! 2 jobs of task t, ready in queue default (the first is JOB): no worker is live; {START}"
    assert await overview(env, JOB=job) == [expected]
    await worker.renew()
    assert not any("no worker is live" in line for line in await overview(env))


async def test_no_live_worker_serves_the_queue(env: Env) -> None:
    await env.worker(lanes=(Lane("mail"), Lane("web")))
    job = await env.put()
    said = "no live worker serves queue default; they serve mail, web; start one with `windlass worker --queue default`"
    assert await about(env, job) == f"! job JOB (t), ready in queue default: {said}"
    assert await overview(env, JOB=job) == [f"! job JOB (t), ready in queue default: {said}"]


async def test_no_live_worker_meets_the_requirement(env: Env) -> None:
    await env.worker()
    job = await env.put(requires="gpu=1")
    said = (
        "no live worker serves queue default with gpu=1, only without; "
        "start one with `windlass worker --queue default --resource gpu=1`"
    )
    assert await about(env, job) == f"! job JOB (t), ready in queue default: {said}"
    assert await overview(env, JOB=job) == [f"! job JOB (t), ready in queue default: {said}"]


async def test_it_is_said_what_the_workers_have_that_cannot_run_it(env: Env) -> None:
    await env.worker(offer="cpu=2,gpu=1,memory=4GiB")
    await env.worker(offer="cpu=8,@ssd", lanes=(Lane("default"), Lane("other")))
    job = await env.put(requires="gpu=1,@ssd")
    said = (
        "no live worker serves queue default with gpu=1,@ssd; they have cpu=2,gpu=1,memory=4GiB, cpu=8,@ssd; "
        "start one with `windlass worker --queue default --resource gpu=1 --label ssd`"
    )
    assert await about(env, job) == f"! job JOB (t), ready in queue default: {said}"
    for requires in ("gpu=1", "@ssd", "cpu=8,@ssd"):
        job = await env.put(requires=requires)
        assert "no live worker" not in await about(env, job), f"one has {requires}"
    job = await env.put(requires="colour=1,something new")
    assert "with colour=1,something new; they have" in await about(env, job)


async def test_who_has_the_resources_and_runs_other_jobs_is_busy(env: Env) -> None:
    worker = await env.worker(offer="gpu=1", lanes=(Lane("default"), Lane("default", "gpu=1", 1)), slots=4)
    await env.put(requires="gpu=1")
    job = await env.put(requires="gpu=1")
    await worker.claim(lanes=[Lane("default", "gpu=1", 1)])
    said = "the worker that serves queue default runs 1 jobs, with 1 slots for such as this"
    said += "; it starts when its turn has come"
    assert await about(env, job) == f"- job JOB (t), ready in queue default: {said}"


async def test_the_workers_of_the_queue_are_told_to_stop(env: Env) -> None:
    worker = await env.worker()
    job = await env.put()
    await env.store.command(worker.id, "drain")
    said = "the workers that serve queue default are told to stop; start others"
    assert await about(env, job) == f"! job JOB (t), ready in queue default: {said}"


async def test_no_worker_knows_the_task(env: Env) -> None:
    await env.worker(tasks=("other",))
    job = await env.put()
    advice = "start one of the version of the app that has it, or give the name as an alias to a task"
    said = f"the worker that serves queue default does not know task t; {advice}"
    assert await about(env, job) == f"! job JOB (t), ready in queue default: {said}"
    await env.worker(tasks=("another",))
    said = f"none of the 2 workers that serve queue default knows task t; {advice}"
    assert await overview(env, JOB=job) == [f"! job JOB (t), ready in queue default: {said}"]


async def test_a_queue_is_paused(env: Env) -> None:
    await env.worker()
    job = await env.put()
    await env.store.pause(LimitScope.QUEUE, "default", paused=True)
    said = "queue default is paused; `windlass queues resume default` lets it go on"
    assert await about(env, job) == f"! job JOB (t), ready in queue default: {said}"
    await env.put(task="u")
    expected = f"! 2 jobs, ready in queue default (the first is JOB): {said}"
    assert await overview(env, JOB=job) == [expected]


async def test_a_backlog_is_counted_whole(env: Env) -> None:
    first = await env.put()
    await env.put_all(env.jobs(1233))
    await env.store.pause(LimitScope.QUEUE, "default", paused=True)
    [finding] = await examine(env.store, patience=0)
    assert finding.sentence.startswith(f"1,234 jobs, ready in queue default (the first is {to_text(first)}): ")
    assert (finding.kind, finding.jobs, len(finding.examples)) == (Kind.PAUSED, 1234, 3)


async def test_a_task_is_paused(env: Env) -> None:
    await env.worker(tasks=("t", "u"))
    job = await env.put()
    await env.put(task="u")
    await env.store.pause(LimitScope.TASK, "t", paused=True)
    assert (await about(env, job)).startswith("! job JOB (t), ready in queue default: task t is paused; ")
    [only] = [line for line in await overview(env) if "paused" in line]
    assert "(t), ready in queue default: task t is paused" in only


@pytest.mark.parametrize(
    ("limit", "who"),
    [
        (Limit(scope=LimitScope.QUEUE, name="default", concurrency=2), "queue default"),
        (Limit(scope=LimitScope.TASK, name="t", concurrency=2), "task t"),
        (Limit(scope=LimitScope.KEY, name="customer:7", concurrency=2), "limit key customer:7"),
        (
            Limit(scope=LimitScope.KEY, name="customer", concurrency=2),
            "limit key customer:7 (by the record of customer)",
        ),
    ],
)
async def test_a_limit_of_concurrency_is_reached(env: Env, limit: Limit, who: str) -> None:
    await env.store.put_limit(limit)
    worker = await env.worker()
    await env.put_all(env.jobs(2, limit_key="customer:7"))
    jobs = await worker.claim()
    waiting = await env.put(limit_key="customer:7")
    said = (
        f"{who} runs 2 jobs, and may run 2; the next one starts when one of them ends; "
        "`windlass jobs ls --state running` shows them"
    )
    assert await about(env, waiting) == f"- job JOB (t), ready in queue default: {said}"
    assert await overview(env, JOB=waiting) == [f"- job JOB (t), ready in queue default: {said}"]
    await worker.end(jobs[0])
    assert "may run" not in await about(env, waiting)


async def test_a_limit_of_rate_is_reached(env: Env) -> None:
    await env.store.put_limit(Limit(scope=LimitScope.TASK, name="t", rate=Rate(count=2, per=HOUR, burst=2)))
    worker = await env.worker()
    await env.put_all(env.jobs(2))
    held = await worker.claim()
    job = await env.put()
    await env.advance(5 * MINUTE)
    await worker.renew(held)
    said = "task t may start 2 jobs in 1 h, and has started as many; the next one may start in 25 min"
    assert await about(env, job) == f"- job JOB (t), ready in queue default: {said}"
    assert await overview(env, JOB=job) == [f"- job JOB (t), ready in queue default: {said}"]


async def test_a_suspect_waits_for_a_lone_slot(env: Env) -> None:
    job = await env.put()
    await env.lose(job, 2)
    worker = await env.worker()
    said = (
        "lost with a worker 2 times, and waiting for {} to run alone, so as to take no other job along; a supervisor "
        "starts a process for that, or a worker without one empties itself; if neither happens, see their logs"
    )
    assert await about(env, job) == f"- job JOB (t), ready in queue default: {said.format('9 s')}"
    assert await overview(env) == []
    await env.advance(5 * MINUTE)
    await worker.renew()
    assert await about(env, job) == f"! job JOB (t), ready in queue default: {said.format('5 min')}"
    assert await overview(env, JOB=job) == [f"! job JOB (t), ready in queue default: {said.format('5 min')}"]


async def test_all_slots_are_taken(env: Env) -> None:
    worker = await env.worker()
    await env.put_all(env.jobs(4))
    await worker.claim()
    job = await env.put()
    said = (
        "the worker that serves queue default runs 4 jobs, with 4 slots for such as this; it starts when its turn has "
        "come"
    )
    assert await about(env, job) == f"- job JOB (t), ready in queue default: {said}"
    assert await overview(env) == []


async def test_slots_for_processes_are_taken_and_others_are_not(env: Env) -> None:
    processes = Lane("default", "process", 2)
    worker = await env.worker(lanes=(Lane("default", "", 100), processes), slots=100)
    await env.put_all(env.jobs(2, requires="process"))
    held = await worker.claim(lanes=[processes])
    job, other = await env.put(requires="process"), await env.put()
    said = (
        "the worker that serves queue default runs 2 jobs, with 2 slots for such as this; it starts when its turn has "
        "come"
    )
    assert await about(env, job) == f"- job JOB (t), ready in queue default: {said}"
    assert "claimed nothing" in await about(env, other), "there is room for this one"
    assert len(held) == 2


async def test_a_worker_with_room_claims_nothing(env: Env) -> None:
    await env.worker(pid=4242, node="box")
    job = await env.put()
    last = (await env.put_all(env.jobs(200)))[-1]
    said = (
        "worker 4242 on box has free slots, and claimed nothing while we looked for 0.0 s; a blocked event loop, or a "
        "worker that is stopping; its log names the task that blocks it"
    )
    assert await about(env, job) == f"! job JOB (t), ready in queue default: {said}"
    assert await about(env, last) == f"! job JOB (t), ready in queue default: {said}"
    [line] = await overview(env, JOB=job)
    assert line == f"! at least 100 jobs of task t, ready in queue default (the first is JOB): {said}"


@pytest.mark.parametrize("gives_back", [False, True])
async def test_a_job_that_is_claimed_while_somebody_looks_is_no_sign_of_a_stalled_worker(
    env: Env, gives_back: bool
) -> None:
    worker = await env.worker()
    first, second = await env.put_all(env.jobs(2))

    class ClaimsBetween:
        """Lets the worker claim the first in line between two looks."""

        looks = 0

        async def backlog(self, limit: int) -> Backlog:
            self.looks += 1
            if self.looks == 2:
                job = await worker.claim_one()
                assert job.id == first
                if gives_back:
                    await worker.end(job, Outcome.RELEASED, started=False)
            return await env.store.backlog(limit)

        def __getattr__(self, name: str) -> Any:
            return getattr(env.store, name)

    between = ClaimsBetween()
    assert await examine(between, patience=0) == []  # type: ignore[arg-type]
    assert between.looks == 2
    assert (await env.read(second)).state is State.READY


async def test_a_worker_for_suspects_alone_is_no_worker_for_others(env: Env) -> None:
    await env.worker(alone=True)
    job = await env.put()
    assert "no live worker serves queue default" in await about(env, job)


# --------------------------------------------------------------------------------------------- later, or not at all


async def test_undeliverable(env: Env) -> None:
    job = await env.put()
    worker = await env.worker()
    error = encode_error(UnknownTask("task 't' is not registered with this worker"), 0, 0)
    await worker.end(await worker.claim_one(), Outcome.UNDELIVERABLE, error=error, delay=SECOND)
    await env.advance(12 * MINUTE)
    await env.store.promote()
    await worker.renew()
    await worker.end(await worker.claim_one(), Outcome.UNDELIVERABLE, error=error, delay=MINUTE)
    said = (
        "no worker could run this for 12 min: windlass.core.errors.UnknownTask: task 't' is not registered with this "
        "worker; workers try again, up to a minute apart, and give up after an hour; start one that can"
    )
    assert await about(env, job) == f"! job JOB (t), scheduled in queue default: {said}"
    assert await overview(env, JOB=job) == [f"! job JOB (t), scheduled in queue default: {said}"]


async def test_a_job_that_a_worker_could_run_at_last_is_not_undeliverable(env: Env) -> None:
    job = await env.put()
    worker = await env.worker()
    await worker.end(await worker.claim_one(), Outcome.UNDELIVERABLE)
    await worker.end(await worker.claim_one(), Outcome.RETRY, delay=MINUTE)
    said = "due in 1 min, after 1 failed attempt"
    assert await about(env, job) == f"- job JOB (t), scheduled in queue default: {said}"


async def test_due_and_nobody_promotes(env: Env) -> None:
    job = await env.put(delay=SECOND)
    await env.advance(5 * MINUTE)
    said = f"overdue for 4 min, and no worker is live; {START}"
    assert await about(env, job) == f"! job JOB (t), scheduled in queue default: {said}"
    await env.worker(pid=4242, node="box")
    said = "overdue for 4 min, and not made ready by worker 4242 on box, though live; see the logs"
    assert await overview(env, JOB=job) == [f"! job JOB (t), scheduled in queue default: {said}"]


async def test_due_far_in_the_future(env: Env) -> None:
    await env.put(delay=HOUR)
    job = await env.put(delay=400 * DAY)
    said = "due in 400 days; `windlass jobs cancel` if that is a mistake"
    assert await about(env, job) == f"- job JOB (t), scheduled in queue default: {said}"
    assert await overview(env, JOB=job) == [f"- job JOB (t), scheduled in queue default: {said}"]


async def test_a_schedule_that_nobody_fires(env: Env) -> None:
    at = await env.now() + SECOND
    new = [NewSchedule(name=name, definition=b"{}", version=0, next=at) for name in ("a", "b")]
    await env.store.put_schedules(new)
    await env.advance(30 * SECOND)
    assert await overview(env) == []
    await env.advance(4 * MINUTE)
    said = "2 schedules (a, b) were due 4 min ago, and no worker is live to fire them; start one with `windlass worker`"
    assert await overview(env) == [f"! {said}"]
    await env.store.delete_schedules(["b"])
    await env.worker()
    said = "schedule a was due 4 min ago, and no live worker fires it: see their logs; perhaps a newer version made it"
    assert await overview(env) == [f"! {said}"]


async def test_due_soon(env: Env) -> None:
    job = await env.put(delay=MINUTE)
    assert await about(env, job) == "- job JOB (t), scheduled in queue default: due in 1 min"
    assert await overview(env) == []


# ------------------------------------------------------------------------------------------------------------ graphs


async def test_waiting_for_a_parent_that_is_kept_itself(env: Env) -> None:
    top = await env.put(task="load")
    parts = await env.put_all([env.job(task="split", parents=[top]) for _ in range(2)])
    job = await env.put(task="join", parents=parts)
    said = (
        "waiting for job MIDDLE (split) and 1 more, waiting: waiting for job TOP (load), ready: no worker is live; "
        "start one with `windlass worker`"
    )
    assert await about(env, job, MIDDLE=min(parts), TOP=top) == f"! job JOB (join), waiting in queue default: {said}"
    await env.worker(tasks=("load",))
    assert "stopping" in await about(env, job)
    assert not any("waiting in" in line for line in await overview(env)), "what waits for a parent is not the cause"


async def test_waiting_for_a_parent_that_runs(env: Env) -> None:
    parent = await env.put()
    job = await env.put(parents=[parent], queue="later")
    worker = await env.worker(pid=4242, node="box")
    await worker.claim_one()
    await env.advance(3 * SECOND)
    said = "waiting for job PARENT (t), running: attempt 1 runs for 3 s in worker 4242 on box"
    assert await about(env, job, PARENT=parent) == f"- job JOB (t), waiting in queue later: {said}"


async def test_waiting_for_a_dead_parent_to_be_replayed(env: Env) -> None:
    parent = await env.put_in(State.DEAD)
    job = await env.put(parents=[parent])
    await env.store.replay([job])
    said = (
        "waiting for job PARENT to succeed, which is dead; `windlass jobs replay` that one, or `windlass jobs cancel` "
        "this one"
    )
    assert await about(env, job, PARENT=parent) == f"! job JOB (t), waiting in queue default: {said}"
    assert await overview(env, JOB=job, PARENT=parent) == [f"! job JOB (t), waiting in queue default: {said}"]


async def test_waiting_in_a_circle(env: Env) -> None:
    top = await env.put()
    first = await env.put(parents=[top])
    second = await env.put(parents=[first])
    third = await env.put(parents=[second], task="third")
    behind = await env.put(parents=[third], task="behind")
    await env.enqueue(edges=[Edge(third, first)])

    said = "waiting for itself, by way of job SECOND and job FIRST; `windlass jobs cancel` lets go of it"
    names = {"FIRST": first, "SECOND": second, "THIRD": third}
    assert await about(env, third, **names) == f"! job JOB (third), waiting in queue default: {said}"
    assert f"! job THIRD (third), waiting in queue default: {said}" in await overview(env, **names)
    assert "waiting for itself" in await about(env, behind)


async def test_waiting_for_parents_whose_end_nobody_carried_on(env: Env) -> None:
    parent = await env.put()
    children = await env.put_all(env.jobs(600, parents=[Parent(parent, EdgePolicy.DONE)], queue="later"))
    await env.store.cancel([parent])
    [waiting, *_] = [one for one in children if (await env.read(one)).state is State.WAITING]
    said = f"its parents have finished, and no worker is live to carry that on; {START}"
    assert await about(env, waiting) == f"! job JOB (t), waiting in queue later: {said}"
    assert any(said in line for line in await overview(env))
    await env.worker(lanes=(Lane("later"),))
    said = "its parents have finished, and the workers have not carried that on yet"
    assert await about(env, waiting) == f"- job JOB (t), waiting in queue later: {said}"


async def test_waiting_for_a_parent_that_the_store_does_not_have(tmp_path: Path) -> None:
    """No verb does that; somebody with another program does."""
    env = Env(SQLiteStore(tmp_path / "w.db", clock=ManualClock()), _stands_still)
    parent = await env.put()
    job = await env.put(parents=[parent])
    with sqlite3.connect(tmp_path / "w.db") as db:
        db.execute("DELETE FROM jobs WHERE id = ?", (parent,))
    db.close()
    said = "waiting for job PARENT, which the store does not have; `windlass jobs cancel` lets go of it"
    assert await about(env, job, PARENT=parent) == f"! job JOB (t), waiting in queue default: {said}"
    assert await overview(env, JOB=job, PARENT=parent) == [f"! job JOB (t), waiting in queue default: {said}"]
    await env.close()


async def _stands_still(_: int) -> None: ...


# ---------------------------------------------------------------------------------------------------- running, ended


async def test_running_for_a_dead_worker(env: Env) -> None:
    job = await env.put()
    worker = await env.worker(pid=4242, node="box")
    await worker.claim_one()
    await env.advance(12 * SECOND)
    silent = "running for worker 4242 on box, which has been silent for"
    said = f"{silent} 12 s; no worker is live to take it back; {START}"
    assert await about(env, job) == f"! job JOB (t), running in queue default: {said}"
    assert await overview(env) == [f"! 1 job: {said}"]
    other = await env.worker()
    said = f"{silent} 12 s; a live worker takes it back"
    assert await about(env, job) == f"- job JOB (t), running in queue default: {said}"
    assert await overview(env) == []
    await env.advance(5 * MINUTE)
    await other.renew()
    said = f"{silent} 5 min; the live workers have not taken it back; see their logs"
    assert await about(env, job) == f"! job JOB (t), running in queue default: {said}"
    assert await overview(env) == [f"! 1 job: {said}"]


async def test_running_for_a_revoked_worker(env: Env) -> None:
    await env.put_all(env.jobs(3))
    worker = await env.worker(pid=4242, node="box")
    await worker.claim()
    await env.reap(worker, limit=1)
    said = f"running for worker 4242 on box, which was revoked; no worker is live to take it back; {START}"
    assert f"! 2 jobs: {said}" in await overview(env)


async def test_running(env: Env) -> None:
    job = await env.put()
    worker = await env.worker(pid=4242, node="box")
    await worker.claim_one()
    await env.advance(3 * SECOND)
    said = "attempt 1 runs for 3 s in worker 4242 on box"
    assert await about(env, job) == f"- job JOB (t), running in queue default: {said}"
    await env.store.cancel([job])
    assert await about(env, job) == f"- job JOB (t), running in queue default: {said}, and was asked to stop"


async def test_finished(env: Env) -> None:
    dead, cancelled, done = await env.put(), await env.put(delay=HOUR), await env.put()
    worker = await env.worker()
    first, second = await worker.claim()
    await worker.end(first, Outcome.DEAD, error=encode_error(ValueError("no such address"), 1, 0))
    await worker.end(second)
    await env.store.cancel([cancelled])
    await env.advance(3 * HOUR)
    again = "`windlass jobs replay` runs it again"
    for job, said in (
        (dead, f"dead 3 h ago: ValueError: no such address; {again}"),
        (cancelled, f"cancelled (cancelled) 3 h ago; {again}"),
        (done, "succeeded 3 h ago"),
    ):
        assert await about(env, job) == f"- job JOB (t), of queue default: {said}"
    assert await overview(env) == []


async def test_stuck_things_come_first(env: Env) -> None:
    await env.put(delay=400 * DAY)
    await env.put()
    assert [finding.stuck for finding in await examine(env.store, patience=0)] == [True, False]


async def test_a_page_of_ids_is_made_of_ids(env: Env) -> None:
    await env.put_all(env.jobs(5))
    [finding] = await examine(env.store, patience=0)
    assert [str(UUID(text)) for text in finding.examples] == finding.examples
