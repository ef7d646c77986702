"""How long a worker takes from its command line to its first job."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from pathlib import Path

from bench import deployment
from bench.figure import Aim, Group, Metric, Probe


def ours(folder: Path) -> dict[str, float]:
    """Seconds from the start of the ``windlass worker`` process to the body of a job that waits for it."""
    deployment.use(folder)
    return {"start": asyncio.run(_ours(folder))}


async def _ours(folder: Path) -> float:
    from bench.app import app, stamp

    job = await stamp.enqueue()
    began = time.time()
    with deployment.worker(folder):
        ran_at = await job.result(timeout=30)
    await app.aclose()
    return ran_at - began


def floor(folder: Path) -> dict[str, float]:
    """The same by hand: the imports that a worker cannot do without, one claim, one job, one settle."""
    from bench.floors.layouts import layout
    from bench.floors.writer import connect

    stored = layout("promises")
    db = connect(folder / "floor.db")
    stored.create(db)
    stored.insert(db, 1, [b"{}"])
    began = time.time()
    done = subprocess.run(
        [sys.executable, "-m", "bench.floors.first_job", str(folder)], capture_output=True, text=True, check=True
    )
    return {"start": float(done.stdout) - began}


GROUPS = [
    Group(
        name="start",
        store="sqlite",
        metrics=(Metric("start", "worker start to first job", "s", Aim(at_most=0.25)),),
        ours=Probe("bench.start:ours"),
        floor=Probe("bench.start:floor"),
        rounds=5,
    )
]
