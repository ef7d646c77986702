"""Where another process finds the app: by name, since nothing but names and JSON travels."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from windlass.context import Middleware
from windlass.core.errors import UsageError
from windlass.core.task import TaskSpec


class Place(msgspec.Struct, frozen=True):
    """Modules to import, in order, and which attribute of the first one is the app."""

    modules: tuple[str, ...]
    attribute: str


class Runnable(Protocol):
    """What an app has for those who run its tasks."""

    def runnable(self) -> tuple[Mapping[str, TaskSpec], Sequence[Middleware]]: ...


loading: str | None = None
"""The module that this child process imports just now to get at its tasks."""
is_child = False
"""Whether this process is a child of a worker."""


def load(place: Place) -> tuple[Mapping[str, TaskSpec], Sequence[Middleware]]:
    """Import the app in this process. Raises whatever its modules raise, and `UsageError` if it is not there."""
    global is_child, loading  # noqa: PLW0603 - both are states of the process
    is_child = True
    imported = []
    for loading in place.modules:
        imported.append(importlib.import_module(loading))
    loading = None
    found: object = imported[0]
    for name in place.attribute.split("."):
        found = getattr(found, name, None)
    if found is None or not hasattr(found, "runnable"):
        raise UsageError(f"module {place.modules[0]!r} has no app called {place.attribute!r} in a child process")
    app: Runnable = found
    return app.runnable()


def check_no_worker_starts_here() -> None:
    """Raise `UsageError` where a module that a child imports would start a worker of its own."""
    if loading is not None:
        raise UsageError(
            f"importing {loading!r} for a child process would start a worker in it, too; put what starts the worker "
            'under `if __name__ == "__main__":`'
        )
