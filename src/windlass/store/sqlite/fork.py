"""Surviving a fork with the database open.

A process that forks shares its connections, locks and threads with a child that has none of the threads. The child
must not touch the inherited connections: even closing one would undo what the parent relies on. So it keeps them,
for ever and unused, and opens its own when it needs one.

One danger is left. SQLite keeps an account of the file locks of *its process*, inherits it with everything else, and so
does not take for the child what it believes to have: the shared locks that tell others that somebody uses the file.
The last other process to close it would take itself for the last one at all, and remove the log that the child
writes to. The child therefore takes these two locks itself. Their places are part of SQLite's file format.
"""

from __future__ import annotations

import fcntl
import os
import select
import sqlite3
import threading
import weakref
from collections.abc import Sequence
from typing import Protocol

_SHARED_FIRST, _SHARED_SIZE = 0x4000_0002, 510
"""The bytes of the database file that everybody who uses it has locked for reading."""
_IN_USE = 128
"""The byte of the -shm file that does the same for the write-ahead log."""


class _Thread(Protocol):
    gate: threading.Lock

    def inherited(self) -> sqlite3.Connection | None: ...


class Protected(Protocol):
    """A store, as a fork sees it."""

    @property
    def path(self) -> str: ...
    def threads(self) -> Sequence[_Thread]: ...
    def drop_inherited(self) -> None: ...


_CHILD_PATIENCE = 5_000
"""Milliseconds that a parent waits for its child to have the locks."""

_stores: weakref.WeakSet[Protected] = weakref.WeakSet()
_kept: list[object] = []
"""What a child inherited, out of the reach of the garbage collector, which would close it."""


class _Fork:
    """One fork at a time."""

    def __init__(self) -> None:
        self.turn = threading.Lock()
        self.gates: list[threading.Lock] = []
        self.pipe: tuple[int, int] | None = None


_fork = _Fork()


def protect(store: Protected) -> None:
    """Have a store survive forks of its process."""
    _stores.add(store)


def _before() -> None:
    _fork.turn.acquire()
    # Whoever is inside SQLite holds mutexes that nobody would ever release in the child.
    for store in list(_stores):
        for thread in store.threads():
            thread.gate.acquire()
            _fork.gates.append(thread.gate)
    if _fork.gates:
        _fork.pipe = os.pipe()


def _after_in_parent() -> None:
    pipe, _fork.pipe = _fork.pipe, None
    if pipe is not None:
        reading, writing = pipe
        os.close(writing)
        # The child must have its locks before we could let go of ours.
        poll = select.poll()
        poll.register(reading, select.POLLHUP)
        poll.poll(_CHILD_PATIENCE)
        os.close(reading)
    while _fork.gates:
        _fork.gates.pop().release()
    _fork.turn.release()


def _after_in_child() -> None:
    global _fork  # noqa: PLW0603 - the parent's may be in any state
    pipe = _fork.pipe
    _fork = _Fork()
    for store in list(_stores):
        connections = [thread.inherited() for thread in store.threads()]
        _kept.extend(store.threads())
        if any(connection is not None for connection in connections):
            _lock_shared(store.path, _SHARED_FIRST, _SHARED_SIZE)
            _lock_shared(f"{store.path}-shm", _IN_USE, 1)
        store.drop_inherited()
    if pipe is not None:
        reading, writing = pipe
        os.close(reading)
        # Closing tells the parent, and unlike writing cannot fail if that has died.
        os.close(writing)


def _lock_shared(path: str, start: int, length: int) -> None:
    """Lock these bytes for reading until the process ends."""
    try:
        # Never closed: closing any descriptor of a file gives up all of a process's locks on it.
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        fcntl.lockf(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB, length, start)
    except OSError:
        # The parent will find this out in the same way when it next uses the file.
        pass


os.register_at_fork(before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child)
