"""For tests: of code that enqueues, of tasks, and of stores.

This is the public door; names are imported when they are first used, so that the pytest plugin costs nothing where no
test asks for it. `windlass.testing.conformance` (what every store must do) and `windlass.testing.machine` (any store
against the reference; needs hypothesis) are modules of their own.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from windlass.testing.clock import ManualClock, VirtualClock
    from windlass.testing.crashes import SimulatedCrash, crash
    from windlass.testing.driver import AttemptRecord
    from windlass.testing.enqueued import EnqueuedJob
    from windlass.testing.faulty import Dice, Fault, FaultyStore, Outage, Script
    from windlass.testing.harness import Harness
    from windlass.testing.watched import NothingRuns

__all__ = [
    "AttemptRecord",
    "Dice",
    "EnqueuedJob",
    "Fault",
    "FaultyStore",
    "Harness",
    "ManualClock",
    "NothingRuns",
    "Outage",
    "Script",
    "SimulatedCrash",
    "VirtualClock",
    "crash",
]

_HOMES = {
    name: f"windlass.testing.{home}"
    for home, names in {
        "clock": "ManualClock VirtualClock",
        "crashes": "SimulatedCrash crash",
        "driver": "AttemptRecord",
        "enqueued": "EnqueuedJob",
        "faulty": "Dice Fault FaultyStore Outage Script",
        "harness": "Harness",
        "watched": "NothingRuns",
    }.items()
    for name in names.split()
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
