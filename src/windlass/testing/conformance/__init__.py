"""What every store must do, as checks that need no test framework.

::

    for check in checks():
        if check.needs in store.capabilities:
            await check.run(Env(store, move_clock))   # a fresh, empty store for each

Each check is a coroutine function of one `Env` that raises `AssertionError` with what was wrong. One file for each noun
of the port; the name says the sentence of the contract that it holds the store to. A bug found in any store becomes a
check here.
"""

from windlass.testing.conformance.env import Env, MoveClock, Worker
from windlass.testing.conformance.suite import Check, checks

__all__ = ["Check", "Env", "MoveClock", "Worker", "checks"]
