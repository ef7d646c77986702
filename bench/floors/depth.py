"""Floor of claim and settle with many jobs waiting: plain statements, no thread, no event loop."""

from __future__ import annotations

from pathlib import Path

from bench.floors.layouts import Ended, Promises
from bench.floors.queue import payload
from bench.floors.writer import connect


class ByHand:
    """One file with one session."""

    def __init__(self, path: Path, jobs: int, batch: int, burst: int) -> None:
        self._db = connect(path)
        self._stored = Promises()
        self._stored.create(self._db)
        self._batch, self._burst = batch, burst
        self._held: list[Ended] = []
        for first in range(0, jobs, 1000):
            self._db.execute("BEGIN IMMEDIATE")
            self._stored.insert(self._db, first, [payload(n, 1) for n in range(first, min(first + 1000, jobs))])
            self._db.execute("COMMIT")

    async def burst(self) -> int:
        """Settle what is held and claim more, some times over."""
        for _ in range(self._burst):
            self._db.execute("BEGIN IMMEDIATE")
            if self._held:
                assert self._stored.settle(self._db, self._held) == len(self._held)
            taken = self._stored.claim(self._db, self._batch)
            self._db.execute("COMMIT")
            assert len(taken) == self._batch
            self._held = [(b"3", job.key, job.token) for job in taken]
        return self._batch * self._burst
