"""Looks after what no single job's life covers: dead sessions, due jobs, edges behind cursors, old jobs.

It runs in every worker. The duty (given by `renew` to one session at a time) only decides who does the work that one is
enough for; every verb is safe for several callers at once, and whoever has no duty still looks for dead sessions, and
now and then for due jobs, so that nothing waits for long when the one on duty dies.
"""

from __future__ import annotations

import asyncio
import logging
import time

from windlass.core.clock import SECOND
from windlass.core.errors import StoreError
from windlass.core.model import MAX_BATCH, SessionSign
from windlass.engine.counts import Counts
from windlass.engine.leases import Watch
from windlass.engine.signals import Signals
from windlass.store.port import Store

log = logging.getLogger("windlass.engine")

PURGE_EVERY = 30.0
"""Seconds between purges, by the worker on duty."""
WITHOUT_DUTY = 4
"""Ticks between looks for due jobs by a worker without the duty."""


class Janitor:
    """The janitor of one worker; `run` is its loop."""

    def __init__(self, store: Store, signals: Signals, counts: Counts | None = None) -> None:
        self._store = store
        self._signals = signals
        self._counts = counts
        self._watch = Watch(store.settings.lease)
        self._tick = store.settings.lease / SECOND * 2 / 9
        """2 s of a lease of 9."""
        self._wake = asyncio.Event()
        self._edges = False
        self._next_due = float("inf")
        self._next_tick = 0.0
        self._next_purge = time.monotonic() + PURGE_EVERY
        self._ticks = 0
        self.on_duty = False

    def take_duty(self, duty: bool) -> None:
        """Hear whether this worker has the duty."""
        if duty and not self.on_duty:
            self._wake.set()
        self.on_duty = duty

    def edges_waiting(self) -> None:
        """Hear that a settle left edges behind a cursor."""
        self._edges = True
        self._wake.set()

    def schedule_changed(self) -> None:
        """Hear that a job became due earlier than any before."""
        self._next_due = 0.0
        self._wake.set()

    async def run(self) -> None:
        """Work for ever."""
        subscription = self._store.subscribe(["scheduled"], self.schedule_changed)
        try:
            while True:
                try:
                    await self._round()
                except StoreError as error:
                    log.warning("the janitor cannot reach the store: %s", error)
                    self._next_tick = time.monotonic() + self._tick
                    self._next_due = float("inf")
                await self._pause()
        finally:
            subscription.close()

    async def _pause(self) -> None:
        pause = min(self._next_tick, self._next_due) - time.monotonic()
        if pause > 0 and not self._wake.is_set():
            handle = asyncio.get_running_loop().call_later(pause, self._wake.set)
            try:
                await self._wake.wait()
            finally:
                handle.cancel()
        self._wake.clear()

    async def _round(self) -> None:
        now = time.monotonic()
        tick = now >= self._next_tick
        if tick:
            self._next_tick = now + self._tick
            self._ticks += 1
            await self._reap()
        if now >= self._next_due or (tick and (self.on_duty or self._ticks % WITHOUT_DUTY == 0)):
            await self._promote()
        if self._edges or (tick and self.on_duty):
            await self._release_edges()
        if self.on_duty and now >= self._next_purge:
            self._next_purge = now + PURGE_EVERY
            await self._purge()

    async def _reap(self) -> None:
        began = time.monotonic()
        signs = await self._store.observe()
        dead = self._watch.look(signs, began)
        for start in range(0, len(dead), MAX_BATCH):
            await self._reap_some(dead[start : start + MAX_BATCH])

    async def _reap_some(self, dead: list[SessionSign]) -> None:
        more = True
        while more:
            progress = await self._store.reap(dead)
            if progress.done:
                log.warning("took back %d jobs of %d sessions that were lost", progress.done, len(dead))
                self._signals.emit("reaped", progress.done)
                if self._counts is not None:
                    self._counts.took_back(progress.done)
            more = progress.more

    async def _promote(self) -> None:
        while True:
            progress = await self._store.promote()
            if not progress.more:
                break
        self._next_due = float("inf")
        if progress.next_at is not None and self.on_duty:
            self._next_due = time.monotonic() + max(0, progress.next_at - progress.now) / SECOND

    async def _release_edges(self) -> None:
        self._edges = False
        while (await self._store.release_edges()).more:
            pass

    async def _purge(self) -> None:
        while (await self._store.purge()).more:
            pass
