"""Renews the lease from a thread of its own, with a connection of its own, so that a blocked loop is not robbed."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from windlass.core.clock import SECOND
from windlass.core.errors import SchemaMismatch, StoreError
from windlass.core.model import Renewal
from windlass.engine.holding import Holding
from windlass.engine.lag import LoopWatch
from windlass.store.port import Store

log = logging.getLogger("windlass.engine")

PAUSE_AFTER_FAILURE = 1.0
"""Seconds; less than any lease, so that a failure that passes costs no lease."""


@dataclass(frozen=True, slots=True)
class Pulse:
    """One renewal, sent."""

    holding: Holding
    held: dict[bytes, int]
    """What it named as held: id to token."""
    sent_at: float
    """Monotonic time just before it was sent: the lease counts from here."""
    renewal: Renewal | None
    """The answer; ``None`` if there was none."""
    mismatch: SchemaMismatch | None = None
    """There will be none any more: the store was migrated to another version of Windlass."""


class Heartbeat:
    """One renewal each third of a lease, until stopped or until `is_lost` says why; it also sees to the ``watch``.

    ``on_renewal`` is called on the worker's loop after each renewal.
    """

    def __init__(
        self,
        store: Store,
        holding: Callable[[], Holding],
        watch: LoopWatch,
        *,
        on_renewal: Callable[[Pulse], None],
        is_lost: Callable[[float], str | None],
        on_hung: Callable[[], None],
    ) -> None:
        self._origin = store
        self._lease = store.settings.lease / SECOND
        self._holding = holding
        self._on_renewal = on_renewal
        self._is_lost = is_lost
        self._on_hung = on_hung
        self._watch = watch
        self._worker_loop = asyncio.get_running_loop()
        self._own_loop: asyncio.AbstractEventLoop | None = None
        self._poked = asyncio.Event()
        self._stopping = False
        self.answered_at = time.monotonic()
        """When the last renewal that the store answered was sent; at first, when this was made."""
        self._thread = threading.Thread(target=self._run, name="windlass-heartbeat", daemon=True)
        self.ended = asyncio.Event()

    def start(self) -> None:
        """Send the first renewal now."""
        self._thread.start()

    def poke(self) -> None:
        """Renew now: a cancel request or a command waits in the store. Callable from any thread."""
        if self._own_loop is not None:
            try:
                self._own_loop.call_soon_threadsafe(self._poked.set)
            except RuntimeError:
                pass  # its loop has ended already

    async def stop(self) -> None:
        """End the thread and wait for it. Idempotent."""
        self._stopping = True
        self.poke()
        if self._thread.ident is not None:
            await self.ended.wait()

    def _run(self) -> None:
        try:
            while not self._stopping:
                try:
                    return asyncio.run(self._renew_for_ever())
                except Exception:
                    log.exception("the heartbeat failed; it starts again in %g s", PAUSE_AFTER_FAILURE)
                    time.sleep(PAUSE_AFTER_FAILURE)
        finally:
            try:
                self._worker_loop.call_soon_threadsafe(self.ended.set)
            except RuntimeError:
                pass  # the worker's loop is closed: nobody waits

    async def _renew_for_ever(self) -> None:
        self._own_loop = asyncio.get_running_loop()
        store = self._origin.twin()
        looking = self._own_loop.create_task(self._look_at_loop())
        try:
            while not self._stopping:
                if (why := self._is_lost(time.monotonic())) is not None:
                    log.error("%s: the lease is given up", why)
                    self._on_hung()
                    return
                await self._renew(store)
                await self._pause()
        finally:
            looking.cancel()
            await store.aclose()

    async def _look_at_loop(self) -> None:
        while True:
            try:
                self._watch.look()
            except Exception:
                log.exception("the event loop could not be watched")
            await asyncio.sleep(self._watch.pause)

    async def _renew(self, store: Store) -> None:
        holding = self._holding()
        answered, held = holding.snapshot()
        sent_at = time.monotonic()
        renewal: Renewal | None = None
        mismatch: SchemaMismatch | None = None
        try:
            # Waiting longer would not help: the lease counts from the sending.
            renewal = await asyncio.wait_for(store.renew(holding.session, held, answered), self._lease)
            self.answered_at = sent_at
        except SchemaMismatch as error:
            mismatch = error
        except StoreError as error:
            log.warning("the lease could not be renewed: %s", error)
        except TimeoutError:
            log.warning("the lease could not be renewed: the store has not answered for %g s", self._lease)
        except Exception:
            log.exception("the lease could not be renewed")
        pulse = Pulse(holding, dict(held), sent_at, renewal, mismatch)
        self._worker_loop.call_soon_threadsafe(self._on_renewal, pulse)

    async def _pause(self) -> None:
        try:
            await asyncio.wait_for(self._poked.wait(), self._lease / 3)
        except TimeoutError:
            return
        self._poked.clear()
