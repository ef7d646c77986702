"""What is said of a store, and under which names. All of it is durable state: a restart of whoever reads it forgets
nothing."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import get_args

import msgspec
from prometheus_client.core import GaugeMetricFamily, Metric

from windlass.core.clock import MINUTE, SECOND, Instant
from windlass.core.lifecycle import State
from windlass.core.records import Backlog, QueueRecord, SessionRecord, SessionState
from windlass.core.schedules import DueSchedules
from windlass.doctor.evidence import serves
from windlass.engine.counted import OTHERS
from windlass.engine.minutes import Minute, read_minutes
from windlass.store.port import Store

MOST_QUEUES = 200
"""Queues that have figures of their own: those with the most unfinished jobs. The others are counted together."""
MOST_LANES = 100
MOST_DUE = 100


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """What a store said, at about one moment."""

    now: Instant
    """The store's clock."""
    counts: dict[tuple[str, int], int]
    queues: Sequence[QueueRecord]
    sessions: Sequence[SessionRecord]
    backlog: Backlog
    due: DueSchedules
    minute: Minute
    """What all workers did in the last whole minute."""
    seconds: float
    """How long it took to read."""


async def read(store: Store) -> Reading:
    """Read a store. Costs as `windlass queues` does, in proportion to what is unfinished. Raises `StoreError`."""
    began = time.monotonic()
    now = await store.now()
    last = now // MINUTE * MINUTE - MINUTE
    return Reading(
        counts=await store.counts(),
        queues=await store.queues(),
        sessions=await store.sessions(),
        backlog=await store.backlog(MOST_LANES),
        due=await store.due_schedules(MOST_DUE),
        now=now,
        minute=(await read_minutes(store, last)).get(last, Minute()),
        seconds=time.monotonic() - began,
    )


def families(reading: Reading | None) -> Iterator[Metric]:
    """The metrics; ``None``: the store could not be read."""
    yield GaugeMetricFamily("windlass_up", "Whether the store could be read.", 0 if reading is None else 1)
    if reading is None:
        return
    yield GaugeMetricFamily("windlass_read_seconds", "How long it took to read these figures.", reading.seconds)
    shown = _shown(reading.counts)
    yield _by_queue_and_state(reading.counts, shown)
    yield from _of_queues(reading, shown)
    yield from _of_workers(reading)
    yield from _of_schedules(reading)
    yield from _of_the_last_minute(reading.minute)


def _shown(counts: dict[tuple[str, int], int]) -> set[str]:
    unfinished: Counter[str] = Counter()
    for (queue, state), count in counts.items():
        unfinished[queue] += 0 if State(state).is_finished else count
    return {queue for queue, _ in unfinished.most_common(MOST_QUEUES)}


def _label(queue: str, shown: set[str]) -> str:
    return queue if queue in shown else OTHERS


def _by_queue_and_state(counts: dict[tuple[str, int], int], shown: set[str]) -> Metric:
    found = GaugeMetricFamily(
        "windlass_jobs", "Jobs that the store has; finished ones as long as they are kept.", labels=("queue", "state")
    )
    totals: Counter[tuple[str, str]] = Counter()
    for (queue, state), count in counts.items():
        totals[_label(queue, shown), State(state).word] += count
    for queue in sorted({name for name, _ in totals}):
        for state in State:
            found.add_metric((queue, state.word), totals[queue, state.word])
    return found


def _of_queues(reading: Reading, shown: set[str]) -> Iterator[Metric]:
    oldest = GaugeMetricFamily(
        "windlass_queue_oldest_ready_seconds",
        "Time since the oldest of the jobs that are ready was enqueued; 0: none is ready.",
        labels=("queue",),
    )
    paused = GaugeMetricFamily("windlass_queue_paused", "Whether a queue is paused.", labels=("queue",))
    suspects = GaugeMetricFamily(
        "windlass_queue_suspects", "Jobs that were lost twice, and wait to run alone.", labels=("queue",)
    )
    ages, is_paused, alone = Counter[str](), Counter[str](), Counter[str]()
    for queue in reading.queues:
        label = _label(queue.name, shown)
        age = 0 if queue.oldest_ready_at is None else max(0, reading.now - queue.oldest_ready_at)
        ages[label] = max(ages[label], age)
        is_paused[label] = max(is_paused[label], int(queue.limit is not None and queue.limit.paused))
        alone[label] += queue.suspects
    for label in sorted(ages):
        oldest.add_metric((label,), ages[label] / SECOND)
        paused.add_metric((label,), is_paused[label])
        suspects.add_metric((label,), alone[label])
    yield from (oldest, paused, suspects)
    unserved = GaugeMetricFamily(
        "windlass_unserved_jobs", "Ready jobs for which no live worker has what they need.", labels=("queue",)
    )
    waiting = Counter[str]()
    for lane in reading.backlog.lanes:
        label = _label(lane.queue, shown)
        is_served = any(serves(record, lane.queue, lane.requires) for record in _live(reading))
        waiting[label] += 0 if is_served else lane.ready
    for label in sorted({*ages, *waiting}):
        unserved.add_metric((label,), waiting[label])
    yield unserved


def _live(reading: Reading) -> Iterable[SessionRecord]:
    return (record for record in reading.sessions if record.state_at(reading.now) == "live")


def _of_workers(reading: Reading) -> Iterator[Metric]:
    workers = GaugeMetricFamily("windlass_workers", "Worker processes that the store knows.", labels=("state",))
    states = Counter(record.state_at(reading.now) for record in reading.sessions)
    for state in get_args(SessionState):
        workers.add_metric((state,), states[state])
    yield workers
    live = list(_live(reading))
    slots = sum(record.session.slots for record in live)
    yield GaugeMetricFamily("windlass_worker_slots", "Slots of live workers.", slots)
    used = sum(record.running for record in live)
    yield GaugeMetricFamily("windlass_worker_slots_used", "Jobs that live workers run or hold.", used)
    lost = sum(record.running for record in reading.sessions if record.state_at(reading.now) in ("silent", "revoked"))
    yield GaugeMetricFamily("windlass_lost_jobs", "Jobs whose worker is silent, and that nobody took back yet.", lost)


def _of_schedules(reading: Reading) -> Iterator[Metric]:
    late = [reading.due.now - one.next for one in reading.due.schedules if one.next is not None]
    yield GaugeMetricFamily(
        "windlass_schedules_due", f"Schedules that are due and have not fired; {MOST_DUE} at most.", len(late)
    )
    lateness = max([0, *late]) / SECOND
    yield GaugeMetricFamily(
        "windlass_schedule_lateness_seconds", "How long the schedule has been due that is latest.", lateness
    )


def _of_the_last_minute(minute: Minute) -> Iterator[Metric]:
    ended = GaugeMetricFamily(
        "windlass_last_minute_attempts",
        "Attempts that ended in the last whole minute, all workers together; failed ones are tried again.",
        labels=("outcome",),
    )
    for outcome in ("succeeded", "failed", "dead", "cancelled"):
        ended.add_metric((outcome,), getattr(minute, outcome))
    yield ended
    waits = GaugeMetricFamily(
        "windlass_last_minute_wait_seconds",
        "From enqueued to started, of first attempts that started in the last whole minute; delays are part of it.",
        labels=("of",),
    )
    waits.add_metric(("mean",), minute.wait / minute.started if minute.started else 0)
    waits.add_metric(("longest",), minute.longest_wait)
    yield waits
