"""Names of tasks: where they come from, and that each means one function only."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from windlass.core.errors import InvalidName, InvalidOption, UnknownTask
from windlass.core.names import check_task
from windlass.core.task import ExecutorName, TaskSpec


def task_name(function: Callable[..., Any]) -> str:
    """The default name of a task: ``module.qualname``, with the real name of a module that runs as ``__main__``."""
    qualname = getattr(function, "__qualname__", None)
    if qualname is None:
        return "?"  # no function at all: the signature says so, and better
    return check_task(f"{real_module(function.__module__)}.{qualname}")


def real_module(module: str) -> str:
    """The name under which a module can be imported; ``__main__`` where there is none."""
    if module != "__main__":
        return module
    main = sys.modules["__main__"]
    spec = getattr(main, "__spec__", None)
    if spec is not None:
        return str(spec.name)
    file = getattr(main, "__file__", None)
    return os.path.splitext(os.path.basename(file))[0] if file else module  # noqa: PTH119, PTH122 - pathlib is slow to import


def check_new(tasks: Mapping[str, TaskSpec], spec: TaskSpec) -> None:
    """Raise `InvalidName` if the name or an alias means another function already."""
    for name in (spec.name, *spec.aliases):
        known = tasks.get(name)
        if known is not None and not _is_new_cell(known.function, spec.function):
            function = known.function
            raise InvalidName(
                f"task name {name!r} is taken by {function.__module__}.{function.__qualname__}; "
                "give one of the two another with @app.task(name=...)"
            )


def _is_new_cell(old: Callable[..., Any], new: Callable[..., Any]) -> bool:
    """Whether a notebook cell was simply run again."""
    interactive = new.__module__ == "__main__" and not hasattr(sys.modules["__main__"], "__file__")
    return interactive and (old.__module__, old.__qualname__) == (new.__module__, new.__qualname__)


def check_executor(task: str, function: Callable[..., Any], executor: ExecutorName | None) -> ExecutorName:
    """What is to run a function: as ``executor`` says, if it can. Raises `InvalidOption`."""
    native: ExecutorName = "async" if inspect.iscoroutinefunction(function) else "thread"
    if executor is None or executor in (native, "process"):
        return executor or native
    if executor == "async":
        raise InvalidOption(f"task {task!r}: executor='async' needs an `async def`; a `def` would stop the event loop")
    if executor == "thread":
        raise InvalidOption(f"task {task!r}: executor='thread' needs a `def`; an `async def` needs an event loop")
    raise InvalidOption(f"task {task!r}: executor={executor!r}: expected 'async', 'thread' or 'process'")


def check_aliases(aliases: Iterable[str]) -> tuple[str, ...]:
    """Check other names of a task."""
    if isinstance(aliases, str):
        raise InvalidName(f"aliases={aliases!r}: expected a list of names, such as [{aliases!r}]")
    return tuple(check_task(alias) for alias in aliases)


def unknown(name: str, known: Collection[str]) -> UnknownTask:
    """The error for a name that nobody registered, with the nearest one that somebody did."""
    import difflib

    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"registered are {_listed(known)}"
    return UnknownTask(f"no task {ascii(name)[:200]} is registered; {hint}")


def _listed(known: Collection[str]) -> str:
    names = sorted(known)
    return ", ".join(names[:10]) + (", ..." if len(names) > 10 else "") if names else "none"
