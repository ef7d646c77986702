"""What processes use, as the kernel counts it."""

from __future__ import annotations

import time
from pathlib import Path

MIB = 1024 * 1024


def family(pid: int) -> list[int]:
    """The process, its children, and theirs."""
    found = [pid]
    for parent in found:
        for task in Path(f"/proc/{parent}/task").iterdir():
            found += [int(child) for child in (task / "children").read_text().split()]
    return found


def cpu_seconds(pid: int) -> float:
    """Processor time of all threads that live."""
    return sum(int((task / "schedstat").read_text().split()[0]) / 1e9 for task in Path(f"/proc/{pid}/task").iterdir())


def cpu_percent(pids: list[int], seconds: float) -> float:
    """Share of one core that they use together while we sleep."""
    before, began = sum(map(cpu_seconds, pids)), time.perf_counter()
    time.sleep(seconds)
    return (sum(map(cpu_seconds, pids)) - before) / (time.perf_counter() - began) * 100


def proportional_mib(pids: list[int]) -> float:
    """Proportional set size: private memory, and of shared pages each user's share."""
    return sum(_kib(f"/proc/{pid}/smaps_rollup", "Pss:") for pid in pids) / 1024


def resident_mib(pid: int) -> float:
    """Resident memory, shared pages in full."""
    return _kib(f"/proc/{pid}/status", "VmRSS:") / 1024


def _kib(path: str, field: str) -> int:
    for line in Path(path).read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1])
    raise ValueError(f"{path} has no {field}")
