"""Workers with different leases on one file: a deployment that changes it, or a test beside production."""

import asyncio
from pathlib import Path

from tests.integration.engine_harness import enqueue, new_job, record, running, spec
from windlass.core.clock import SECOND
from windlass.core.lifecycle import State
from windlass.core.model import Settings
from windlass.store.sqlite import SQLiteStore


async def test_a_worker_with_a_short_lease_does_not_rob_one_with_a_long_one(tmp_path: Path) -> None:
    runs: list[int] = []

    async def work() -> None:
        runs.append(1)
        await asyncio.sleep(3)

    patient = SQLiteStore(tmp_path / "w.db", Settings(lease=9 * SECOND))
    hasty = SQLiteStore(tmp_path / "w.db", Settings(lease=SECOND))
    (job_id,) = await enqueue(patient, new_job("work"))
    async with running(patient, spec(work)) as worker, running(hasty, queues={"elsewhere": 1}):
        await worker.settled(1)
        job = await record(patient, job_id)
    await patient.aclose()
    await hasty.aclose()
    assert runs == [1]
    assert (job.state, job.losses) == (State.SUCCEEDED, 0)
