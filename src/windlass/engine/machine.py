"""What this machine, or the part of it that this process may use, has to offer."""

from __future__ import annotations

import os
from collections.abc import Iterable

from windlass.core.requirements import Amount, Offer, Resources
from windlass.engine.process_pool.config import usable_cores

_CGROUPS = "/sys/fs/cgroup"
_MIB = 1024 * 1024


def offer(resources: Resources | None, labels: Iterable[str], share: int = 1) -> Offer:
    """What a worker has: what is said, and what is found out beside that. Raises `InvalidOption`."""
    said = Offer.of(resources or {}, labels)
    found = Offer.of(detected(share))
    return Offer({**found.amounts, **said.amounts}, said.labels)


def detected(share: int = 1) -> dict[str, Amount]:
    """Processors and memory, as far as the system and a container's limits tell; a ``share``-th part of each."""
    found: dict[str, Amount] = {"cpu": round(_processors() / share, 3)}
    memory = _memory()
    if memory is not None:
        found["memory"] = memory // share // _MIB * _MIB
    return found


def _processors() -> float:
    cores = float(usable_cores())
    quota, _, period = _read("cpu.max").partition(" ")
    return min(cores, int(quota) / int(period)) if quota.isdigit() and period.isdigit() else cores


def _memory() -> int | None:
    sizes = [int(text) for text in (_read("memory.max"), _read("memory/memory.limit_in_bytes")) if text.isdigit()]
    try:
        sizes.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (ValueError, OSError):
        pass
    return min(sizes, default=None)


def _read(name: str) -> str:
    try:
        with open(f"{_CGROUPS}/{name}") as file:  # noqa: PTH123 - pathlib is slow to import
            return file.read().strip()
    except OSError:
        return ""
