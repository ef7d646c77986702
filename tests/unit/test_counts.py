"""What a worker counts, and how it reaches whoever asks."""

import os
from typing import Any

import pytest
from prometheus_client.core import Metric

from windlass.core.clock import SECOND
from windlass.core.errors import StoreUnavailable
from windlass.core.ids import new_id
from windlass.core.lifecycle import Outcome
from windlass.core.model import ClaimedJob, Settled, Settlement
from windlass.engine.counted import MOST_TASKS, OTHERS, OUTCOMES, UNKNOWN, bounded
from windlass.engine.counts import Counts
from windlass.engine.tally import SIZE, Name, Reading, Tally, add, new_tally
from windlass.metrics.workers import WorkerCollector
from windlass.store.memory import MemoryStore

NOW = 1000 * SECOND


def job(task: str = "t", queue: str = "q", attempt: int = 1, waited: int = 0, token: int = 1) -> ClaimedJob:
    return ClaimedJob(new_id(), token, task, b"", None, queue, "", 5, attempt, 0, 0, NOW - waited, 0)


TASKS = {"t", "known", *(f"task{number}" for number in range(300))}


@pytest.fixture
def tally() -> Tally:
    return Tally()


@pytest.fixture
def counts(tally: Tally) -> Counts:
    return Counts(tally, TASKS, lambda: NOW)


def ran(counts: Counts, job: ClaimedJob, outcome: Outcome, seconds: float) -> None:
    counts.ended.append((job, outcome, seconds))
    counts.settled([], [])


def shown(tally: Tally) -> dict[str, float]:
    """Samples that are not 0, by name and labels, buckets only where something begins."""
    metrics: list[Metric] = list(WorkerCollector(tally).collect())
    return {
        "/".join((one.name, *one.labels.values())): one.value
        for metric in metrics
        for one in metric.samples
        if one.value
    }


def test_what_one_side_counts_the_other_reads() -> None:
    descriptor = new_tally()
    ours, theirs = Tally(descriptor), Tally(descriptor)
    os.close(descriptor)
    assert theirs.read() == {}
    row = ours.lend_row(("a", "tâche", ""), 3)
    other = ours.lend_row(("b",), 1)
    assert row is not None
    assert other is not None
    row[1] += 2.5
    other[0] = 7.0
    assert theirs.read() == {("a", "tâche", ""): [0.0, 2.5, 0.0], ("b",): [7.0]}
    row[1] += 1.0
    assert theirs.read()["a", "tâche", ""] == [0.0, 3.5, 0.0]
    theirs.close()


def test_a_full_tally_keeps_what_it_has_and_nobody_minds(tally: Tally) -> None:
    row = tally.lend_row(("a",), SIZE // 8 - 4)
    assert row is not None
    row[0] = 1.0
    assert tally.lend_row(("b",), 1) is None
    counts = Counts(tally, TASKS, lambda: NOW)
    counts.claimed([job()])
    ran(counts, job(), Outcome.SUCCEEDED, 0.1)
    counts.asked("claim", 0.1, failed=False)
    counts.close()
    assert list(tally.read()) == [("a",)]


def test_a_worker_goes_on_from_where_the_one_before_it_was(tally: Tally) -> None:
    workers = 2000
    for _ in range(workers):
        counts = Counts(tally, TASKS, lambda: NOW)
        counts.show(100, 3, 1 << 20)
        counts.claimed([job()])
        ran(counts, job(), Outcome.SUCCEEDED, 0.5)
        counts.asked("claim", 0.1, failed=True)
        counts.close()
        counts.asked("close", 0.1, failed=False)
    found = shown(tally)
    for name in ("attempts_total/t/q/succeeded", "wait_seconds_count/t/q", "store_errors_total/claim"):
        assert found[f"windlass_{name}"] == workers
    assert "windlass_process_slots" not in found, "of workers that are there"


def test_workers_at_the_same_time_are_added_up(tally: Tally, counts: Counts) -> None:
    other = Counts(tally, TASKS, lambda: NOW)
    for one, times in ((counts, 2), (other, 5)):
        one.show(10, 1, 1 << 20)
        for _ in range(times):
            ran(one, job(), Outcome.SUCCEEDED, 0.0)
            one.turned(0.1)
    assert shown(tally)["windlass_attempts_total/t/q/succeeded"] == 7
    assert shown(tally)["windlass_loop_lag_seconds_count"] == 7
    assert shown(tally)["windlass_process_slots"] == 20


def test_a_tally_in_use_stays(tally: Tally, counts: Counts) -> None:
    with pytest.raises(RuntimeError, match="stop it first"):
        tally.close()
    ran(counts, job(), Outcome.SUCCEEDED, 0.0)
    assert shown(tally)["windlass_attempts_total/t/q/succeeded"] == 1
    counts.close()
    tally.close()
    assert shown(tally) == {}


def test_rows_are_bounded_however_many_processes_there_were() -> None:
    total: Reading = {("lag",): [1.0]}
    named: dict[Name, None] = {}
    for process in range(5):
        add(total, {("task", f"{process}.{number}", "q"): [1.0] for number in range(MOST_TASKS)})
        add(total, {("task", OTHERS, OTHERS): [1.0]})
        total = bounded(total, named)
    assert len(total) == 1 + MOST_TASKS + 1
    assert total["task", OTHERS, OTHERS] == [5 + 4 * MOST_TASKS]
    assert total["task", "0.0", "q"] == [1.0]
    late_first = {("task", "late", "q"): [7.0], ("task", "0.0", "q"): [1.0]}
    assert bounded(late_first, named) == {("task", OTHERS, OTHERS): [7.0], ("task", "0.0", "q"): [1.0]}


def test_what_several_have_counted_is_added() -> None:
    total: Reading = {}
    first = {("a",): [1.0, 2.0]}
    add(total, first)
    add(total, {("a",): [10.0, 20.0], ("b",): [5.0]})
    assert total == {("a",): [11.0, 22.0], ("b",): [5.0]}
    assert first == {("a",): [1.0, 2.0]}, "what was given is not changed"


def test_the_outcomes_are_in_order() -> None:
    said = [outcome.name.lower().replace("retry", "failed") for outcome in Outcome]
    assert said == list(OUTCOMES)
    assert [outcome.value for outcome in Outcome] == list(range(1, len(OUTCOMES) + 1))


def test_attempts_and_waits(tally: Tally, counts: Counts) -> None:
    counts.claimed([job(waited=2 * SECOND), job(waited=SECOND // 2), job(attempt=2, token=2, waited=50 * SECOND)])
    counts.claimed([job(token=2, waited=70 * SECOND)])  # it was given back before it had begun
    ran(counts, job(), Outcome.SUCCEEDED, 0.02)
    ran(counts, job(), Outcome.RETRY, 0.3)
    ran(counts, job(queue="r"), Outcome.DEAD, 4000.0)
    found = shown(tally)
    assert found["windlass_attempts_total/t/q/succeeded"] == found["windlass_attempts_total/t/q/failed"] == 1
    assert found["windlass_attempts_total/t/r/dead"] == 1
    assert found["windlass_wait_seconds_sum/t/q"] == 2.5
    assert found["windlass_wait_seconds_bucket/t/q/1.0"] == 1
    assert found["windlass_wait_seconds_bucket/t/q/2.5"] == found["windlass_wait_seconds_count/t/q"] == 2
    assert "windlass_run_seconds_bucket/t/q/0.01" not in found
    assert found["windlass_run_seconds_bucket/t/q/0.025"] == 1
    assert found["windlass_run_seconds_bucket/t/q/0.25"] == 1
    assert found["windlass_run_seconds_bucket/t/q/+Inf"] == found["windlass_run_seconds_count/t/q"] == 2
    assert "windlass_run_seconds_bucket/t/r/1800.0" not in found
    assert found["windlass_run_seconds_bucket/t/r/+Inf"] == 1
    assert found["windlass_claimed_batch_jobs_sum"] == 4


def test_a_bound_belongs_to_its_bucket(tally: Tally, counts: Counts) -> None:
    ran(counts, job(), Outcome.SUCCEEDED, 0.025)
    assert shown(tally)["windlass_run_seconds_bucket/t/q/0.025"] == 1


def test_a_clock_that_is_behind_makes_no_wait_negative(tally: Tally, counts: Counts) -> None:
    counts.claimed([job(waited=-5 * SECOND)])
    found = shown(tally)
    assert found["windlass_wait_seconds_bucket/t/q/0.001"] == 1
    assert "windlass_wait_seconds_sum/t/q" not in found


def test_labels_are_bounded(tally: Tally, counts: Counts) -> None:
    for number in range(MOST_TASKS + 50):
        ran(counts, job(f"task{number}"), Outcome.SUCCEEDED, 0.0)
    for number in range(2 * MOST_TASKS):
        counts.claimed([job(f"from outside {number}")])
        counts.did_not_run(job(f"from outside {number}"), Outcome.UNDELIVERABLE)
    ran(counts, job("task0"), Outcome.SUCCEEDED, 0.0)
    found = {name: value for name, value in shown(tally).items() if name.startswith("windlass_attempts_total")}
    assert len(found) == MOST_TASKS + 2
    assert found[f"windlass_attempts_total/{OTHERS}/{OTHERS}/succeeded"] == 50
    assert found[f"windlass_attempts_total/{OTHERS}/{OTHERS}/undeliverable"] == 2 * MOST_TASKS
    assert found["windlass_attempts_total/task0/q/succeeded"] == 2
    assert not any("from outside" in name for name in found)


def test_a_task_that_nobody_knows_has_no_name_of_its_own(tally: Tally, counts: Counts) -> None:
    for task in ("x", "y"):
        counts.claimed([job(task)])
        counts.did_not_run(job(task), Outcome.UNDELIVERABLE)
    counts.did_not_run(job("known"), Outcome.DEAD)
    for number in range(MOST_TASKS - 2):
        ran(counts, job(f"task{number}"), Outcome.SUCCEEDED, 0.0)
    found = shown(tally)
    assert found[f"windlass_wait_seconds_count/{UNKNOWN}/q"] == 2
    assert found[f"windlass_attempts_total/task{MOST_TASKS - 3}/q/succeeded"] == 1, "they push nobody out"
    assert found[f"windlass_attempts_total/{UNKNOWN}/q/undeliverable"] == 2
    assert found["windlass_attempts_total/known/q/dead"] == 1
    assert not any(name.startswith(("windlass_run_seconds_count/k", "windlass_run_seconds_count/(")) for name in found)


def test_losses_and_batches(tally: Tally, counts: Counts) -> None:
    batch = [Settlement(new_id(), 1, Outcome.SUCCEEDED) for _ in range(3)]
    counts.settled(batch, [Settled.APPLIED, Settled.LOST, Settled.LOST])
    counts.lost()
    counts.revoked()
    counts.took_back(5)
    counts.turned(0.3)
    counts.show(100, 7, 1 << 20)
    found = shown(tally)
    assert found["windlass_lost_attempts_total"] == 3
    assert found["windlass_lost_leases_total"] == 1
    assert found["windlass_taken_back_jobs_total"] == 5
    assert found["windlass_settled_batch_jobs_sum"] == 3
    assert found["windlass_loop_lag_seconds_sum"] == 0.3
    assert (found["windlass_process_slots"], found["windlass_process_slots_used"]) == (100, 7)
    assert found["windlass_process_resident_memory_bytes"] == 1 << 20


async def test_calls_of_the_store_are_timed_and_those_of_its_twins(
    tally: Tally, counts: Counts, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = MemoryStore()
    store = counts.timed(plain)
    await store.connect()
    await store.now()
    await store.twin().now()

    async def away(*_: Any) -> None:
        raise StoreUnavailable("away")

    monkeypatch.setattr(plain, "counts", away)
    with pytest.raises(StoreUnavailable):
        await store.counts()
    assert store.settings is plain.settings
    found = shown(tally)
    assert found["windlass_store_seconds_count/now"] == 2
    assert found["windlass_store_seconds_count/counts"] == found["windlass_store_errors_total/counts"] == 1
    assert "windlass_store_seconds_count/connect" not in found
    await store.aclose()


def test_before_anything_was_counted_all_the_names_are_there() -> None:
    names = {metric.name for metric in WorkerCollector().collect()}
    assert {"windlass_attempts", "windlass_run_seconds", "windlass_store_seconds", "windlass_process_slots"} <= names
