"""What an idle deployment costs: a supervisor with one worker that waits for jobs."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from pathlib import Path

from bench import deployment
from bench.figure import Aim, Group, Metric, Probe
from bench.processes import cpu_percent, family, proportional_mib

SETTLE = 2.0
"""Seconds until nothing of the start goes on any more."""


def ours(folder: Path, *, seconds: float) -> dict[str, float]:
    """CPU and memory of ``windlass worker`` that has run one job and waits."""
    deployment.use(folder)
    with deployment.worker(folder) as process:
        # The producer is a process of its own and gone by now: nobody here shares the libraries' pages with the worker.
        subprocess.run([sys.executable, "-m", "bench.idle"], check=True)
        return _watch(process.pid, seconds)


def floor(folder: Path, *, seconds: float) -> dict[str, float]:
    """The same by hand: a parent that waits, a worker that looks each second and renews each third."""
    with subprocess.Popen([sys.executable, "-m", "bench.floors.idle_parent", str(folder)]) as process:
        try:
            return _watch(process.pid, seconds)
        finally:
            for pid in reversed(family(process.pid)):
                subprocess.run(["kill", "-9", str(pid)], check=True)


def _watch(pid: int, seconds: float) -> dict[str, float]:
    time.sleep(SETTLE)
    pids = family(pid)
    assert len(pids) == 2, f"expected a supervisor and one worker, found {len(pids)} processes"
    return {"cpu": cpu_percent(pids, seconds), "memory": proportional_mib(pids)}


async def _one_job() -> None:
    from bench.app import add, app

    job = await add.enqueue(1, 2)
    assert await job.result(timeout=30) == 3
    await app.aclose()


GROUPS = [
    Group(
        name="idle",
        store="sqlite",
        metrics=(
            Metric("cpu", "idle CPU", "% of a core", Aim(at_most=1.0)),
            Metric("memory", "idle memory (PSS)", "MiB", Aim(at_most=35.0)),
        ),
        ours=Probe("bench.idle:ours"),
        floor=Probe("bench.idle:floor"),
        scale={"seconds": 10.0},
        quick={"seconds": 2.0},
    )
]

if __name__ == "__main__":
    asyncio.run(_one_job())
