"""Why a run has failed, by what is left of its steps."""

from windlass.core.graph import EdgePolicy
from windlass.core.ids import Family, new_run_id
from windlass.core.lifecycle import State
from windlass.core.records import JobRecord, Reason
from windlass.core.steps import StepInfo
from windlass.workflows.states import StepState, find_cause

RUN = new_run_id()
SUCCEEDED, DEAD, CANCELLED, READY = State.SUCCEEDED, State.DEAD, State.CANCELLED, State.READY


def step(number: int, state: State, *parents: int, needs: EdgePolicy = EdgePolicy.SUCCEEDED) -> StepState:
    reason = Reason.PARENT if state is CANCELLED else Reason.NONE
    job = JobRecord(
        id=Family(RUN).id(number),
        task="t",
        queue="default",
        requires="",
        priority=5,
        state=state,
        reason=reason,
        payload=b"{}",
        options=None,
        enqueued_at=0,
    )
    info = StepInfo(
        run=RUN, number=number, name=f"s{number}", parents=tuple((one, one) for one in parents), needs=needs
    )
    return StepState(info, job)


def cause(*steps: StepState) -> int | None:
    found = find_cause(steps)
    return None if found is None else found.info.number


def test_what_died_is_the_cause_of_what_was_cancelled_behind_it() -> None:
    assert cause(step(1, DEAD), step(2, CANCELLED, 1), step(3, CANCELLED, 2)) == 1
    assert cause(step(1, SUCCEEDED), step(2, SUCCEEDED, 1)) is None


def test_what_was_cancelled_for_what_is_gone_is_a_cause_itself() -> None:
    assert cause(step(2, CANCELLED, 1)) == 2, "the step before it was deleted"
    assert cause(step(1, SUCCEEDED), step(3, CANCELLED, 1, 2)) == 3, "one of them was"
    assert cause(step(1, SUCCEEDED), step(2, CANCELLED, 1)) == 2, "an item of it was"
    assert cause(step(2, CANCELLED, 1), step(3, CANCELLED, 2)) == 2


def test_what_was_to_see_to_failures_is_no_cause_where_there_were_none() -> None:
    handler = step(2, CANCELLED, 1, needs=EdgePolicy.FAILED)
    assert cause(step(1, SUCCEEDED), handler) is None
    assert cause(step(1, SUCCEEDED), handler, step(3, CANCELLED, 2)) is None
    assert cause(handler) is None, "what it was to see to was purged"


def test_nothing_is_said_of_what_is_not_decided() -> None:
    """Its first items have failed, and it makes others still: nobody has counted them."""
    assert cause(step(1, READY), step(2, CANCELLED, 1)) is None
