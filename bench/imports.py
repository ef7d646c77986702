"""What ``import windlass`` costs beyond asyncio and msgspec, which every async program of the kind has."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from bench.figure import Aim, Group, Metric, Probe

TIMES = 15
_SCRIPT = """
import time
began = time.perf_counter()
import asyncio, msgspec
between = time.perf_counter()
import windlass{names}
print((time.perf_counter() - between) * 1000, (between - began) * 1000)
"""


def ours(folder: Path, *, names: str) -> dict[str, float]:
    """Milliseconds: the fastest of some fresh interpreters, since only other processes make it slower."""
    del folder
    script = _SCRIPT.format(names=names)
    runs = []
    for _ in range(TIMES):
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        runs.append([float(number) for number in done.stdout.split()])
    return {"import": min(run[0] for run in runs), "beside": min(run[1] for run in runs)}


def floor(folder: Path) -> dict[str, float]:
    """Milliseconds of asyncio and msgspec themselves."""
    return {"import": ours(folder, names="")["beside"]}


def _group(name: str, names: str, aim: Aim | None) -> Group:
    return Group(
        name=name.replace(" ", "-"),
        store="-",
        metrics=(Metric("import", name, "ms", aim),),
        ours=Probe("bench.imports:ours", {"names": names}),
        floor=Probe("bench.imports:floor"),
    )


GROUPS = [
    _group("import windlass", "", Aim(at_most=30.0)),
    _group("import App", "\nfrom windlass import App", Aim(at_most=30.0)),
]
