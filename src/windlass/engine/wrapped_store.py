"""A store whose verbs somebody stands around: to time them, or to make spans of them."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any

from windlass.store.port import Store

Verb = Callable[..., Awaitable[Any]]
_LIFE = frozenset({"connect", "aclose", "migrate"})
"""Coroutines of a store that are no verbs."""


class WrappedStore:
    """Another store, but for its verbs. To be cast to `Store`: it is one by what it passes on."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def around(self, name: str, verb: Verb) -> Verb:
        """What is called in a verb's place."""
        raise NotImplementedError

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        if inspect.iscoroutinefunction(found) and name not in _LIFE:
            found = self.around(name, found)
            setattr(self, name, found)
        return found
