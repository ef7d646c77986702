"""What it costs to replace worker processes all the time: the drain of `bench.drain`, with and without."""

from __future__ import annotations

from pathlib import Path

from bench import drain
from bench.figure import Aim, Group, Metric, Probe


def recycled(folder: Path, *, jobs: int, every: int) -> dict[str, float]:
    """Jobs per second of a worker whose process is replaced after each ``every`` jobs."""
    found = drain.sqlite(folder, jobs=jobs, options=("--recycle-jobs", str(every)))
    replaced = (folder / "worker.log").read_text().count("takes the place of")
    return {**found, "replaced": replaced}


def kept(folder: Path, *, jobs: int, every: int) -> dict[str, float]:
    """The same with one process for all of them."""
    del every
    return drain.sqlite(folder, jobs=jobs)


GROUPS = [
    Group(
        name="recycle",
        store="sqlite",
        metrics=(
            Metric("drain", "drain, a new process each 20 k jobs", "jobs/s", Aim(share=0.95)),
            Metric("replaced", "processes replaced", ""),
        ),
        ours=Probe("bench.recycle:recycled"),
        reference=Probe("bench.recycle:kept"),
        scale={"jobs": 200_000, "every": 20_000},
        quick={"jobs": 5_000, "every": 1_000},
    )
]
