"""The state machine: any store against the reference, told the same by workers, producers, operators and janitors
that crash, repeat themselves, lose answers and come back from the dead.

::

    TestMyStore = store_machine(make_store).TestCase

Each rule is one verb in one situation. After every rule the two stores must tell the same (`windlass.testing.duel`),
and what they tell must be possible (`windlass.testing.invariants`).

Needs Hypothesis: ``pip install 'windlass[testing]'``.
"""

from __future__ import annotations

from collections.abc import Callable

from windlass.connect import in_memory
from windlass.core.clock import Instant
from windlass.core.errors import MissingExtra
from windlass.core.model import Settings
from windlass.store.port import Store
from windlass.testing.duel import Interrupt, MakeStore

try:
    from windlass.testing.machine.callers import CallerRules
    from windlass.testing.machine.workers import WorkerRules
except ModuleNotFoundError as error:
    if error.name != "hypothesis":
        raise
    raise MissingExtra("windlass.testing.machine needs hypothesis: pip install windlass[testing]") from error


class StoreMachine(CallerRules, WorkerRules):
    """All rules; see `store_machine`."""


def reference(settings: Settings, clock: Callable[[], Instant]) -> Store:
    """Make an empty memory store: what every other store is compared with."""
    return in_memory(settings, clock)


def store_machine(
    make_store: MakeStore,
    make_model: MakeStore | None = reference,
    *,
    settings: Settings | None = None,
    interrupt: Interrupt | None = None,
    drains: bool = True,
) -> type[StoreMachine]:
    """Make a state machine for a store: a `hypothesis.stateful.RuleBasedStateMachine`.

    Args:
        make_store: makes the store under test from settings and a clock, empty each time.
        make_model: makes the store that it is compared with; ``None``: only the invariants judge.
        settings: for both.
        interrupt: a way to kill the store inside a verb, if there is one.
        drains: let `release_edges` catch up after every step. Stores may choose the order in which edges move, so
            that two of them agree only where nothing waits behind a cursor.
    """

    class Machine(StoreMachine):
        pass

    Machine.make_store = staticmethod(make_store)
    Machine.make_model = None if make_model is None else staticmethod(make_model)
    Machine.settings = settings or Settings()
    Machine.interrupt = None if interrupt is None else staticmethod(interrupt)
    Machine.drains = drains
    return Machine
