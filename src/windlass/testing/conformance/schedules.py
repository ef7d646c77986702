"""Schedules: records that step from one fire time to the next, each once."""

from __future__ import annotations

from typing import Any

import msgspec

from windlass.core.clock import HOUR, MINUTE, SECOND, Instant
from windlass.core.errors import UsageError
from windlass.core.lifecycle import Outcome, State
from windlass.core.model import STORED, EnqueueAnswer, Enqueued, NewJob, Parent, Unique
from windlass.core.schedules import (
    KEEP_DELETED,
    MAX_FIRED,
    FireAnswer,
    FireStatus,
    Firing,
    NewSchedule,
    PutAnswer,
    PutStatus,
    ScheduleRecord,
)
from windlass.testing.conformance.env import Env
from windlass.testing.conformance.expect import holds, raises, same

PUT = PutAnswer(PutStatus.STORED)
CHANGED = PutAnswer(PutStatus.CHANGED)
STALE = FireAnswer(FireStatus.STALE)


def _new(name: str = "s", *, next: Instant | None, version: int = 0, **fields: Any) -> NewSchedule:
    return NewSchedule(name=name, definition=fields.pop("definition", b"{}"), version=version, next=next, **fields)


async def _put(env: Env, name: str = "s", after: int = MINUTE, **fields: Any) -> ScheduleRecord:
    """Make a schedule that is due after so long."""
    same(await env.store.put_schedules([_new(name, next=await env.now() + after, **fields)]), [PUT], "a new schedule")
    return await _read(env, name)


async def _read(env: Env, name: str = "s") -> ScheduleRecord:
    record = (await env.store.get_schedules([name]))[0]
    if record is None:
        raise AssertionError(f"the store does not know schedule {name!r}")
    return record


def _firing(record: ScheduleRecord, *jobs: NewJob, **fields: Any) -> Firing:
    """The step from its next fire time to an hour later."""
    assert record.next is not None
    firing = Firing(
        name=record.name,
        version=record.version,
        due=record.next,
        last=record.next,
        next=record.next + HOUR,
        jobs=tuple(jobs),
    )
    return msgspec.structs.replace(firing, **fields)


async def _fire(env: Env, firing: Firing) -> FireAnswer:
    return (await env.store.fire([firing]))[0]


async def _fired(env: Env, firing: Firing) -> tuple[EnqueueAnswer, ...]:
    answer = await _fire(env, firing)
    same(answer.status, FireStatus.FIRED, "a firing that nothing speaks against")
    return answer.jobs


# --------------------------------------------------------------------------------------------------- records


async def check_what_is_put_is_read(env: Env) -> None:
    now = await env.now()
    definition = b'{"trigger": "\xc3\xa9"}'
    same(await env.store.put_schedules([_new("nightly", next=now + MINUTE, definition=definition)]), [PUT], "put")
    expected = ScheduleRecord(
        name="nightly", version=1, definition=definition, paused=False, next=now + MINUTE, changed_at=now
    )
    same(await env.store.get_schedules(["no", "nightly"]), [None, expected], "read")
    same((await env.store.list_schedules()).schedules, [expected], "listed")


async def check_a_change_names_the_version_that_it_changes(env: Env) -> None:
    record = await _put(env)
    for version in (0, 2, 7):
        other = _new(next=record.next, version=version, definition=b"[]")
        same(await env.store.put_schedules([other]), [CHANGED], f"a change of version {version}, it being 1")
    same(await _read(env), record, "after changes that were refused")
    await env.advance(SECOND)
    later = await env.now() + HOUR
    same(await env.store.put_schedules([_new(next=later, version=1, definition=b"[]")]), [PUT], "a change of version 1")
    expected = msgspec.structs.replace(
        record, version=2, definition=b"[]", next=later, changed_at=record.changed_at + SECOND
    )
    same(await _read(env), expected, "changed")


async def check_a_change_of_what_is_not_there(env: Env) -> None:
    same(await env.store.put_schedules([_new(next=None, version=1)]), [CHANGED], "a change of none")
    same(await env.store.get_schedules(["s"]), [None], "read")


async def check_a_repeated_put_changes_nothing(env: Env) -> None:
    new = _new(next=await env.now() + MINUTE)
    await env.store.put_schedules([new])
    record = await _read(env)
    await env.advance(SECOND)
    same(await env.store.put_schedules([new]), [PUT], "put again")
    same(await _read(env), record, "after the second put")
    change = _new(next=await env.now() + HOUR, version=1, definition=b"[]")
    await env.store.put_schedules([change])
    await env.advance(SECOND)
    record = await _read(env)
    same(await env.store.put_schedules([change]), [PUT], "changed again")
    same(await _read(env), record, "after the second change")
    same(await env.store.put_schedules([new]), [CHANGED], "the first put, after the change")


async def check_each_record_of_a_put_is_judged_alone(env: Env) -> None:
    await _put(env, "b")
    at = await env.now() + MINUTE
    answers = await env.store.put_schedules(
        [_new("a", next=at), _new("b", next=at, definition=b"[]"), _new("c", next=None, paused=True)]
    )
    same(answers, [PUT, CHANGED, PUT], "answers")
    same([record.name for record in (await env.store.list_schedules()).schedules], ["a", "b", "c"], "stored")


async def check_the_same_name_twice_is_refused(env: Env) -> None:
    twice = [_new(next=None), _new(next=None)]
    await raises(UsageError, env.store.put_schedules(twice), "two of one name")
    record = await _put(env)
    await raises(UsageError, env.store.fire([_firing(record), _firing(record)]), "two firings of one name")


async def check_lists_go_by_name_in_pages(env: Env) -> None:
    names = ["", "a", "a b", "b/c", "é", "\uffff", "\U0001f600"]
    for name in reversed(names[1:]):
        await _put(env, name)
    found: list[str] = []
    cursor = None
    for _ in range(4):
        page = await env.store.list_schedules(limit=2, cursor=cursor)
        found += [record.name for record in page.schedules]
        cursor = page.cursor
        if cursor is None:
            break
    same(found, names[1:], "names, page by page")
    same(cursor, None, "the cursor of the last page")
    await raises(UsageError, env.store.list_schedules(limit=0), "a page of none")


# ------------------------------------------------------------------------------------------------------- due


async def check_due_from_the_instant_on(env: Env) -> None:
    record = await _put(env, after=MINUTE)
    await env.advance(MINUTE - 1)
    due = await env.store.due_schedules()
    same((due.schedules, due.next_at), ([], record.next), "due in a microsecond")
    same(due.now, await env.now(), "the store's clock")
    await env.advance(1)
    due = await env.store.due_schedules()
    same((due.schedules, due.next_at), ([record], None), "due now")
    same((await env.store.due_schedules()).schedules, [record], "due, asked again")


async def check_the_earliest_first_and_bounded(env: Env) -> None:
    for name, after in (("c", 3), ("a", 1), ("d", 4), ("b", 2), ("later", 60)):
        await _put(env, name, after * SECOND)
    await env.advance(10 * SECOND)
    due = await env.store.due_schedules(3)
    same([record.name for record in due.schedules], ["a", "b", "c"], "the first three")
    same(due.next_at, (await _read(env, "d")).next, "when the next is due, though that is past")
    due = await env.store.due_schedules(4)
    same([record.name for record in due.schedules], ["a", "b", "c", "d"], "all four")
    same(due.next_at, (await _read(env, "later")).next, "when the next is due")
    await raises(UsageError, env.store.due_schedules(0), "none asked for")


async def check_paused_and_ended_schedules_are_never_due(env: Env) -> None:
    at = await env.now() + SECOND
    await env.store.put_schedules([_new("paused", next=at, paused=True), _new("ended", next=None)])
    await env.advance(MINUTE)
    due = await env.store.due_schedules()
    same((due.schedules, due.next_at), ([], None), "due")


async def check_pausing_and_going_on(env: Env) -> None:
    record = await _put(env, after=SECOND)
    same(await env.store.put_schedules([_new(next=None, version=1, paused=True)]), [PUT], "pause")
    await env.advance(MINUTE)
    same(await _fire(env, _firing(record)), STALE, "a firing read before the pause")
    same((await env.store.due_schedules()).schedules, [], "due while paused")
    at = await env.now() + SECOND
    same(await env.store.put_schedules([_new(next=at, version=2)]), [PUT], "go on")
    same((await env.store.due_schedules()).next_at, at, "due next")
    same((await _read(env)).version, 3, "version")


# ------------------------------------------------------------------------------------------------------ fire


async def check_firing_stores_the_jobs_and_steps_on(env: Env) -> None:
    record = await _put(env)
    await env.advance(MINUTE)
    jobs = env.jobs(2, queue="reports", priority=7)
    firing = _firing(record, *jobs, last=await env.now(), next=await env.now() + HOUR, skipped=3)
    same(await _fired(env, firing), (STORED, STORED), "answers for the jobs")
    expected = msgspec.structs.replace(
        record, next=firing.next, last=firing.last, fired=2, skipped=3, last_job=jobs[-1].id
    )
    same(await _read(env), expected, "the schedule")
    same(await env.states([job.id for job in jobs]), [State.READY] * 2, "states")
    job = await env.read(jobs[0].id)
    same((job.queue, job.priority, job.enqueued_at), ("reports", 7, await env.now()), "the job")
    due = await env.store.due_schedules()
    same((due.schedules, due.next_at), ([], firing.next), "due afterwards")


async def check_fired_jobs_are_claimed_in_order(env: Env) -> None:
    record = await _put(env)
    await env.advance(MINUTE)
    first, second = await env.put(), env.job()
    await _fired(env, _firing(record, second))
    third = await env.put()
    same(await env.claim_ids(), [first, second.id, third], "order")


async def check_of_two_that_fire_one_does(env: Env) -> None:
    record = await _put(env)
    await env.advance(MINUTE)
    mine, theirs = env.job(), env.job()
    await _fired(env, _firing(record, mine))
    same(await _fire(env, _firing(record, theirs)), STALE, "the second")
    same((await env.store.get_jobs([theirs.id])), [None], "its job")
    same(await _fire(env, _firing(record, mine)), STALE, "the first, repeated")
    same((await _read(env)).fired, 1, "jobs")


async def check_firing_needs_version_and_fire_time(env: Env) -> None:
    record = await _put(env)
    assert record.next is not None
    await env.advance(MINUTE)
    at = record.next
    for what, wrong in (
        ("a version that was", {"version": 0}),
        ("a version to come", {"version": 2}),
        ("an earlier fire time", {"due": at - 1}),
        ("another name", {"name": "other"}),
    ):
        same(await _fire(env, _firing(record, env.job(), **wrong)), STALE, what)
    later = _firing(record, env.job(), due=at + 1, last=at + 1)
    same(await _fire(env, later), STALE, "a later fire time")
    same(await _read(env), record, "the schedule")
    same(await env.store.counts(), {}, "jobs")


async def check_nothing_fires_before_it_is_due(env: Env) -> None:
    """Whatever the caller's clock says."""
    record = await _put(env)
    await env.advance(MINUTE - 1)
    same(await _fire(env, _firing(record, env.job())), STALE, "a microsecond early")
    await env.advance(1)
    await _fired(env, _firing(record, env.job()))


async def check_a_fire_time_without_a_job(env: Env) -> None:
    record = await _put(env)
    await env.advance(MINUTE)
    same(await _fired(env, _firing(record, skipped=1)), (), "answers for no jobs")
    expected = msgspec.structs.replace(record, next=record.next and record.next + HOUR, last=record.next, skipped=1)
    same(await _read(env), expected, "the schedule")


async def check_the_last_fire_time_ends_it(env: Env) -> None:
    record = await _put(env)
    await env.advance(MINUTE)
    await _fired(env, _firing(record, env.job(), next=None))
    due = await env.store.due_schedules()
    same((due.schedules, due.next_at), ([], None), "due")
    same((await _read(env)).next, None, "next")


async def check_what_a_unique_key_keeps_out_counts_as_skipped(env: Env) -> None:
    holder = await env.put(unique=Unique("k"))
    record = await _put(env)
    await env.advance(MINUTE)
    kept_out = env.job(unique=Unique("k"))
    stored = env.job()
    answers = await _fired(env, _firing(record, stored, kept_out))
    same(answers, (STORED, EnqueueAnswer(Enqueued.DUPLICATE, holder)), "answers")
    after = await _read(env)
    same((after.fired, after.skipped, after.last_job), (1, 1, stored.id), "fired, skipped, last job")
    holds(after.next != record.next, "the schedule stepped on")


async def check_what_has_an_unknown_parent_counts_as_skipped(env: Env) -> None:
    record = await _put(env)
    await env.advance(MINUTE)
    answers = await _fired(env, _firing(record, env.job(parents=[Parent(env.id())])))
    same(answers, (EnqueueAnswer(Enqueued.UNKNOWN_PARENT),), "answers")
    after = await _read(env)
    same((after.fired, after.skipped, after.last_job), (0, 1, None), "fired, skipped, last job")


async def check_fired_jobs_wait_for_parents_and_due_times(env: Env) -> None:
    parent = await env.put(queue="elsewhere")
    record = await _put(env)
    await env.advance(MINUTE)
    waiting, later = env.job(parents=[parent]), env.job(at=await env.now() + SECOND)
    await _fired(env, _firing(record, waiting, later))
    same(await env.states([waiting.id, later.id]), [State.WAITING, State.SCHEDULED], "states")


async def check_a_job_that_is_stored_already_is_not_stored_twice(env: Env) -> None:
    job = env.job()
    await env.enqueue([job])
    worker = await env.worker()
    await worker.end(await worker.claim_one(), Outcome.SUCCEEDED)
    record = await _put(env)
    await env.advance(MINUTE)
    same(await _fired(env, _firing(record, job)), (STORED,), "answers")
    await env.expect(job.id, State.SUCCEEDED, "a job that had run already")


async def check_each_firing_is_judged_alone(env: Env) -> None:
    records = [await _put(env, name) for name in ("a", "b", "c")]
    await env.advance(MINUTE)
    await _fired(env, _firing(records[1]))
    jobs = env.jobs(3)
    answers = await env.store.fire([_firing(record, job) for record, job in zip(records, jobs, strict=True)])
    statuses = [FireStatus.FIRED, FireStatus.STALE, FireStatus.FIRED]
    same([answer.status for answer in answers], statuses, "answers")
    found = [record is not None for record in await env.store.get_jobs([job.id for job in jobs])]
    same(found, [True, False, True], "jobs that are stored")


async def check_firings_that_cannot_be(env: Env) -> None:
    record = await _put(env)
    assert record.next is not None
    at = record.next
    await env.advance(MINUTE)
    await raises(UsageError, _fire(env, _firing(record, last=at - 1)), "last before due")
    await raises(UsageError, _fire(env, _firing(record, next=at)), "next not after last")
    await raises(UsageError, _fire(env, _firing(record, *env.jobs(MAX_FIRED + 1))), "too many jobs")
    same(await _read(env), record, "the schedule")


async def check_as_many_jobs_as_allowed(env: Env) -> None:
    record = await _put(env)
    await env.advance(MINUTE)
    jobs = env.jobs(MAX_FIRED)
    same(await _fired(env, _firing(record, *jobs)), (STORED,) * MAX_FIRED, "answers")
    same((await _read(env)).last_job, jobs[-1].id, "last job")


async def check_a_change_after_firing_keeps_the_counts(env: Env) -> None:
    record = await _put(env)
    await env.advance(MINUTE)
    job = env.job()
    await _fired(env, _firing(record, job, skipped=2))
    fired = await _read(env)
    at = await env.now() + MINUTE
    same(await env.store.put_schedules([_new(next=at, version=1, definition=b"[]")]), [PUT], "a change")
    expected = msgspec.structs.replace(fired, version=2, definition=b"[]", next=at, changed_at=await env.now())
    same(await _read(env), expected, "changed")


async def check_nothing_is_put_at_or_before_the_last_fire_time(env: Env) -> None:
    record = await _put(env)
    last = await env.now() + MINUTE
    await env.advance(MINUTE)
    await _fired(env, _firing(record, env.job()))
    fired = await _read(env)
    for at in (last, last - 1, 0):
        refused = _new(next=at, version=1, definition=b"[]")
        same(await env.store.put_schedules([refused]), [PutAnswer(PutStatus.FIRED, last)], "a fire time that was")
    same(await _read(env), fired, "after changes that were refused")
    allowed = _new(next=last + 1, version=1, definition=b"[]")
    same(await env.store.put_schedules([allowed]), [PUT], "a later one")


# ---------------------------------------------------------------------------------------------------- delete


async def check_deleted_schedules_are_gone(env: Env) -> None:
    record = await _put(env)
    await _put(env, "other")
    job_id = await env.put()
    same(await env.store.delete_schedules(["s", "none"]), 1, "deleted")
    same(await env.store.delete_schedules(["s"]), 0, "deleted again")
    same(await env.store.get_schedules(["s"]), [None], "read")
    same([one.name for one in (await env.store.list_schedules()).schedules], ["other"], "listed")
    await env.advance(MINUTE)
    same([one.name for one in (await env.store.due_schedules()).schedules], ["other"], "due")
    same(await _fire(env, _firing(record, env.job())), STALE, "a firing read before")
    same(await env.store.put_schedules([_new(next=None, version=1)]), [CHANGED], "a change of it")
    await env.expect(job_id, State.READY, "a job")


async def check_made_again_it_goes_on_from_its_version_and_its_last_fire_time(env: Env) -> None:
    record = await _put(env)
    await env.advance(MINUTE)
    await _fired(env, _firing(record, env.job(), skipped=1))
    last = await env.now()
    await env.store.delete_schedules(["s"])
    same(await env.store.put_schedules([_new(next=last)]), [PutAnswer(PutStatus.FIRED, last)], "a fire time that was")
    same(await env.store.get_schedules(["s"]), [None], "read")
    again = await _put(env)
    same((again.version, again.last), (2, last), "version and last fire time")
    same((again.fired, again.skipped, again.last_job), (0, 0, None), "counts")
    await env.advance(MINUTE)
    same(await _fire(env, _firing(again, env.job(), version=1)), STALE, "a firing of the version before")
    await _fired(env, _firing(again, env.job()))


async def check_what_is_left_of_it_is_purged(env: Env) -> None:
    record = await _put(env)
    await env.advance(MINUTE)
    await _fired(env, _firing(record))
    last = await env.now()
    await env.store.delete_schedules(["s"])
    await env.advance(KEEP_DELETED - 1)
    await env.store.purge()
    same((await env.store.put_schedules([_new(next=last)]))[0].status, PutStatus.FIRED, "before the purge")
    await env.advance(1)
    await env.store.purge()
    again = await _put(env)
    same((again.version, again.last), (1, None), "version and last fire time")


async def check_the_purge_of_schedules_is_bounded(env: Env) -> None:
    names = [f"s{number}" for number in range(5)]
    for name in names:
        await _put(env, name)
    await env.store.delete_schedules(names)
    await env.advance(KEEP_DELETED)
    same([(await env.store.purge(2)).more for _ in range(3)], [True, True, False], "more")


# ----------------------------------------------------------------------------------------------------- times


async def check_many_schedules_are_due_in_turn(env: Env) -> None:
    now = await env.now()
    names = [f"s{number:03}" for number in range(250)]
    puts = [_new(name, next=now + SECOND + index % 10) for index, name in enumerate(names)]
    same(await env.store.put_schedules(puts), [PUT] * 250, "put")
    await env.advance(MINUTE)
    seen: list[str] = []
    while due := (await env.store.due_schedules(100)).schedules:
        answers = await env.store.fire([_firing(record, env.job()) for record in due])
        same({answer.status for answer in answers}, {FireStatus.FIRED}, "answers")
        seen += [record.name for record in due]
    same(sorted(seen), names, "fired")
    same((await env.store.counts()), {("default", int(State.READY)): 250}, "jobs")
