"""The judgement of workers, from what they show."""

from dataclasses import dataclass, field

import pytest

from windlass.engine import health
from windlass.engine.slots import Slot
from windlass.engine.vitals import Page, Vitals, new_page

NOW = 1000.0


def shown(
    *, ticked: float = 0.1, answered: float = 0.1, turned: float = 0.1, claimed: float = 0.1, **more: float
) -> Vitals:
    """Vitals from ages."""
    return Vitals(
        ticked_at=NOW - ticked, answered_at=NOW - answered, turned_at=NOW - turned, claimed_at=NOW - claimed, **more
    )


@dataclass(eq=False)
class Shown:
    """What a supervisor knows of a process, without the process."""

    pid: int = 7
    ready_at: float | None = 1.0
    kill_at: float | None = None
    drains: bool = False
    shows: Vitals = field(default_factory=shown)

    def vitals(self) -> Vitals:
        return self.shows


def slot(process: Shown | None = None, incoming: Shown | None = None, *leaving: Shown, alone: bool = False) -> Slot:
    made = Slot(alone=alone)
    made.process, made.incoming, made.leaving = process, incoming, list(leaving)
    return made


def test_a_page_holds_what_is_written_to_it() -> None:
    descriptor = new_page()
    ours, theirs = Page(descriptor), Page(descriptor)
    assert theirs.read().ticked_at == 0.0
    ours.write(Vitals(ticked_at=1.25, answered_at=2.5, turned_at=3.0, claimed_at=4.0, lease=9.0, held=5, slots=100))
    found = theirs.read()
    assert (found.ticked_at, found.answered_at, found.turned_at, found.claimed_at) == (1.25, 2.5, 3.0, 4.0)
    assert (found.lease, found.held, found.slots, found.stopping) == (9.0, 5, 100, False)
    ours.write(Vitals(stopping=True))
    assert theirs.read().stopping is True
    ours.close()
    assert theirs.read().stopping is True, "one side's end is not the other's"
    theirs.close()


@pytest.mark.parametrize(("age", "stalled"), [(29.9, False), (30.1, True)])
def test_who_has_stood_still_for_too_long(age: float, stalled: bool) -> None:
    found = health.stalled([slot(Shown(shows=shown(ticked=age)))], NOW, 30.0)
    assert found == (["worker 7: its event loop has stood still for 30 s"] if stalled else [])


def test_of_those_that_start_or_leave_nothing_is_expected() -> None:
    old = Shown(shows=shown(ticked=500))
    starting = Shown(ready_at=None, shows=Vitals())
    assert health.stalled([slot(None, starting, old), slot(starting)], NOW, 30.0) == []


def test_ready_is_when_every_slot_has_one_that_claims() -> None:
    well = Shown()
    assert health.not_ready([slot(well), slot(well, Shown(ready_at=None), Shown())], NOW) == []
    assert health.not_ready([slot(well), slot()], NOW) == ["1 of 2 worker processes are ready"]


def test_one_that_is_full_claims_nothing_and_is_ready() -> None:
    assert health.not_ready([slot(Shown(shows=shown(claimed=500)))], NOW) == []


def test_a_claim_is_an_answer_too() -> None:
    assert health.not_ready([slot(Shown(shows=shown(answered=500)))], NOW) == []


@pytest.mark.parametrize(
    ("shows", "reason"),
    [
        (shown(answered=11, claimed=12), "the store has not answered for 11 s"),
        (shown(turned=11), "it has not looked for jobs for 11 s"),
        (shown(ticked=11), "its event loop has stood still for 11 s"),
        (shown(stopping=True), "it is stopping"),
    ],
)
def test_why_one_is_not_ready(shows: Vitals, reason: str) -> None:
    assert health.not_ready([slot(Shown(shows=shows))], NOW) == [f"worker 7: {reason}"]


def test_a_long_lease_leaves_time_between_renewals() -> None:
    shows = shown(answered=25, turned=25, claimed=100, lease=60.0)
    assert health.not_ready([slot(Shown(shows=shows))], NOW) == []


def test_the_description_has_every_process_and_ages_only_of_what_has_happened() -> None:
    slots = [
        slot(Shown(1), Shown(2, ready_at=None, shows=Vitals()), Shown(3)),
        slot(Shown(4, shows=Vitals(slots=1)), alone=True),
    ]
    found = health.describe(slots, NOW)
    assert [(one["pid"], one["state"]) for one in found] == [
        (1, "working"),
        (2, "starting"),
        (3, "leaving"),
        (4, "suspects"),
    ]
    assert found[0]["ready"] == NOW - 1
    assert found[0]["loop_turned"] == pytest.approx(0.1)
    assert (found[1]["ready"], found[1]["loop_turned"], found[1]["last_claim"]) == (None, None, None)
