"""Surviving a fork with connections open: the child lets go of its copies of the sockets without a word to the server,
for whom the parent goes on, and opens its own when it needs one."""

from __future__ import annotations

import os
import weakref
from typing import Protocol


class Protected(Protocol):
    """A store, as a fork sees it."""

    def drop_inherited(self) -> object: ...


_stores: weakref.WeakSet[Protected] = weakref.WeakSet()
_kept: list[object] = []
"""What a child inherited, out of the reach of the garbage collector, which would close it by its own ways."""


def protect(store: Protected) -> None:
    """Have a store survive forks of its process."""
    _stores.add(store)


def _after_in_child() -> None:
    _kept.extend([store.drop_inherited() for store in list(_stores)])


os.register_at_fork(after_in_child=_after_in_child)
