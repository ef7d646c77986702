"""A store that fails as networks and processes do, in front of any real one.

What can go wrong between a caller and a store is little: the call never arrives, its answer is lost, it arrives
twice, it arrives late. `FaultyStore` does exactly these, call by call, as a plan says, and lets the real store do the
rest; so everything above the port can be tested against outages without a server to shoot at.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeAlias, TypeVar

from windlass.core.clock import Instant, Span
from windlass.core.documents import Document, NewDocument
from windlass.core.errors import StoreUnavailable
from windlass.core.model import (
    ClaimAnswer,
    ClaimRequest,
    Edge,
    EnqueueResult,
    NewJob,
    Note,
    Progress,
    Renewal,
    Session,
    SessionSign,
    Settings,
    Settlement,
    SettleResult,
)
from windlass.core.records import (
    Backlog,
    CancelAnswer,
    JobFilter,
    JobPage,
    JobRecord,
    JobResult,
    Limit,
    LimitScope,
    ParentRecord,
    QueueRecord,
    ReplayAnswer,
    SessionRecord,
    SkipAnswer,
)
from windlass.core.schedules import (
    DueSchedules,
    FireAnswer,
    Firing,
    NewSchedule,
    PutAnswer,
    SchedulePage,
    ScheduleRecord,
)
from windlass.store.port import Capability, Store, Subscription

T = TypeVar("T")


class Fault(Enum):
    """What goes wrong with one call."""

    NONE = "none"
    CRASH = "crash before"
    """It never arrives: `StoreUnavailable`, and nothing happened."""
    LOST = "lost answer"
    """It happens, and then `StoreUnavailable`."""
    REPEATED = "repeated"
    """It happens twice, as when its first answer was lost and it was sent again; answers what the second said."""
    LATE = "late arrival"
    """`StoreUnavailable` at once; it happens when somebody calls `FaultyStore.deliver`."""


Plan: TypeAlias = Callable[[str], Fault]
"""Asked before each call, with the verb's name."""

UNREPEATABLE = frozenset({"claim", "annotate", "settle+claim"})
"""Verbs that their contracts forbid to repeat. A settle that carries a claim is asked for as ``settle+claim``."""


class Script:
    """A plan that has its faults set one by one: each is used by the next call, then nothing goes wrong."""

    def __init__(self) -> None:
        self._next: deque[Fault] = deque()

    def then(self, *faults: Fault) -> None:
        """Append what is to happen to the calls that follow."""
        self._next.extend(faults)

    def __call__(self, _verb: str) -> Fault:
        return self._next.popleft() if self._next else Fault.NONE


class Outage:
    """A plan for a store that cannot be reached while `down` is set."""

    def __init__(self) -> None:
        self.down = False

    def __call__(self, _verb: str) -> Fault:
        return Fault.CRASH if self.down else Fault.NONE


class Dice:
    """A plan that draws: ``rates`` gives the probability of each fault; verbs in ``spare`` are left alone."""

    def __init__(self, rng: random.Random, rates: Mapping[Fault, float], *, spare: Collection[str] = ()) -> None:
        self._rng = rng
        self._rates = dict(rates)
        self._spare = frozenset(spare)

    def __call__(self, verb: str) -> Fault:
        if verb in self._spare:
            return Fault.NONE
        drawn = self._rng.random()
        for fault, rate in self._rates.items():
            drawn -= rate
            if drawn < 0:
                return Fault.NONE if fault is Fault.REPEATED and verb in UNREPEATABLE else fault
        return Fault.NONE


@dataclass(slots=True)
class Late:
    """A call that is still on its way."""

    verb: str
    act: Callable[[], Awaitable[object]] = field(repr=False)


class FaultyStore:
    """The same protocol as ``inner``, with faults as ``plan`` says. Reads cannot be late or repeated, only fail."""

    def __init__(self, inner: Store, plan: Plan) -> None:
        self.inner = inner
        self._plan = plan
        self.late: list[Late] = []
        """Calls on their way, oldest first."""

    async def deliver(self, index: int = 0) -> object:
        """Let a late call arrive; answers, or raises, what nobody waits for any more."""
        return await self.late.pop(index).act()

    async def _write(self, verb: str, act: Callable[[], Awaitable[T]]) -> T:
        fault = self._plan(verb)
        if fault is Fault.REPEATED and verb in UNREPEATABLE:
            raise ValueError(f"the plan repeats {verb}, which its contract forbids")
        if fault is Fault.LATE:
            self.late.append(Late(verb, act))
        if fault in (Fault.CRASH, Fault.LATE):
            raise StoreUnavailable(f"{verb}: injected, the call did not arrive")
        answer = await act()
        if fault is Fault.LOST:
            raise StoreUnavailable(f"{verb}: injected, the answer is lost")
        return await act() if fault is Fault.REPEATED else answer

    async def _read(self, verb: str, act: Callable[[], Awaitable[T]]) -> T:
        if self._plan(verb) in (Fault.CRASH, Fault.LOST, Fault.LATE):
            raise StoreUnavailable(f"{verb}: injected")
        return await act()

    # ------------------------------------------------------------------------------------------ producers, workers

    async def enqueue(
        self, jobs: Sequence[NewJob], edges: Sequence[Edge] = (), *, first_sent: Instant
    ) -> EnqueueResult:
        return await self._write("enqueue", lambda: self.inner.enqueue(jobs, edges, first_sent=first_sent))

    async def claim(self, session: bytes, request: ClaimRequest) -> ClaimAnswer:
        return await self._write("claim", lambda: self.inner.claim(session, request))

    async def settle(
        self, session: bytes, settlements: Sequence[Settlement], claim: ClaimRequest | None = None
    ) -> SettleResult:
        verb = "settle" if claim is None else "settle+claim"
        return await self._write(verb, lambda: self.inner.settle(session, settlements, claim))

    async def unclaim(self, session: bytes, request: int) -> None:
        await self._write("unclaim", lambda: self.inner.unclaim(session, request))

    async def renew(self, session: bytes, held: Sequence[tuple[bytes, int]], answered: int) -> Renewal:
        return await self._write("renew", lambda: self.inner.renew(session, held, answered))

    async def annotate(self, session: bytes, notes: Sequence[Note]) -> None:
        await self._write("annotate", lambda: self.inner.annotate(session, notes))

    # ---------------------------------------------------------------------------------------------------- sessions

    async def open(self, session: Session) -> None:
        await self._write("open", lambda: self.inner.open(session))

    async def close(self, session: bytes) -> None:
        await self._write("close", lambda: self.inner.close(session))

    async def observe(self) -> list[SessionSign]:
        return await self._write("observe", self.inner.observe)

    async def reap(self, signs: Sequence[SessionSign], limit: int = 200) -> Progress:
        return await self._write("reap", lambda: self.inner.reap(signs, limit))

    # ----------------------------------------------------------------------------------------------------- janitor

    async def promote(self, limit: int = 1000) -> Progress:
        return await self._write("promote", lambda: self.inner.promote(limit))

    async def release_edges(self, limit: int = 256) -> Progress:
        return await self._write("release_edges", lambda: self.inner.release_edges(limit))

    async def purge(self, limit: int = 1000) -> Progress:
        return await self._write("purge", lambda: self.inner.purge(limit))

    # --------------------------------------------------------------------------------------------------- operators

    async def cancel(self, ids: Sequence[bytes]) -> list[CancelAnswer]:
        return await self._write("cancel", lambda: self.inner.cancel(ids))

    async def replay(self, ids: Sequence[bytes]) -> list[ReplayAnswer]:
        return await self._write("replay", lambda: self.inner.replay(ids))

    async def skip(self, id: bytes, result: bytes) -> SkipAnswer:
        return await self._write("skip", lambda: self.inner.skip(id, result))

    async def reschedule(self, ids: Sequence[bytes], at: Instant) -> list[bool]:
        return await self._write("reschedule", lambda: self.inner.reschedule(ids, at))

    async def delete(self, ids: Sequence[bytes]) -> int:
        return await self._write("delete", lambda: self.inner.delete(ids))

    async def put_limit(self, limit: Limit) -> None:
        await self._write("put_limit", lambda: self.inner.put_limit(limit))

    async def pause(self, scope: LimitScope, name: str, *, paused: bool) -> None:
        await self._write("pause", lambda: self.inner.pause(scope, name, paused=paused))

    async def command(self, session: bytes, command: str) -> bool:
        return await self._write("command", lambda: self.inner.command(session, command))

    # --------------------------------------------------------------------------------------------------- schedules

    async def put_schedules(self, schedules: Sequence[NewSchedule]) -> list[PutAnswer]:
        return await self._write("put_schedules", lambda: self.inner.put_schedules(schedules))

    async def delete_schedules(self, names: Sequence[str]) -> int:
        return await self._write("delete_schedules", lambda: self.inner.delete_schedules(names))

    async def get_schedules(self, names: Sequence[str]) -> list[ScheduleRecord | None]:
        return await self._read("get_schedules", lambda: self.inner.get_schedules(names))

    async def list_schedules(self, *, limit: int = 100, cursor: str | None = None) -> SchedulePage:
        return await self._read("list_schedules", lambda: self.inner.list_schedules(limit=limit, cursor=cursor))

    async def due_schedules(self, limit: int = 100) -> DueSchedules:
        return await self._read("due_schedules", lambda: self.inner.due_schedules(limit))

    async def fire(self, firings: Sequence[Firing]) -> list[FireAnswer]:
        return await self._write("fire", lambda: self.inner.fire(firings))

    # --------------------------------------------------------------------------------------------------- documents

    async def put_documents(self, documents: Sequence[NewDocument]) -> list[int | None]:
        return await self._write("put_documents", lambda: self.inner.put_documents(documents))

    async def get_documents(self, kind: str, keys: Sequence[str]) -> list[Document | None]:
        return await self._read("get_documents", lambda: self.inner.get_documents(kind, keys))

    async def list_documents(
        self, kind: str, *, above: str = "", below: str | None = None, limit: int = 100, descending: bool = False
    ) -> list[Document]:
        return await self._read(
            "list_documents",
            lambda: self.inner.list_documents(kind, above=above, below=below, limit=limit, descending=descending),
        )

    async def delete_documents(self, kind: str, keys: Sequence[str]) -> int:
        return await self._write("delete_documents", lambda: self.inner.delete_documents(kind, keys))

    # ---------------------------------------------------------------------------------------------------- insights

    async def now(self) -> Instant:
        return await self._read("now", self.inner.now)

    async def get_jobs(self, ids: Sequence[bytes]) -> list[JobRecord | None]:
        return await self._read("get_jobs", lambda: self.inner.get_jobs(ids))

    async def results(self, ids: Sequence[bytes]) -> list[JobResult | None]:
        return await self._read("results", lambda: self.inner.results(ids))

    async def list_jobs(
        self, filter: JobFilter, *, limit: int = 50, cursor: bytes | None = None, oldest_first: bool = False
    ) -> JobPage:
        return await self._read(
            "list_jobs",
            lambda: self.inner.list_jobs(filter, limit=limit, cursor=cursor, oldest_first=oldest_first),
        )

    async def counts(self) -> dict[tuple[str, int], int]:
        return await self._read("counts", self.inner.counts)

    async def queues(self) -> list[QueueRecord]:
        return await self._read("queues", self.inner.queues)

    async def backlog(self, limit: int = 100) -> Backlog:
        return await self._read("backlog", lambda: self.inner.backlog(limit))

    async def lanes(self, queues: Sequence[str]) -> list[tuple[str, str]]:
        return await self._read("lanes", lambda: self.inner.lanes(queues))

    async def open_parents(self, id: bytes, limit: int = 20) -> list[ParentRecord]:
        return await self._read("open_parents", lambda: self.inner.open_parents(id, limit))

    async def rate_waits(self, names: Sequence[tuple[LimitScope, str]]) -> list[Span]:
        return await self._read("rate_waits", lambda: self.inner.rate_waits(names))

    async def limits(self, scope: LimitScope | None = None) -> list[Limit]:
        return await self._read("limits", lambda: self.inner.limits(scope))

    async def running(self) -> dict[tuple[LimitScope, str], int]:
        return await self._read("running", self.inner.running)

    async def sessions(self) -> list[SessionRecord]:
        return await self._read("sessions", self.inner.sessions)

    # ------------------------------------------------------------------------------------------- life, passed through

    def subscribe(self, channels: Collection[str], wake: Callable[[], None]) -> Subscription:
        return self.inner.subscribe(channels, wake)

    @property
    def capabilities(self) -> Capability:
        return self.inner.capabilities

    @property
    def url(self) -> str:
        return self.inner.url

    @property
    def settings(self) -> Settings:
        return self.inner.settings

    async def connect(self) -> None:
        await self.inner.connect()

    async def aclose(self) -> None:
        await self.inner.aclose()

    async def migrate(self, *, finish: bool = False) -> list[str]:
        return await self.inner.migrate(finish=finish)

    def twin(self) -> Store:
        """A twin with the same plan: an outage is an outage for all connections."""
        return FaultyStore(self.inner.twin(), self._plan)
