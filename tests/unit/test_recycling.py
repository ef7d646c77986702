"""When a process asks to be replaced."""

import logging

import pytest

from windlass.engine.recycling import ASK_AGAIN, NEVER, RecycleAt, Successor, Wear, resident_memory


class Asked:
    """Counts the calls of either kind."""

    def __init__(self) -> None:
        self.worn = 0
        self.stuck = 0

    def is_worn(self) -> None:
        self.worn += 1

    def is_stuck(self) -> None:
        self.stuck += 1


def successor(limits: RecycleAt, asked: Asked, *, now: float = 0.0, lot: float = 0.0) -> Successor:
    return Successor(Wear(limits, now, lot), asked.is_worn, asked.is_stuck)


def test_without_limits_there_is_never_a_reason() -> None:
    assert Wear(NEVER, 0.0, 1.0).reason(10**12, 10**12) is None


@pytest.mark.parametrize(("lot", "limit"), [(0.0, 1000), (0.5, 950), (1.0, 900)])
def test_jobs(lot: float, limit: int) -> None:
    wear = Wear(RecycleAt(jobs=1000), 0.0, lot)
    assert wear.reason(limit - 1, 0.0) is None
    assert wear.reason(limit, 0.0) == f"it has run {limit} jobs"


def test_one_job_is_one_job_whatever_the_lot() -> None:
    wear = Wear(RecycleAt(jobs=1), 0.0, 1.0)
    assert wear.reason(0, 0.0) is None
    assert wear.reason(1, 0.0) is not None


@pytest.mark.parametrize(("lot", "limit"), [(0.0, 100.0), (1.0, 90.0)])
def test_age(lot: float, limit: float) -> None:
    wear = Wear(RecycleAt(age=100.0), 50.0, lot)
    assert wear.reason(0, 50.0 + limit - 0.1) is None
    assert wear.reason(0, 50.0 + limit) == f"it has worked for {limit:.0f} s"


def test_memory() -> None:
    mine = resident_memory()
    assert 5 * 2**20 < mine < 2**40
    assert Wear(RecycleAt(memory=mine * 4), 0.0, 0.0).reason(0, 0.0) is None
    reason = Wear(RecycleAt(memory=mine // 4), 0.0, 0.0).reason(0, 0.0)
    assert reason is not None
    assert reason.startswith("it uses ")


def test_memory_that_is_let_go_of_is_not_held_against_it() -> None:
    before = resident_memory()
    block = bytes(range(256)) * (400 * 1024)
    with_block = resident_memory()
    del block
    assert with_block > before + 80 * 2**20
    assert resident_memory() < with_block - 80 * 2**20


def test_it_asks_again_only_after_a_while(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    asked = Asked()
    one = successor(RecycleAt(jobs=10), asked)
    assert one.jobs == 10
    for now in (0.0, 1.0, ASK_AGAIN - 0.1):
        one.ask_if_worn(10, now)
    assert asked.worn == 1
    one.ask_if_worn(11, ASK_AGAIN)
    assert asked.worn == 2
    assert caplog.messages == [
        "asks to be replaced: it has run 10 jobs",
        "asks to be replaced: it has run 11 jobs",
    ]


def test_a_quarter_of_the_slots_is_too_many_to_be_stuck() -> None:
    asked = Asked()
    one = successor(NEVER, asked)
    one.ask_if_stuck(0, 1, 0.0)
    one.ask_if_stuck(24, 100, 0.0)
    assert asked.stuck == 0
    one.ask_if_stuck(25, 100, 0.0)
    one.ask_if_stuck(100, 100, ASK_AGAIN - 0.1)
    assert asked.stuck == 1
    one.ask_if_stuck(25, 100, ASK_AGAIN)
    assert (asked.stuck, asked.worn) == (2, 0)


def test_where_nobody_can_replace_it_nothing_is_asked(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    one = Successor(Wear(RecycleAt(jobs=1), 0.0, 0.0), None, None)
    one.ask_if_worn(10, 0.0)
    assert one.jobs == float("inf")
    assert not caplog.messages
    one.ask_if_stuck(1, 1, 0.0)
    assert len(caplog.messages) == 1, "that its slots are stuck is worth a line all the same"
