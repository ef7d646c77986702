"""A worker by hand that runs one job and tells when: ``python -m bench.floors.first_job FOLDER``."""

import asyncio
import sys
import time
from pathlib import Path

import uvloop

from bench.floors.layouts import Promises
from bench.floors.writer import GroupWriter, connect


async def _main(folder: Path) -> float:
    stored = Promises()
    stored.adopt(connect(folder / "floor.db"))
    writer = GroupWriter(folder / "floor.db", asyncio.get_running_loop())
    (job,) = await writer.do(lambda db: stored.claim(db, 1))
    ran_at = time.time()
    assert await writer.do(lambda db: stored.settle(db, [(b"1", job.key, job.token)])) == 1
    return ran_at


print(uvloop.run(_main(Path(sys.argv[1]))))
