"""How a child ended, in words."""

from __future__ import annotations

import signal

from windlass.core.errors import ProcessDied

LINE_LOST = 71
"""Exit code of a child that can no longer speak to its worker."""
_HINTS = {
    signal.SIGKILL: ", as the kernel does when memory runs out",
    signal.SIGXCPU: ", which a limit on its time sends",
}


def describe(code: int) -> str:
    """Say how a process ended: ``code`` as `subprocess` gives it."""
    if code == LINE_LOST:
        return "lost its connection to the worker (did the task close descriptors that it had not opened?)"
    if code >= 0:
        return f"exited with code {code}"
    try:
        number = signal.Signals(-code)
    except ValueError:
        return f"was killed by signal {-code}"
    return f"was killed by signal {-code} ({number.name}){_HINTS.get(number, '')}"


def died(how: str, where: str) -> ProcessDied:
    """The error of an attempt whose process died by itself.

    Args:
        how: as `describe` says it.
        where: what the process wrote about it, if anything; it becomes part of the traceback.
    """
    error = ProcessDied(f"the process that ran the task {how}")
    if where:
        error.add_note(where)
    return error
