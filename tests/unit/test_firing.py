"""Which jobs a schedule enqueues when it is due, late or not, and where it goes from there."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
import pytest

from windlass.core.clock import DAY, HOUR, MINUTE, SECOND, Instant, instant
from windlass.core.definition import Definition, Policies, decode, encode
from windlass.core.errors import InvalidOption
from windlass.core.firing import LOOK, plan_firing
from windlass.core.graph import EdgePolicy
from windlass.core.model import Parent, Unique, UniqueUntil
from windlass.core.options import decode_options
from windlass.core.retry import Retry
from windlass.core.schedules import MAX_FIRED, Firing, ScheduleRecord
from windlass.core.task import JobOptions
from windlass.core.triggers import At, Every, Within

NOON: Instant = instant(datetime(2026, 1, 31, 12, tzinfo=UTC), "noon")
EVERY_MINUTE = Every(minutes=1)


def definition(trigger: Any = EVERY_MINUTE, **policies: Any) -> Definition:
    return Definition(trigger=trigger, task="t", payload=msgspec.Raw(b'{"n":1}'), policies=Policies(**policies))


def record(at: Instant = NOON, fired: int = 0) -> ScheduleRecord:
    return ScheduleRecord(name="s", version=3, definition=b"", paused=False, next=at, fired=fired)


def plan(late: int = 0, trigger: Any = EVERY_MINUTE, fired: int = 0, **policies: Any) -> Firing:
    return plan_firing(record(fired=fired), definition(trigger, **policies), NOON + late)


def fire_times(firing: Firing) -> list[int]:
    """Of its jobs, in minutes from noon."""
    found = [decode_options(job.options).fire_time for job in firing.jobs]
    return [(at - NOON) // MINUTE for at in found if at is not None]


def test_in_time() -> None:
    firing = plan()
    assert (firing.name, firing.version, firing.due, firing.last) == ("s", 3, NOON, NOON)
    assert (firing.next, firing.skipped) == (NOON + MINUTE, 0)
    (job,) = firing.jobs
    assert (job.task, job.payload, job.at, job.unique, job.parents) == ("t", b'{"n":1}', None, None, ())
    assert decode_options(job.options) == JobOptions(schedule="s", fire_time=NOON)


def test_the_job_of_a_fire_time_is_always_the_same() -> None:
    job = plan().jobs[0]
    assert plan(5 * SECOND).jobs == (job,)
    found = UUID(bytes=job.id)
    assert (found.version, found.variant) == (7, "specified in RFC 4122")
    assert int.from_bytes(job.id[:6], "big") == NOON // 1000
    one = definition()
    others = [
        one.new_job("s", NOON + 1),
        one.new_job("s2", NOON),
        one.new_job("s", NOON, space="backfill"),
        one.new_job("s\0backfill", NOON),
    ]
    assert len({job.id, *(other.id for other in others)}) == 5


def test_late_by_many_the_latest_has_a_job() -> None:
    firing = plan(5 * MINUTE + SECOND)
    assert fire_times(firing) == [5]
    assert (firing.last, firing.next, firing.skipped) == (NOON + 5 * MINUTE, NOON + 6 * MINUTE, 5)


def test_late_by_many_one_has_a_job_and_that_is_the_first() -> None:
    firing = plan(5 * MINUTE, coalesce="one")
    assert fire_times(firing) == [0]
    assert (firing.last, firing.next, firing.skipped) == (NOON + 5 * MINUTE, NOON + 6 * MINUTE, 5)


def test_late_by_many_all_have_jobs() -> None:
    firing = plan(3 * MINUTE, coalesce="all")
    assert fire_times(firing) == [0, 1, 2, 3]
    assert (firing.last, firing.next, firing.skipped) == (NOON + 3 * MINUTE, NOON + 4 * MINUTE, 0)


def test_catching_up_goes_in_steps() -> None:
    found, at, steps = [], NOON, 0
    now = NOON + (3 * MAX_FIRED // 2) * MINUTE
    one = definition(coalesce="all", catch_up=1000)
    while at <= now:
        firing = plan_firing(record(at), one, now)
        assert len(firing.jobs) <= MAX_FIRED
        assert firing.next is not None
        found += fire_times(firing)
        at, steps = firing.next, steps + 1
    assert found == list(range(3 * MAX_FIRED // 2 + 1))
    assert steps == 2


def test_catching_up_is_bounded_to_the_latest() -> None:
    firing = plan(50 * MINUTE, coalesce="all", catch_up=3)
    assert (fire_times(firing), firing.skipped) == ([48, 49, 50], 48)


@pytest.mark.parametrize("coalesce", ["latest", "one", "all"])
def test_years_late_costs_little(coalesce: str) -> None:
    late = 3 * 365 * DAY
    firing = plan(late, Every(seconds=1), coalesce=coalesce, catch_up=10)
    assert (firing.last, firing.next) == (NOON + late, NOON + late + SECOND)
    expected = {"latest": [late], "one": [0], "all": [late - n * SECOND for n in reversed(range(10))]}[coalesce]
    assert [at * MINUTE for at in fire_times(firing)] == [at // MINUTE * MINUTE for at in expected]
    assert firing.skipped >= LOOK


def test_years_late_by_bursts() -> None:
    rare = Within(Every(days=400, anchor=datetime(2020, 1, 1, tzinfo=UTC)))
    firing = plan_firing(record(NOON), definition(rare), NOON + 4000 * DAY)
    assert firing.last <= NOON + 4000 * DAY < (firing.next or 0)


def test_too_late_is_a_misfire() -> None:
    assert len(plan(30 * SECOND, misfire_grace=30 * SECOND).jobs) == 1
    firing = plan(30 * SECOND + 1, misfire_grace=30 * SECOND)
    assert (firing.jobs, firing.skipped, firing.next) == ((), 1, NOON + MINUTE)
    firing = plan(5 * MINUTE, coalesce="all", misfire_grace=2 * MINUTE)
    assert (fire_times(firing), firing.skipped) == ([3, 4, 5], 3)


def test_too_late_for_the_first_is_in_time_for_another() -> None:
    firing = plan(7 * MINUTE + SECOND, coalesce="one", misfire_grace=3 * MINUTE)
    assert (fire_times(firing), firing.skipped, firing.next) == ([5], 7, NOON + 8 * MINUTE)
    assert fire_times(plan(30 * MINUTE, coalesce="one", misfire_grace=0)) == [30]
    firing = plan(30 * MINUTE + SECOND, coalesce="one", misfire_grace=0)
    assert (fire_times(firing), firing.skipped) == ([], 31)


def test_the_trigger_ends() -> None:
    firing = plan(trigger=At(datetime(2026, 1, 31, 12, tzinfo=UTC)))
    assert (len(firing.jobs), firing.next) == (1, None)


def test_after_so_many_jobs_it_ends() -> None:
    assert plan(max_jobs=2).next is not None
    assert plan(max_jobs=2, fired=1).next is None
    assert len(plan(max_jobs=2, fired=1).jobs) == 1
    firing = plan(5 * MINUTE, max_jobs=4, fired=1, coalesce="all")
    assert (fire_times(firing), firing.next) == ([0, 1, 2], None)


def test_jobs_that_may_be_refused_do_not_end_it_early() -> None:
    firing = plan(max_jobs=2, fired=1, overlap="skip")
    assert (len(firing.jobs), firing.next) == (1, NOON + MINUTE)
    firing = plan(max_jobs=2, fired=2, overlap="skip")
    assert (len(firing.jobs), firing.next) == (0, None)


def test_jitter_is_part_of_a_span_and_always_the_same_part() -> None:
    dues = [definition(jitter=HOUR).new_job("s", NOON + n * MINUTE).at for n in range(200)]
    parts = [at - NOON - n * MINUTE for n, at in enumerate(dues) if at is not None]
    assert len(parts) == 200
    assert all(0 <= part < HOUR for part in parts)
    assert min(parts) < HOUR // 10 < HOUR * 9 // 10 < max(parts)
    assert dues[0] == plan(5, jitter=HOUR).jobs[0].at


def test_overlap() -> None:
    assert plan(overlap="skip").jobs[0].unique == Unique("schedule:s", UniqueUntil.FINISHED)
    queued = plan_firing(record(), definition(overlap="queue"), NOON, behind=b"p" * 16).jobs[0]
    assert queued.unique == Unique("schedule:s", UniqueUntil.STARTED)
    assert queued.parents == (Parent(b"p" * 16, EdgePolicy.DONE),)
    assert fire_times(plan(3 * MINUTE, overlap="cancel", coalesce="all")) == [3]


def test_what_a_definition_says_of_its_jobs() -> None:
    one = msgspec.structs.replace(
        definition(),
        queue="q",
        requires="gpu=1",
        priority=9,
        options=JobOptions(retry=Retry(attempts=2), headers={"a": "b"}),
        expires_in=HOUR,
        unique=Unique("k"),
        limit_key="customer:1",
    )
    job = decode(encode(one)).new_job("s", NOON)
    assert job == one.new_job("s", NOON)
    assert (job.queue, job.requires, job.priority, job.expires_in) == ("q", "gpu=1", 9, HOUR)
    assert (job.unique, job.limit_key) == (Unique("k"), "customer:1")
    assert decode_options(job.options).retry == Retry(attempts=2)
    assert decode_options(job.options).headers == {"a": "b"}


@pytest.mark.parametrize(
    "wrong", [{"catch_up": 0}, {"catch_up": 1001}, {"max_jobs": 0}, {"jitter": -1}, {"misfire_grace": -1}]
)
def test_policies_that_cannot_be(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidOption):
        Policies(**wrong)


@pytest.mark.parametrize(
    "stored", [b"", b"{}", b"[]", b'{"trigger":{"kind":"Cron","expression":"x"},"task":"t","payload":{}}']
)
def test_a_definition_that_is_not_understood(stored: bytes) -> None:
    with pytest.raises(InvalidOption, match="not understood"):
        decode(stored)
