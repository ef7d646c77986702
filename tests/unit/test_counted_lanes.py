"""Lanes of jobs that need resources: whatever a claim brings from them has room."""

import random
from collections import Counter

import pytest

from windlass.core.model import MAX_LANES, Lane
from windlass.core.requirements import Offer, parse
from windlass.engine.counted_lanes import MOST_KNOWN, CountedLanes
from windlass.engine.lanes import WorkerLanes


def lanes_of(offer: Offer, *requires: str) -> CountedLanes:
    return CountedLanes({"q": 1}, offer, [("q", one) for one in requires])


def asked(found: list[Lane]) -> dict[str, int]:
    return {lane.requires: lane.until for lane in found}


def test_only_what_can_be_served_becomes_known() -> None:
    lanes = lanes_of(Offer.of({"gpu": 1}), "", "process", "gpu=2", "@ssd", "something new")
    assert not lanes
    assert not lanes.learn([("other", "gpu=1")]), "not a queue of the worker"
    assert lanes.learn([("q", "gpu=1"), ("q", "gpu=9")])
    assert not lanes.learn([("q", "gpu=1")]), "known"
    assert asked(lanes.request((), 9, 9)) == {"gpu=1": 1}


def test_what_is_held_takes_room() -> None:
    lanes = lanes_of(Offer.of({"gpu": 4, "cpu": 8}), "gpu=1", "cpu=1")
    held = ["gpu=1", "", "process", "cpu=1,gpu=1", "something new"]
    assert asked(lanes.request(held, 100, 100)) == {"gpu=1": 2, "cpu=1": 7}
    assert asked(lanes.request(["gpu=9"], 100, 100)) == {"cpu=1": 8}, "more than there is: nothing, and no error"


def test_slots_and_processes_bound_it_too() -> None:
    lanes = lanes_of(Offer.of({"gpu": 8}, ["ssd"]), "gpu=1", "gpu=1,process", "@ssd", "process,@ssd")
    assert asked(lanes.request((), 3, 2)) == {"gpu=1": 2, "gpu=1,process": 2, "@ssd": 3, "process,@ssd": 2}
    assert asked(lanes.request((), 3, 0)) == {"gpu=1": 3, "@ssd": 3}
    assert asked(lanes.request((), 0, 1)) == {"gpu=1,process": 1, "process,@ssd": 1}
    assert lanes.request((), -1, -2000) == []


@pytest.mark.parametrize("seed", range(50))
def test_whatever_mixture_comes_has_room(seed: int) -> None:
    rng = random.Random(seed)
    offer = Offer.of({"a": rng.randrange(1, 9), "b": rng.randrange(1, 9)})
    kinds = {f"a={rng.randrange(1, 5)}" for _ in range(2)} | {f"b={rng.randrange(1, 5)}" for _ in range(2)}
    kinds |= {f"a={rng.randrange(1, 5)},b={rng.randrange(1, 5)}" for _ in range(2)}
    lanes = lanes_of(offer, *kinds)
    held: list[str] = []
    for _ in range(40):
        brought: list[str] = []
        for lane in lanes.request(held, 10, 10):
            while len(brought) < lane.until and rng.random() < 0.8:  # as a store takes from lane to lane
                brought.append(lane.requires)
        held += brought
        used: Counter[str] = Counter()
        for requires in held:
            needs = parse(requires)
            assert needs is not None
            used.update(dict(needs.amounts))
        assert all(used[name] <= amount for name, amount in offer.amounts.items())
        held = [one for one in held if rng.random() < 0.7]


def test_each_lane_has_its_turn_and_weight_counts() -> None:
    lanes = CountedLanes({"q": 9, "r": 1}, Offer.of({"gpu": 1}), [("q", "gpu=1"), ("r", "gpu=1")])
    first = Counter(lanes.request((), 1, 1)[0].queue for _ in range(1000))
    assert 820 < first["q"] < 970
    assert first["r"] > 30


def test_not_more_is_remembered_than_has_use() -> None:
    lanes = lanes_of(Offer.of({"gpu": 10_000}))
    for n in range(1, MOST_KNOWN + 50):
        lanes.learn([("q", f"gpu={n}")])
    assert len(lanes.request((), 1, 1)) == MOST_KNOWN
    assert lanes.learn([("q", "gpu=1")]), "forgotten, and found again"


def worker_lanes(*, strict: bool, queues: int = 2) -> WorkerLanes:
    names = {f"q{n}": 1 for n in range(queues)}
    counted = CountedLanes(names, Offer.of({"gpu": 1}), [(name, "gpu=1") for name in names])
    return WorkerLanes(names, strict=strict, slots=1, process_slots=0, counted=counted)


def test_neither_plain_jobs_nor_others_keep_a_last_slot_for_themselves() -> None:
    lanes = worker_lanes(strict=False)
    needy_first = sum(lanes.request(0, 0, 0.0)[0].requires == "gpu=1" for _ in range(200))
    assert 50 < needy_first < 150


def test_strict_order_is_that_of_queues() -> None:
    lanes = worker_lanes(strict=True)
    for _ in range(20):
        queues = [lane.queue for lane in lanes.request(0, 0, 0.0)]
        assert queues == sorted(queues)


def test_a_claim_has_room_for_both_kinds() -> None:
    lanes = worker_lanes(strict=False, queues=MAX_LANES)
    for found in (lanes.request(0, 0, 0.0), lanes.all()):
        assert len(found) == MAX_LANES
        assert sum(lane.requires == "gpu=1" for lane in found) == MAX_LANES // 4


def test_what_is_held_is_not_counted_where_nothing_needs_it() -> None:
    lanes = WorkerLanes({"q": 1}, strict=False, slots=3, process_slots=0)

    def held() -> list[str]:
        raise AssertionError("counting costs")

    assert lanes.request(1, 0, 0.0, held)
