"""All checks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import ModuleType

from windlass.store.port import Capability
from windlass.testing.conformance import (
    cancel,
    cascades,
    claim,
    claim_answers,
    documents,
    edges,
    enqueue,
    idempotence,
    insights,
    life,
    limits,
    notes,
    notifier,
    operators,
    overrule,
    promote,
    rates,
    reap,
    renew,
    replay,
    retention,
    schedules,
    sessions,
    settle,
    suspects,
    together,
    turns,
    unclaim,
    unique,
)
from windlass.testing.conformance.env import Env

_NOUNS = [
    enqueue,
    idempotence,
    claim,
    claim_answers,
    settle,
    overrule,
    unclaim,
    renew,
    sessions,
    reap,
    suspects,
    turns,
    edges,
    cascades,
    retention,
    unique,
    limits,
    rates,
    promote,
    cancel,
    replay,
    operators,
    notes,
    schedules,
    documents,
    insights,
    notifier,
    together,
    life,
]


@dataclass(frozen=True, slots=True)
class Check:
    """One check."""

    name: str
    """``noun/what_must_hold``."""
    run: Callable[[Env], Awaitable[None]]
    needs: Capability
    """Not for stores without this."""
    sets_clock_back: bool
    """It moves the store's clock backwards."""


def checks() -> list[Check]:
    """List all checks, in the order in which they should be read."""
    return [check for noun in _NOUNS for check in _of(noun)]


def _of(noun: ModuleType) -> list[Check]:
    word = noun.__name__.rpartition(".")[2]
    return [
        Check(
            f"{word}/{name.removeprefix('check_')}",
            run,
            getattr(run, "needs", Capability.NONE),
            getattr(run, "sets_clock_back", False),
        )
        for name, run in vars(noun).items()
        if name.startswith("check_")
    ]
