"""What a worker is told about its child processes."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from windlass.core.errors import InvalidOption
from windlass.core.model import MAX_BATCH

LEAST_MEMORY = 16 * 1024 * 1024
"""Bytes: less than any interpreter needs, so that a number of another unit is noticed."""


def usable_cores() -> int:
    """How many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildProcesses:
    """How the child processes of one worker run. Sizes are bytes; ``None``: no limit.

    Raises `InvalidOption` for an impossible value.
    """

    slots: int = field(default_factory=usable_cores)
    """Attempts that run in child processes at once, beside those that the worker runs itself; as many as there are
    processors, unless said otherwise. So many processes are started at most, when there is work for them."""
    max_jobs: int | None = None
    """Attempts after which a child is replaced by a fresh one."""
    max_memory: int | None = None
    """Resident memory beyond which a child is replaced, looked at when an attempt has ended."""
    memory_limit: int | None = None
    """Address space that a child may have; beyond it, task code gets a ``MemoryError``."""
    log_level: str | None = None
    """Log records of task code from this level on go to the job's log; ``None``: as the app configures it."""

    def __post_init__(self) -> None:
        if not 1 <= self.slots <= MAX_BATCH:
            raise InvalidOption(f"slots={self.slots!r}: expected 1 to {MAX_BATCH}")
        if self.max_jobs is not None and self.max_jobs < 1:
            raise InvalidOption(f"max_jobs={self.max_jobs!r}: expected 1 or more")
        for name, size in (("max_memory", self.max_memory), ("memory_limit", self.memory_limit)):
            if size is not None and size < LEAST_MEMORY:
                raise InvalidOption(f"{name}={size!r}: expected bytes, at least {LEAST_MEMORY} (16 MiB)")
