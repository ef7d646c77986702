"""Who runs suspects, and when."""

from windlass.engine.config import WorkerConfig
from windlass.engine.suspects import CALL_EVERY, PATIENCE, SuspectTurn


def test_with_a_supervisor_the_worker_only_calls_for_help_and_not_all_the_time() -> None:
    calls: list[int] = []
    turn = SuspectTurn(WorkerConfig(on_suspects=lambda: calls.append(1)))
    for now in (0.0, 3.0, 6.0, CALL_EVERY + 1):
        assert not turn.hear(True, now, duty=True)
    assert calls == [1, 1]
    assert turn.claim_alone(empty=True) is False


def test_without_one_the_worker_empties_itself_after_ten_seconds_and_then_claims_alone() -> None:
    turn = SuspectTurn(WorkerConfig())
    assert not turn.hear(True, 0.0, duty=True)
    assert turn.claim_alone(empty=True) is False
    assert turn.hear(True, PATIENCE, duty=True)
    assert turn.claim_alone(empty=False) is None, "not while it holds anything"
    assert turn.claim_alone(empty=True) is True
    turn.found()
    turn.found_none(PATIENCE + 1)
    assert turn.claim_alone(empty=True) is False, "back to ordinary work"


def test_the_worker_with_the_duty_goes_first_and_others_only_if_it_does_not() -> None:
    turn = SuspectTurn(WorkerConfig())
    turn.hear(True, 0.0, duty=False)
    assert not turn.hear(True, 2 * PATIENCE, duty=False)
    assert turn.hear(True, 3 * PATIENCE, duty=False)


def test_suspects_that_somebody_else_took_end_the_wait_and_the_turn() -> None:
    turn = SuspectTurn(WorkerConfig())
    turn.hear(True, 0.0, duty=True)
    turn.hear(False, 5.0, duty=True)
    assert not turn.hear(True, PATIENCE + 1, duty=True)
    assert turn.hear(True, 2 * PATIENCE + 1, duty=True)
    assert turn.claim_alone(empty=False) is None
    assert turn.hear(False, 2 * PATIENCE + 2, duty=True), "it need not become empty any more"
    assert turn.claim_alone(empty=False) is False


def test_a_suspect_that_runs_here_does_not_end_the_turn_by_being_no_longer_ready() -> None:
    turn = SuspectTurn(WorkerConfig())
    turn.hear(True, 0.0, duty=True)
    turn.hear(True, PATIENCE, duty=True)
    assert turn.claim_alone(empty=True) is True
    assert not turn.hear(False, PATIENCE + 3, duty=True)
    assert turn.claim_alone(empty=False) is None


def test_a_suspect_that_cannot_be_claimed_is_asked_for_less_and_less_often() -> None:
    turn = SuspectTurn(WorkerConfig())
    now = 0.0
    waits = []
    for _ in range(4):
        began = now
        while not turn.hear(True, now, duty=True):
            now += 1
        waits.append(now - began)
        turn.claim_alone(empty=True)
        turn.found_none(now)
    assert waits == [PATIENCE, 2 * PATIENCE, 4 * PATIENCE, 8 * PATIENCE]


def test_a_process_for_suspects_claims_only_alone_and_ends_when_there_are_none() -> None:
    turn = SuspectTurn(WorkerConfig(alone=True))
    assert turn.claim_alone(empty=True) is True
    assert turn.claim_alone(empty=False) is None
    assert not turn.found_none(0.0)
    turn.found()
    assert not turn.found_none(PATIENCE)
    assert turn.found_none(2 * PATIENCE)
