"""Carrying a check out, in any test framework or none."""

from __future__ import annotations

from windlass.core.clock import Span
from windlass.core.model import Settings
from windlass.testing.clock import ManualClock
from windlass.testing.conformance.env import Env
from windlass.testing.conformance.suite import Check
from windlass.testing.duel import MakeStore


async def run(check: Check, make_store: MakeStore, settings: Settings | None = None) -> bool:
    """Carry out a check on a store that is made for it, on the running event loop.

    Args:
        check: one of `checks`.
        make_store: makes an empty store that nobody else has, not opened yet, from settings and a clock.
        settings: what the store is opened with; no check counts on the defaults.

    Returns ``False``, and does nothing, if the check is for stores with a capability that this one does not have.
    Raises ``AssertionError`` with what was wrong, or whatever else the store raised.
    """
    clock = ManualClock()
    store = make_store(settings or Settings(), clock)
    if check.needs not in store.capabilities:
        return False

    async def move(by: Span) -> None:
        clock.move(by)

    env = Env(store, move)
    try:
        await check.run(env)
    finally:
        await env.close()
    return True
