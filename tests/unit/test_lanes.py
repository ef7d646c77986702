"""The buffer rule, and the order in which queues are asked."""

from collections import Counter

from windlass.core.model import MAX_BATCH
from windlass.engine.lanes import PENALTY, LanePlan


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
