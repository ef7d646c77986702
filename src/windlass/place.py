"""Where a child process can find an app and its tasks: by the names of modules, or not at all."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from windlass.core.errors import UsageError
from windlass.core.task import TaskSpec
from windlass.engine.process_pool.place import Place
from windlass.registry import real_module

_ADVICE = "move it to a module that can be imported, or run it with executor='thread'"


def find_place(app: object, specs: Iterable[TaskSpec], known_as: str | None = None) -> Place | None:
    """Say which modules a child imports to have these tasks, and where the app is in them; ``None`` if none of them
    needs a process.

    Args:
        app: the app.
        specs: its tasks.
        known_as: ``module:attribute``, if somebody named it so.

    Raises `UsageError` where no other process could import them: they are in a notebook, in what was typed at a prompt,
    or in an app that no module holds.
    """
    homes: dict[str, str] = {}
    """Module to the first of its tasks."""
    for spec in specs:
        if spec.executor == "process":
            homes.setdefault(spec.function.__module__, spec.name)
    if not homes:
        return None
    task = next(iter(homes.values()))
    holder, _, attribute = (known_as or _find_holder(app, homes, task)).partition(":")
    modules = [_importable(holder, task), *(_importable(module, task) for module, task in homes.items())]
    return Place(tuple(dict.fromkeys(modules)), attribute)


def _find_holder(app: object, homes: Iterable[str], task: str) -> str:
    """Find a module with the app in it: those of the tasks first, then any."""
    for name in [*homes, *sys.modules]:
        module = sys.modules.get(name)
        for attribute, value in list(getattr(module, "__dict__", {}).items()):
            if value is app:
                return f"{name}:{attribute}"
    raise UsageError(
        f"task {task!r} wants a process, but no module holds its app: a child process imports a module and takes the "
        "app from one of its attributes, such as `app = App(...)` at the module's top level"
    )


def _importable(module: str, task: str) -> str:
    """The name under which another process can import a module. Raises `UsageError` if there is none."""
    name = real_module(module)
    if name == "__main__":
        raise UsageError(
            f"task {task!r} wants a process, but is defined where no other process can import it: in a notebook, or at "
            f"a prompt; {_ADVICE}"
        )
    if not _is_found(module, name):
        raise UsageError(f"task {task!r} wants a process, but module {name!r} cannot be imported there; {_ADVICE}")
    return name


def _is_found(module: str, name: str) -> bool:
    """Whether a module that is here as ``module`` can be imported by ``name``."""
    if module != "__main__":
        return getattr(sys.modules.get(module), "__spec__", None) is not None
    from importlib.util import find_spec  # here: few apps need it

    try:
        return find_spec(name) is not None
    except (ImportError, ValueError):
        return False
