"""The state machine: any store against the reference, told the same by workers, producers, operators and janitors
that crash, repeat themselves, lose answers and come back from the dead.

::

    TestSQLite = store_machine(make_sqlite, MemoryStore).TestCase

Each rule is one verb in one situation. After every rule the two stores must tell the same (`windlass.testing.duel`),
and what they tell must be possible (`windlass.testing.invariants`).

Needs Hypothesis: ``pip install 'windlass[testing]'``.
"""

from __future__ import annotations

from windlass.core.model import Settings
from windlass.testing.duel import Interrupt, MakeStore
from windlass.testing.machine.callers import CallerRules
from windlass.testing.machine.workers import WorkerRules


class StoreMachine(CallerRules, WorkerRules):
    """All rules; see `store_machine`."""


def store_machine(
    make_store: MakeStore,
    make_model: MakeStore | None,
    *,
    settings: Settings | None = None,
    interrupt: Interrupt | None = None,
    drains: bool = True,
) -> type[StoreMachine]:
    """Make a state machine for a store.

    Args:
        make_store: makes the store under test, empty each time.
        make_model: makes the reference; without it only the invariants judge.
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
