"""What is counted of a worker, and where that stands in the rows of its `Tally`: for who writes it and who reads it.

Nothing here may import anything large: a supervisor may have it too.
"""

from __future__ import annotations

from windlass.engine.tally import Name, Reading, add

OTHERS = "(others)"
"""Stands for all pairs of task and queue that have no rows of their own; no task and no queue can be called so."""
UNKNOWN = "(unknown)"
"""Stands for all tasks that the worker does not have: their names come from outside."""
NOW = ("now",)
"""The row that says how a worker is; all others count what it has done."""
MOST_TASKS = 200
"""Pairs of task and queue with rows of their own: those that come first."""
CLAIMED = 0
"""The first number of a task's row: jobs that nobody had claimed before."""
OUTCOMES = ("succeeded", "failed", "dead", "snoozed", "released", "cancelled", "undeliverable")
"""The next numbers, in the order of `Outcome`, whose numbers begin at 1: how many attempts ended so."""
TIMES = (0.001, 0.0025, 0.01, 0.025, 0.1, 0.25, 1.0, 2.5, 10.0, 30.0, 60.0, 300.0, 1800.0)
"""Upper bounds of histograms, in seconds: of attempts, and of waits."""
SHORT_TIMES = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
"""The same of the store's verbs, and of the event loop's lag."""
SIZES = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0)
"""The same of batches, in jobs."""


def width(bounds: tuple[float, ...]) -> int:
    """How many numbers a histogram has."""
    return len(bounds) + 2


RUNS = 1 + len(OUTCOMES)
"""Where in the row of a task the histogram begins of how long attempts took; then comes that of waits."""
WAITS = RUNS + width(TIMES)
TASK_WIDTH = WAITS + width(TIMES)


def bounded(total: Reading, named: dict[Name, None]) -> Reading:
    """The same with rows for `MOST_TASKS` pairs of task and queue at most, whatever so many processes have counted, and
    one for all others together. ``named``: those that have rows, which have come first, and keep them."""
    others = []
    for name in total:
        if name[0] == "task" and name != _OTHERS and name not in named:
            if len(named) < MOST_TASKS:
                named[name] = None
            else:
                others.append(name)
    if not others:
        return total
    found = dict(total)
    for name in others:
        add(found, {_OTHERS: found.pop(name)})
    return found


_OTHERS = ("task", OTHERS, OTHERS)
