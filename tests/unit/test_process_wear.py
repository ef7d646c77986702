"""When a child process is replaced, and when its successor is started."""

from types import SimpleNamespace
from typing import Any

import pytest

from windlass import ChildProcesses, InvalidOption
from windlass.engine.process_pool import wear
from windlass.engine.process_pool.wear import Wear

MIB = 2**20


def child(done: int = 0, memory: int = 0, began_at: float = 0.0, ready_at: float = 0.0) -> Any:
    return SimpleNamespace(done=done, memory=memory, began_at=began_at, ready_at=ready_at, is_ready=True)


def test_without_limits_nothing_wears_out() -> None:
    plain = Wear(None, None)
    assert not plain.is_worn(child(10**9, 10**12))
    assert not plain.nears_end(child(10**9, 10**12))


def test_a_child_never_runs_more_than_its_jobs() -> None:
    assert not Wear(5, None).is_worn(child(4))
    assert Wear(5, None).is_worn(child(5))


def test_a_successor_is_started_early_enough_by_the_pace_of_the_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = Wear(1000, None)
    limits.started(child(began_at=0.0, ready_at=3.0))
    monkeypatch.setattr(wear.time, "monotonic", lambda: 13.0)
    # 10 s of work so far.
    assert not limits.nears_end(child(100, ready_at=3.0)), "900 to go, at 10 a second"
    assert limits.nears_end(child(700, ready_at=3.0)), "300 to go, at 70 a second, is less than twice a start"
    assert not limits.nears_end(child(500, ready_at=3.0)), "500 to go, at 50 a second, is more"


def test_a_successor_is_there_for_the_last_job_however_long_jobs_take(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = Wear(2, None)
    monkeypatch.setattr(wear.time, "monotonic", lambda: 10_000.0)
    assert not limits.nears_end(child(0))
    assert limits.nears_end(child(1))


def test_memory_wears_out_too() -> None:
    limits = Wear(None, 100 * MIB)
    assert not limits.is_worn(child(memory=100 * MIB))
    assert limits.is_worn(child(memory=101 * MIB))
    assert not limits.nears_end(child(memory=80 * MIB))
    assert limits.nears_end(child(memory=95 * MIB))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"slots": 0}, "slots=0: expected 1 to 1000"),
        ({"max_jobs": 0}, "max_jobs=0: expected 1 or more"),
        ({"max_memory": 512}, r"max_memory=512: expected bytes, at least 16777216 \(16 MiB\)"),
        ({"memory_limit": 1024}, "memory_limit=1024: expected bytes"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, int], message: str) -> None:
    with pytest.raises(InvalidOption, match=message):
        ChildProcesses(**options)


def test_there_are_as_many_slots_as_processors_unless_said_otherwise() -> None:
    assert ChildProcesses().slots >= 1
