"""The buffer rule, and the order in which queues are asked."""

from collections import Counter

from msgspec.structs import replace

from windlass.core.model import MAX_BATCH, MAX_LANES, ClaimedJob
from windlass.core.requirements import PROCESS
from windlass.engine.lanes import PENALTY, LanePlan, WorkerLanes


def run_many(plan: LanePlan, queue: str, seconds: float, times: int = 40) -> None:
    for _ in range(times):
        plan.ran(queue, seconds)


def test_nothing_is_claimed_ahead_before_enough_runs_are_known() -> None:
    plan = LanePlan({"q": 1}, strict=False, slots=10)
    run_many(plan, "q", 0.001, times=7)
    assert plan.ahead("q", 0.0) == 0
    plan.ran("q", 0.001)
    assert plan.ahead("q", 0.0) > 0


def test_a_slow_median_forbids_claiming_ahead() -> None:
    plan = LanePlan({"q": 1}, strict=False, slots=10)
    run_many(plan, "q", 0.06)
    assert plan.ahead("q", 0.0) == 0
    run_many(plan, "q", 0.001, times=17)
    assert plan.ahead("q", 0.0) > 0, "more than half of the last 32 are fast now"


def test_one_very_slow_run_does_not_make_a_fast_lane_slow() -> None:
    plan = LanePlan({"q": 1}, strict=False, slots=10)
    run_many(plan, "q", 0.001)
    plan.ran("q", 1000.0)
    run_many(plan, "q", 0.001, times=10)
    assert plan._histories["q"].is_fast(0.0)


def test_giving_back_a_buffer_forbids_claiming_ahead_for_a_while() -> None:
    plan = LanePlan({"q": 1}, strict=False, slots=10)
    run_many(plan, "q", 0.001)
    plan.gave_back("q", 100.0)
    assert plan.ahead("q", 100.0 + PENALTY - 1) == 0
    assert plan.ahead("q", 100.0 + PENALTY + 1) > 0


def test_slow_lanes_fill_slots_and_fast_lanes_the_buffer_too() -> None:
    plan = LanePlan({"fast": 1, "slow": 1}, strict=True, slots=10)
    run_many(plan, "fast", 0.0001)
    run_many(plan, "slow", 1.0)
    lanes = {lane.queue: lane.until for lane in plan.request(4, 0.0)}
    assert lanes["slow"] == 6
    assert lanes["fast"] == 6 + plan.ahead("fast", 0.0) > 6
    assert "slow" not in {lane.queue for lane in plan.request(10, 0.0)}, "no free slot, nothing from the slow lane"


def test_no_request_is_larger_than_a_batch() -> None:
    plan = LanePlan({"q": 1}, strict=False, slots=1000)
    run_many(plan, "q", 0.0)
    assert plan.request(0, 0.0)[0].until == MAX_BATCH
    assert plan.request(2000, 0.0) == ()


def test_queues_come_first_in_proportion_to_their_weights() -> None:
    plan = LanePlan({"a": 5, "b": 2, "c": 1}, strict=False, slots=1)
    first = Counter(plan.request(0, 0.0)[0].queue for _ in range(80))
    assert first == {"a": 50, "b": 20, "c": 10}
    assert all(len(plan.request(0, 0.0)) == 3 for _ in range(8)), "every queue is asked every time"


def test_strict_order_never_rotates() -> None:
    plan = LanePlan({"a": 1, "b": 9}, strict=True, slots=1)
    assert {plan.request(0, 0.0)[0].queue for _ in range(20)} == {"a"}


def lanes_of(plan: WorkerLanes, here: int, there: int, now: float = 0.0) -> list[tuple[str, str, int]]:
    return [(lane.queue, lane.requires, lane.until) for lane in plan.request(here, there, now)]


def test_jobs_for_processes_have_lanes_and_slots_of_their_own() -> None:
    plan = WorkerLanes({"q": 1}, strict=False, slots=10, process_slots=2)
    assert lanes_of(plan, 0, 0) == [("q", PROCESS, 2), ("q", "", 10)], "what has less room comes first"
    assert lanes_of(plan, 0, 2) == [("q", "", 10)], "no process is free"
    assert lanes_of(plan, 10, 1) == [("q", PROCESS, 1)], "processes are"
    assert lanes_of(plan, 9, 0) == [("q", PROCESS, 2)], "one slot of ten is not worth a claim"
    assert lanes_of(plan, 10, 2) == []


def test_a_worker_without_process_tasks_asks_those_lanes_only_beside_the_others() -> None:
    plan = WorkerLanes({"q": 1}, strict=False, slots=10, process_slots=0)
    assert lanes_of(plan, 4, 0) == [("q", PROCESS, 6), ("q", "", 6)], "what stands there runs here"
    assert lanes_of(plan, 10, 0) == []
    assert len(plan.all()) == 2


def test_a_claim_never_asks_for_more_lanes_than_it_may_and_all_have_their_turn() -> None:
    queues = {f"q{n}": 1 for n in range(40)}
    plan = WorkerLanes(queues, strict=True, slots=10, process_slots=2)
    asked = Counter(queue for _ in range(40) for queue, requires, _ in lanes_of(plan, 0, 0) if requires)
    assert all(len(plan.request(0, 0, 0.0)) == MAX_LANES for _ in range(3))
    assert set(asked) == set(queues)
    assert len(plan.all()) == MAX_LANES


def stray(queue: str = "q") -> ClaimedJob:
    return ClaimedJob(b"1" * 16, 1, "t", b"{}", None, queue, "", 5, 1, 0, 0, 0, 0)


def test_while_a_stray_waits_for_a_process_nothing_more_comes_from_its_lane() -> None:
    plan = WorkerLanes({"q": 1, "r": 1}, strict=True, slots=10, process_slots=2)
    plan.waits(stray())
    assert [queue for queue, requires, _ in lanes_of(plan, 0, 2) if not requires] == ["r"]
    plan.waits_no_more(stray())
    assert [queue for queue, requires, _ in lanes_of(plan, 0, 2) if not requires] == ["q", "r"]


def test_after_a_stray_waited_in_vain_its_lane_is_tried_one_by_one_for_a_while() -> None:
    plan = WorkerLanes({"q": 1}, strict=True, slots=10, process_slots=2)
    plan.gave_back(stray(), 100.0)
    assert lanes_of(plan, 0, 2, 100.0) == [("q", "", 1)]
    assert lanes_of(plan, 0, 2, 100.0 + PENALTY) == [("q", "", 10)]


def test_a_job_that_waited_for_a_process_in_vain_ends_claiming_ahead_in_its_lane_alone() -> None:
    plan = WorkerLanes({"q": 1}, strict=True, slots=10, process_slots=2)
    for requires in ("", PROCESS):
        run_many(plan.of(requires), "q", 0.001)
    plan.gave_back(replace(stray(), requires=PROCESS), 100.0)
    assert plan.of(PROCESS).ahead("q", 100.0) == 0
    assert plan.of("").ahead("q", 100.0) > 0
