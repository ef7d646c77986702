"""How well waiting overlaps: 5,000 sleeps of 0.1 s in 1,000 slots, half a second at best."""

from __future__ import annotations

import asyncio
from pathlib import Path

import uvloop

from bench import deployment
from bench.figure import Aim, Group, Metric, Probe

PATIENCE = 60.0


def ours(folder: Path, *, jobs: int, slots: int, pause: float) -> dict[str, float]:
    """Seconds from the first claim to the last end, in a real worker process, by the store's clock."""
    return {"sleepers": uvloop.run(_ours(folder, jobs, slots, pause))}


async def _ours(folder: Path, jobs: int, slots: int, pause: float) -> float:
    url = deployment.use(folder)
    from bench.app import app, sleep
    from windlass.core.ids import from_text

    enqueued = await asyncio.gather(*(sleep.enqueue(pause) for _ in range(jobs)))
    with deployment.worker(folder, "--concurrency", str(slots)):
        await asyncio.gather(*(job.result(timeout=PATIENCE) for job in enqueued[-slots:]))
    store = deployment.store(url)
    ids = [from_text(str(job.id)) for job in enqueued]
    records = [record for at in range(0, jobs, 1000) for record in await store.get_jobs(ids[at : at + 1000])]
    began = min(record.started_at or 0 for record in records if record is not None)
    ended = max(record.finished_at or 0 for record in records if record is not None)
    assert all(record is not None and record.state.name == "SUCCEEDED" for record in records)
    await store.aclose()
    await app.aclose()
    return (ended - began) / 1e6


GROUPS = [
    Group(
        name="sleepers",
        store="sqlite",
        metrics=(Metric("sleepers", "sleepers", "s", Aim(at_most=0.75)),),
        ours=Probe("bench.sleepers:ours"),
        floor=Probe("bench.floors.queue:sleepers", {"floor": "promises"}),
        reference=Probe("bench.floors.queue:sleepers", {"floor": "rowid"}),
        scale={"jobs": 5_000, "slots": 1_000, "pause": 0.1},
        quick={"jobs": 500, "slots": 100},
    )
]
