"""What every store must do, as checks that need no test framework.

::

    for check in checks():
        await run(check, make_store)    # a fresh, empty store for each; raises AssertionError

or all of them at once: ``python -m windlass.testing.conformance mystore:make_store``. A store whose clock cannot be
handed to it is put into an `Env` by hand, with a way to move what it takes for the time: ``check.run(env)``.

Each check is a coroutine function of one `Env` that raises `AssertionError` with what was wrong. One file for each noun
of the port; the name says the sentence of the contract that it holds the store to. A bug found in any store becomes a
check here.
"""

from windlass.testing.conformance.env import Env, MoveClock, Worker
from windlass.testing.conformance.running import run
from windlass.testing.conformance.suite import Check, checks
from windlass.testing.duel import MakeStore

__all__ = ["Check", "Env", "MakeStore", "MoveClock", "Worker", "checks", "run"]
