"""What it costs to be watched: by Prometheus, and by tracing, outside of traces and where the sampler wants none.

Beside a worker that is not watched, or beside one that is traced by hand: what is left then is ours, not the SDK's.
"""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from bench import drain, enqueue
from bench.figure import Aim, Group, Metric, Probe

if TYPE_CHECKING:
    from opentelemetry.trace import Span


def counted_drain(folder: Path, *, jobs: int) -> dict[str, float]:
    """Jobs per second of a worker that counts what it does."""
    return drain.sqlite(folder, jobs=jobs, options=("--health", "127.0.0.1:0", "--metrics"))


def traced_drain(folder: Path, *, jobs: int, sampler: str = "out") -> dict[str, float]:
    """Jobs per second of a worker that traces. ``sampler``: ``out``: no trace is recorded; ``all``: each is; ``hand``:
    none is, and the SDK's calls are made by a `bench.traced_by_hand.ByHand`."""
    os.environ["BENCH_TRACING"] = sampler
    return drain.sqlite(folder, jobs=jobs)


def watched_drain(folder: Path, *, jobs: int) -> dict[str, float]:
    """Jobs per second of a worker that counts, and traces; no trace is recorded."""
    os.environ["BENCH_TRACING"] = "out"
    return counted_drain(folder, jobs=jobs)


def unsampled_drain(folder: Path, *, jobs: int) -> dict[str, float]:
    """Jobs per second of a worker that traces, of jobs that were enqueued within a trace that is not sampled."""
    with _unsampled():
        return traced_drain(folder, jobs=jobs)


def busy_drain(folder: Path, *, jobs: int, watched: bool = True) -> dict[str, float]:
    """Jobs per second where each keeps the processor for 0.5 ms; ``watched``: counted, and traced as above."""
    os.environ["BENCH_BUSY"] = "0.0005"
    return watched_drain(folder, jobs=jobs) if watched else drain.sqlite(folder, jobs=jobs)


def traced_bulk(folder: Path, *, jobs: int) -> dict[str, float]:
    """Jobs per second of `App.enqueue_many` with tracing, outside of any trace."""
    os.environ["BENCH_TRACING"] = "all"
    return enqueue.bulk(folder, jobs=jobs)


def unsampled_bulk(folder: Path, *, jobs: int) -> dict[str, float]:
    """The same within a trace that is not sampled."""
    os.environ["BENCH_TRACING"] = "out"
    with _unsampled():
        return enqueue.bulk(folder, jobs=jobs)


def _unsampled() -> AbstractContextManager[Span]:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

    return TracerProvider(sampler=ALWAYS_OFF).get_tracer("bench").start_as_current_span("request")


_UNWATCHED = Probe("bench.drain:sqlite")
_BY_HAND = Probe("bench.watched:traced_drain", {"sampler": "hand"})


def _group(name: str, metric: Metric, ours: Probe, reference: Probe) -> Group:
    return Group(
        name=name,
        store="sqlite",
        metrics=(metric,),
        ours=ours,
        reference=reference,
        scale={"jobs": 80_000},
        quick={"jobs": 5_000},
    )


GROUPS = [
    _group(
        "counted-drain",
        Metric("drain", "drain, --metrics", "jobs/s", Aim(share=0.95)),
        Probe("bench.watched:counted_drain"),
        _UNWATCHED,
    ),
    _group(
        "traced-drain",
        Metric("drain", "drain, traces sampled out", "jobs/s", Aim(share=0.95)),
        Probe("bench.watched:traced_drain"),
        _UNWATCHED,
    ),
    _group(
        "traced-hooks",
        Metric("drain", "drain, traces sampled out, beside the SDK's calls by hand", "jobs/s", Aim(share=0.95)),
        Probe("bench.watched:traced_drain"),
        _BY_HAND,
    ),
    _group(
        "watched-hooks",
        Metric("drain", "the same with --metrics, beside the same", "jobs/s", Aim(share=0.95)),
        Probe("bench.watched:watched_drain"),
        _BY_HAND,
    ),
    _group(
        "unsampled-drain",
        Metric("drain", "drain, jobs of an unsampled trace", "jobs/s"),
        Probe("bench.watched:unsampled_drain"),
        _UNWATCHED,
    ),
    Group(
        name="busy-drain",
        store="sqlite",
        metrics=(Metric("drain", "drain of 0.5 ms, both", "jobs/s", Aim(share=0.95)),),
        ours=Probe("bench.watched:busy_drain"),
        reference=Probe("bench.watched:busy_drain", {"watched": False}),
        scale={"jobs": 10_000},
        quick={"jobs": 1_000},
    ),
    _group(
        "traced-drain-all",
        Metric("drain", "drain, each trace recorded", "jobs/s"),
        Probe("bench.watched:traced_drain", {"sampler": "all"}),
        _UNWATCHED,
    ),
    _group(
        "traced-bulk",
        Metric("bulk", "enqueue_many, on, outside of traces", "jobs/s", Aim(share=0.95)),
        Probe("bench.watched:traced_bulk"),
        Probe("bench.enqueue:bulk"),
    ),
    _group(
        "unsampled-bulk",
        Metric("bulk", "enqueue_many, in an unsampled trace", "jobs/s"),
        Probe("bench.watched:unsampled_bulk"),
        Probe("bench.enqueue:bulk"),
    ),
]
