"""Who runs suspects, and when."""

from windlass.engine.config import WorkerConfig
from windlass.engine.suspects import PATIENCE, SuspectTurn


def test_with_a_supervisor_the_worker_only_calls_for_help() -> None:
    calls: list[int] = []
    turn = SuspectTurn(WorkerConfig(on_suspects=lambda: calls.append(1)))
    assert not turn.hear(True, 0.0)
    assert not turn.hear(True, 100.0)
    assert calls == [1, 1]
    assert turn.claim_alone(empty=True) is False


def test_without_one_the_worker_empties_itself_after_ten_seconds_and_then_claims_alone() -> None:
    turn = SuspectTurn(WorkerConfig())
    assert not turn.hear(True, 0.0)
    assert turn.claim_alone(empty=True) is False
    assert turn.hear(True, PATIENCE)
    assert turn.claim_alone(empty=False) is None, "not while it holds anything"
    assert turn.claim_alone(empty=True) is True
    turn.found_none(PATIENCE + 1)
    assert turn.claim_alone(empty=True) is False, "back to ordinary work"


def test_suspects_that_somebody_else_took_end_the_wait() -> None:
    turn = SuspectTurn(WorkerConfig())
    turn.hear(True, 0.0)
    turn.hear(False, 5.0)
    assert not turn.hear(True, PATIENCE + 1)


def test_a_process_for_suspects_claims_only_alone_and_ends_when_there_are_none() -> None:
    turn = SuspectTurn(WorkerConfig(alone=True))
    assert turn.claim_alone(empty=True) is True
    assert turn.claim_alone(empty=False) is None
    assert not turn.found_none(0.0)
    assert turn.found_none(PATIENCE)
