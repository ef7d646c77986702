"""The promise as it stands in the README: with default settings a dead worker's jobs are back within 15 seconds."""

import asyncio
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.integration.engine_harness import enqueue, new_job, record, running, spec
from windlass.core.lifecycle import State
from windlass.store.sqlite import SQLiteStore

VICTIM = """
import asyncio, sys, threading
from windlass import App
app = App(f"sqlite:///{sys.argv[1]}")

@app.task(name="work")
def work() -> int:
    print("started", flush=True)
    threading.Event().wait()
    return 0

async def main() -> None:
    async with app.worker():
        await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.mark.timeout(60)
async def test_a_killed_workers_job_runs_again_within_fifteen_seconds(tmp_path: Path) -> None:
    path = tmp_path / "w.db"
    store = SQLiteStore(path)
    (job_id,) = await enqueue(store, new_job("work"))
    victim = subprocess.Popen([sys.executable, "-c", VICTIM, str(path)], stdout=subprocess.PIPE)  # noqa: ASYNC220
    try:
        assert victim.stdout is not None
        assert await asyncio.to_thread(victim.stdout.readline) == b"started\n"
    finally:
        victim.send_signal(signal.SIGKILL)
        await asyncio.to_thread(victim.communicate)
    died = time.monotonic()

    async def work() -> int:
        return 1

    async with running(store, spec(work)) as worker:
        await worker.signals.wait_for("settled", timeout=30)
        took = time.monotonic() - died
        job = await record(store, job_id)
    await store.aclose()
    assert took < 15
    assert (job.state, job.attempt, job.losses) == (State.SUCCEEDED, 2, 1)
