"""What a check needs of a store."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from windlass.store.port import Capability
from windlass.testing.conformance.env import Env

CheckFunction: TypeAlias = Callable[[Env], Awaitable[None]]


def needs(capability: Capability) -> Callable[[CheckFunction], CheckFunction]:
    """Mark a check as one for stores with this capability only."""

    def mark(check: CheckFunction) -> CheckFunction:
        vars(check)["needs"] = capability
        return check

    return mark


def sets_clock_back(check: CheckFunction) -> CheckFunction:
    """Mark a check that sets the store's clock back."""
    vars(check)["sets_clock_back"] = True
    return check
