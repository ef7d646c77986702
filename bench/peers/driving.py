"""What the drivers of all peers share. Runs in the peers' environment: nothing of this project is there."""

from __future__ import annotations

import json
import statistics
import subprocess
import time
from collections.abc import Callable

TRIPS = 200
WARM_UP = 10
PATIENCE = 120.0


def drive(
    worker: list[str],
    enqueue: Callable[[int], object],
    finished: Callable[[], int],
    round_trip: Callable[[], object],
    jobs: int,
) -> None:
    """Enqueue ``jobs`` with no worker, start one and time it from its first result to its last, then time trips."""
    began = time.perf_counter()
    enqueue(jobs)
    enqueued = jobs / (time.perf_counter() - began)
    process = subprocess.Popen(worker, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        drained = _drain(finished, jobs)
        trips = []
        for _ in range(WARM_UP + TRIPS):
            time.sleep(0.01)
            began = time.perf_counter()
            round_trip()
            trips.append((time.perf_counter() - began) * 1000)
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
    cuts = statistics.quantiles(trips[WARM_UP:], n=100, method="inclusive")
    print(json.dumps({"enqueue": enqueued, "drain": drained, "p50": cuts[49], "p99": cuts[98]}))


def _drain(finished: Callable[[], int], jobs: int) -> float:
    until = time.monotonic() + PATIENCE
    first, began = 0, 0.0
    while (count := finished()) < jobs:
        if count and not first:
            first, began = count, time.perf_counter()
        if time.monotonic() > until:
            raise SystemExit(f"only {count} of {jobs} jobs finished in {PATIENCE:.0f} s")
        time.sleep(0.005)
    return (jobs - first) / (time.perf_counter() - began) if first else float("nan")
