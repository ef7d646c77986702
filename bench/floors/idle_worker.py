"""The least of an idle worker: a loop, a writer thread, a look at the queue each second, a renewal each third."""

import asyncio
import sys
from pathlib import Path

import uvloop

from bench.floors.layouts import Promises
from bench.floors.writer import GroupWriter, connect


async def _main(folder: Path) -> None:
    stored = Promises()
    stored.create(connect(folder / "floor.db"))
    writer = GroupWriter(folder / "floor.db", asyncio.get_running_loop())
    second = 0
    while True:
        assert await writer.do(lambda db: stored.claim(db, 100)) == []
        if second % 3 == 0:
            await writer.do(lambda db: db.execute("UPDATE session SET revoked = 0").rowcount)
        second += 1
        await asyncio.sleep(1)


uvloop.run(_main(Path(sys.argv[1])))
