"""Carries outcomes to the store and jobs back, in one trip after the other.

There is one trip under way at a time and no timer: whatever ends while a trip is under way goes with the next one. At
idle a job waits for nothing; under load the batches grow by themselves.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable

from windlass.core.errors import StoreError
from windlass.core.ids import to_text
from windlass.core.lifecycle import Outcome
from windlass.core.model import (
    MAX_BATCH,
    MAX_CALL_BYTES,
    MAX_LOG,
    ClaimAnswer,
    ClaimedJob,
    ClaimRequest,
    Note,
    Refusal,
    Settled,
    Settlement,
)
from windlass.engine.deaths import note_settlements, note_suspects
from windlass.engine.holding import Holding
from windlass.engine.signals import Signals
from windlass.store.port import JobStore, Store

log = logging.getLogger("windlass.engine")

FIRST_BACK_OFF = 0.05
LONGEST_BACK_OFF = 2.0
NOTE_PAUSE = 0.2
"""Seconds for which progress and log lines gather."""
_UNDELIVERABLE = Outcome.UNDELIVERABLE


class Outbox:
    """Settlements that wait for the next trip."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self.waiting: list[Settlement] = []
        self.undeliverable_at = float("-inf")
        """When a job that this worker cannot run last came here, on the monotonic clock."""
        self._wake = wake

    def add(self, settlement: Settlement) -> None:
        if settlement.outcome is _UNDELIVERABLE:
            self.undeliverable_at = time.monotonic()
        self.waiting.append(settlement)
        self._wake()

    def next_batch(self) -> list[Settlement]:
        """The first of them, bounded in number and bytes, each of another job; one always comes."""
        batch = self.waiting[:MAX_BATCH]
        if len({settlement.id for settlement in batch}) < len(batch):
            self._drop_repeated()
            batch = self.waiting[:MAX_BATCH]
        size = 0
        for count, settlement in enumerate(batch):
            size += len(settlement.result or b"") + len(settlement.error or b"")
            if size > MAX_CALL_BYTES and count:
                return batch[:count]
        return batch

    def _drop_repeated(self) -> None:
        """Keep one settlement of each job: of its newest claim, of those the first. No attempt should end twice; but
        a batch that names a job twice is refused by every store, and would hold up for ever all that comes after it."""
        kept: dict[bytes, Settlement] = {}
        for settlement in self.waiting:
            first = kept.setdefault(settlement.id, settlement)
            if first is not settlement:
                both = f"{first.outcome.name} (token {first.token}) and {settlement.outcome.name} ({settlement.token})"
                log.error("job %s ended twice in this worker: %s; please report this", to_text(settlement.id), both)
                if settlement.token > first.token:
                    kept[settlement.id] = settlement
        self.waiting[:] = kept.values()


class Notes:
    """Progress and log lines that wait for the next trip; the latest progress of a job wins."""

    def __init__(self, store: JobStore, wake: Callable[[], None]) -> None:
        self._store = store
        self._wake = wake
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._waiting: dict[tuple[bytes, int], Note] = {}
        self.due = False
        """They have gathered for long enough."""

    def note(self, job: ClaimedJob, *, progress: float | None, message: str | None, log: str) -> None:
        """Keep it for the next trip. Callable from any thread."""
        key = (job.id, job.token)
        with self._lock:
            first = not self._waiting
            old = self._waiting.get(key)
            if old is not None:
                progress = old.progress if progress is None else progress
                message = old.message if message is None else message
                log = (old.log + log)[-MAX_LOG:]
            self._waiting[key] = Note(job.id, job.token, progress, message, log)
        if first:
            self._loop.call_soon_threadsafe(self._loop.call_later, NOTE_PAUSE, self._ripen)

    def _ripen(self) -> None:
        self.due = True
        self._wake()

    async def send(self, session: bytes) -> None:
        """Send what has gathered; if the store is away, or refuses them, they are lost, which a note may be."""
        with self._lock:
            batch, self._waiting = list(self._waiting.values()), {}
        self.due = False
        for start in range(0, len(batch), MAX_BATCH):
            try:
                await self._store.annotate(session, batch[start : start + MAX_BATCH])
            except StoreError:
                raise
            except Exception:
                log.exception("%d notes were refused by the store", len(batch))

    def __bool__(self) -> bool:
        return bool(self._waiting)


class Pump:
    """The trips of one worker."""

    def __init__(
        self,
        store: Store,
        holding: Callable[[], Holding],
        next_claim: Callable[[], ClaimRequest | None],
        signals: Signals,
        *,
        note_deaths: bool = False,
    ) -> None:
        self._store = store
        self._note_deaths = note_deaths
        self._holding = holding
        self._next_claim = next_claim
        self._signals = signals
        self.outbox = Outbox(self.wake)
        self.notes = Notes(store, self.wake)
        self._wake = asyncio.Event()
        self._repeats = False
        """The last trip failed: what is in the outbox may have reached the store."""
        self._back_off = FIRST_BACK_OFF
        self.last_trip_at = time.monotonic()
        """When a trip last ended well, on the monotonic clock; one with nothing to carry does so at once."""
        self.claimed_at = 0.0
        """When the store last answered a claim."""
        self.settled = 0
        """How many attempts have ended, all told."""
        self.take: Callable[[list[ClaimedJob]], None] = lambda _: None
        """Called with the jobs that a claim brought."""
        self.heard: Callable[[list[Settlement], list[Settled]], None] = lambda _, __: None
        """Called with what the store has heard, and its answers."""
        self.more_edges: Callable[[], None] = lambda: None
        """Called when a settle left edges behind a cursor."""

    def wake(self) -> None:
        """Let the next trip start."""
        self._wake.set()

    async def sleep(self, timeout: float) -> bool:
        """Wait for `wake`, or for ``timeout`` seconds; say whether the time ran out."""
        wake = self._wake
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout
        if not wake.is_set():
            handle = loop.call_at(until, wake.set)
            try:
                await wake.wait()
            finally:
                handle.cancel()
        wake.clear()
        return loop.time() >= until

    async def trip(self) -> ClaimAnswer | None:
        """Make one trip, if there is anything to carry. Returns the answer to the claim, if there was one.

        A store that is away is waited for: the outcomes stay in the outbox and go again, a claim whose answer was lost
        is unclaimed first. Nothing is raised for it.
        """
        holding = self._holding()
        try:
            if self.notes and (self.notes.due or self.outbox.waiting):
                await self.notes.send(holding.session)
            if holding.unanswered is not None:
                await self._unclaim(holding)
            answer = await self._carry(holding)
        except StoreError as error:
            log.warning("the store does not answer (%s); trying again in %.2f s", error, self._back_off)
            self._signals.emit("store-away")
            self._repeats = True
            await asyncio.sleep(self._back_off)
            self._back_off = min(self._back_off * 2, LONGEST_BACK_OFF)
            self._wake.set()
            return None
        self._back_off = FIRST_BACK_OFF
        self.last_trip_at = time.monotonic()
        return answer

    async def _unclaim(self, holding: Holding) -> None:
        assert holding.unanswered is not None
        await self._store.unclaim(holding.session, holding.unanswered)
        holding.answered = holding.unanswered
        holding.unanswered = None
        self._signals.emit("unclaimed")

    async def _carry(self, holding: Holding) -> ClaimAnswer | None:
        batch = self.outbox.next_batch()
        repeats, self._repeats = self._repeats and bool(batch), False
        # With a settle that is repeated goes no claim: that follows at once, in a trip of its own.
        claim = None if repeats else self._next_claim()
        if repeats:
            self._wake.set()
        if not batch and claim is None:
            return None
        if claim is not None:
            holding.unanswered = claim.number
        if batch:
            if self._note_deaths:
                await note_settlements(self._store, batch)
            result = await self._store.settle(holding.session, batch, claim)
            del self.outbox.waiting[: len(batch)]
            self._settled(holding, batch, result.answers)
            if result.more_edges:
                self.more_edges()
            answer = result.claim
        else:
            assert claim is not None
            answer = await self._store.claim(holding.session, claim)
        if claim is not None and answer is not None:
            if self._note_deaths and claim.alone:
                await note_suspects(self._store, answer.jobs)
            self._claimed(holding, claim, answer)
        return answer

    def _settled(self, holding: Holding, batch: list[Settlement], answers: list[Settled]) -> None:
        held = holding.held
        for settlement in batch:
            if held.get(settlement.id) == settlement.token:
                del held[settlement.id]
        self.settled += len(batch)
        self.heard(batch, answers)
        self._signals.emit("settled", len(batch))
        log_lost(batch, answers)

    def _claimed(self, holding: Holding, claim: ClaimRequest, answer: ClaimAnswer) -> None:
        self.claimed_at = time.monotonic()
        jobs = answer.jobs
        for job in jobs:
            holding.held[job.id] = job.token
        holding.unanswered = None
        if answer.refused is not Refusal.STALE_REQUEST:
            holding.answered = claim.number
        if jobs:
            self._signals.emit("claimed", len(jobs))
            self.take(jobs)


def log_lost(batch: list[Settlement], answers: list[Settled]) -> None:
    """Say which outcomes the store refused."""
    if Settled.LOST in answers:
        for settlement, answer in zip(batch, answers, strict=True):
            if answer is Settled.LOST:
                log.warning("job %s was lost: the outcome of this attempt is dropped", to_text(settlement.id))
