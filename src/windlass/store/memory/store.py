"""The store: the port, spoken to one lock."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Collection, Sequence
from typing import Concatenate, ParamSpec, TypeVar

from windlass.core.clock import Instant, Span
from windlass.core.documents import Document, NewDocument
from windlass.core.errors import StoreUnavailable, UsageError
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
from windlass.store.bounds import (
    check_batch,
    check_distinct,
    check_documents,
    check_edges,
    check_firings,
    check_instant,
    check_jobs,
    check_keys,
    check_limit,
    check_range,
    check_record,
    check_request,
    check_schedules,
)
from windlass.store.memory import claim, enqueue, insights, janitor, operators, sessions, settle
from windlass.store.memory import documents as shelf
from windlass.store.memory import schedules as timetable
from windlass.store.memory.data import Data, Step
from windlass.store.memory.wake import Subscription
from windlass.store.port import Capability

P = ParamSpec("P")
T = TypeVar("T")

_named: dict[str, Data] = {}
"""The data of each name, for as long as the process lives."""


def _system_clock() -> Instant:
    return time.time_ns() // 1000


class MemoryStore:
    """A store in the memory of this process: for tests, and for jobs that may be forgotten.

    All store objects of one name are the same store, and stay so until the process ends; without a name it is private
    to the object and its twins. Nothing survives the process, and nothing crosses a fork: in the child a named store
    is empty, and an unnamed one raises `StoreUnavailable`.

    Args:
        name: of the store; empty for a private one.
        settings: what the store must know beyond its name; the same for all of one name.
        clock: answers the store's clock in microseconds since the epoch; the system's, unless a test says otherwise.
    """

    def __init__(
        self, name: str = "", settings: Settings | None = None, clock: Callable[[], Instant] | None = None
    ) -> None:
        self._name = name
        self._settings = settings or Settings()
        self._clock = clock or _system_clock
        self._data = _data_of(name)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._subscriptions: list[Subscription] = []
        self._closed = False

    def __repr__(self) -> str:
        return f"MemoryStore({self._name!r})"

    @property
    def capabilities(self) -> Capability:
        """See `Store.capabilities`."""
        return Capability.NONE

    @property
    def url(self) -> str:
        """See `Store.url`."""
        return f"memory://{self._name}"

    @property
    def settings(self) -> Settings:
        """See `Store.settings`."""
        return self._settings

    # ------------------------------------------------------------------------------------------------ life

    async def connect(self) -> None:
        """See `Store.connect`."""
        self._check()

    async def aclose(self) -> None:
        """See `Store.aclose`. The data stay, for other store objects."""
        self._closed = True
        for subscription in self._subscriptions:
            subscription.close()
        self._subscriptions.clear()

    async def migrate(self, *, finish: bool = False) -> list[str]:
        """See `Store.migrate`. There is nothing to migrate, ever."""
        del finish
        return []

    def twin(self) -> MemoryStore:
        """See `Store.twin`."""
        twin = MemoryStore(self._name, self._settings, self._clock)
        twin._data = self._data
        return twin

    def _check(self) -> None:
        if self._closed:
            raise StoreUnavailable(f"{self.url}: this store object was closed")
        if self._data.pid != os.getpid():
            if not self._name:
                raise StoreUnavailable(f"{self.url}: this store is in the memory of another process, before a fork")
            self._data = _data_of(self._name)
        running = asyncio.get_running_loop()
        if self._loop is None or self._loop.is_closed():
            self._loop = running
        elif self._loop is not running:
            raise UsageError(f"{self.url}: this store object belongs to another event loop; make a twin() for this one")

    def _do(self, verb: Callable[Concatenate[Step, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Carry out a verb, and tell others of it."""
        self._check()
        data = self._data
        with data.lock:
            step = Step(data, self._clock(), self._settings)
            answer = verb(step, *args, **kwargs)
        if step.makes_room:
            step.hints |= data.listeners.with_prefix("ready/")
        for subscription in data.listeners.who_hears(step.hints):
            subscription.wake_soon()
        return answer

    def _ask(self, question: Callable[Concatenate[Data, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        self._check()
        with self._data.lock:
            return question(self._data, *args, **kwargs)

    # ------------------------------------------------------------------------------------------------ jobs

    async def enqueue(
        self, jobs: Sequence[NewJob], edges: Sequence[Edge] = (), *, first_sent: Instant
    ) -> EnqueueResult:
        """See `JobStore.enqueue`."""
        check_batch("enqueue", jobs)
        check_edges(edges)
        check_jobs(jobs)
        return self._do(enqueue.enqueue, jobs, edges, first_sent)

    async def claim(self, session: bytes, request: ClaimRequest) -> ClaimAnswer:
        """See `JobStore.claim`."""
        check_request(request)
        return self._do(claim.claim, session, request)

    async def settle(
        self, session: bytes, settlements: Sequence[Settlement], claim: ClaimRequest | None = None
    ) -> SettleResult:
        """See `JobStore.settle`."""
        check_batch("settle", settlements)
        check_distinct(settlements)
        if claim is not None:
            check_request(claim)
        return self._do(settle.settle, session, settlements, claim)

    async def unclaim(self, session: bytes, request: int) -> None:
        """See `JobStore.unclaim`."""
        self._do(settle.unclaim, session, request)

    async def renew(self, session: bytes, held: Sequence[tuple[bytes, int]], answered: int) -> Renewal:
        """See `JobStore.renew`."""
        return self._do(sessions.renew, session, held, answered)

    async def annotate(self, session: bytes, notes: Sequence[Note]) -> None:
        """See `JobStore.annotate`."""
        check_batch("annotate", notes)
        self._do(settle.annotate, session, notes)

    # -------------------------------------------------------------------------------- sessions and janitor

    async def open(self, session: Session) -> None:
        """See `JobStore.open`."""
        self._do(sessions.open_session, session)

    async def close(self, session: bytes) -> None:
        """See `JobStore.close`."""
        self._do(sessions.close_session, session)

    async def observe(self) -> list[SessionSign]:
        """See `JobStore.observe`."""
        return self._do(sessions.observe)

    async def reap(self, signs: Sequence[SessionSign], limit: int = 200) -> Progress:
        """See `JobStore.reap`."""
        check_batch("reap", signs)
        check_limit("reap", limit)
        return self._do(sessions.reap, signs, limit)

    async def promote(self, limit: int = 1000) -> Progress:
        """See `JobStore.promote`."""
        check_limit("promote", limit)
        return self._do(janitor.promote, limit)

    async def release_edges(self, limit: int = 256) -> Progress:
        """See `JobStore.release_edges`."""
        check_limit("release_edges", limit)
        return self._do(janitor.release_edges, limit)

    async def purge(self, limit: int = 1000) -> Progress:
        """See `JobStore.purge`."""
        check_limit("purge", limit)
        return self._do(janitor.purge, limit)

    # ------------------------------------------------------------------------------------------- operators

    async def cancel(self, ids: Sequence[bytes]) -> list[CancelAnswer]:
        """See `JobStore.cancel`."""
        check_batch("cancel", ids)
        return self._do(operators.cancel, ids)

    async def replay(self, ids: Sequence[bytes]) -> list[ReplayAnswer]:
        """See `JobStore.replay`."""
        check_batch("replay", ids)
        return self._do(operators.replay, ids)

    async def skip(self, id: bytes, result: bytes) -> SkipAnswer:
        """See `JobStore.skip`."""
        return self._do(operators.skip, id, result)

    async def reschedule(self, ids: Sequence[bytes], at: Instant) -> list[bool]:
        """See `JobStore.reschedule`."""
        check_batch("reschedule", ids)
        check_instant("reschedule", at)
        return self._do(operators.reschedule, ids, at)

    async def delete(self, ids: Sequence[bytes]) -> int:
        """See `JobStore.delete`."""
        check_batch("delete", ids)
        return self._do(operators.delete, ids)

    async def put_limit(self, limit: Limit) -> None:
        """See `JobStore.put_limit`."""
        check_record(limit)
        self._do(operators.put_limit, limit)

    async def pause(self, scope: LimitScope, name: str, *, paused: bool) -> None:
        """See `JobStore.pause`."""
        self._do(operators.pause, scope, name, paused=paused)

    async def command(self, session: bytes, command: str) -> bool:
        """See `JobStore.command`."""
        return self._do(sessions.command, session, command)

    # ------------------------------------------------------------------------------------------- schedules

    async def put_schedules(self, schedules: Sequence[NewSchedule]) -> list[PutAnswer]:
        """See `ScheduleStore.put_schedules`."""
        check_schedules("put_schedules", schedules)
        return self._do(timetable.put_schedules, schedules)

    async def delete_schedules(self, names: Sequence[str]) -> int:
        """See `ScheduleStore.delete_schedules`."""
        check_batch("delete_schedules", names)
        return self._do(timetable.delete_schedules, names)

    async def get_schedules(self, names: Sequence[str]) -> list[ScheduleRecord | None]:
        """See `ScheduleStore.get_schedules`."""
        check_batch("get_schedules", names)
        return self._ask(timetable.get_schedules, names)

    async def list_schedules(self, *, limit: int = 100, cursor: str | None = None) -> SchedulePage:
        """See `ScheduleStore.list_schedules`."""
        check_limit("list_schedules", limit)
        return self._ask(timetable.list_schedules, limit, cursor)

    async def due_schedules(self, limit: int = 100) -> DueSchedules:
        """See `ScheduleStore.due_schedules`."""
        check_limit("due_schedules", limit)
        return self._do(timetable.due_schedules, limit)

    async def fire(self, firings: Sequence[Firing]) -> list[FireAnswer]:
        """See `ScheduleStore.fire`."""
        check_firings(firings)
        return self._do(timetable.fire, firings)

    # ------------------------------------------------------------------------------------------- documents

    async def put_documents(self, documents: Sequence[NewDocument]) -> list[int | None]:
        """See `DocumentStore.put_documents`."""
        check_documents(documents)
        return self._do(shelf.put_documents, documents)

    async def get_documents(self, kind: str, keys: Sequence[str]) -> list[Document | None]:
        """See `DocumentStore.get_documents`."""
        check_keys("get_documents", kind, keys)
        return self._do(shelf.get_documents, kind, keys)

    async def list_documents(
        self, kind: str, *, above: str = "", below: str | None = None, limit: int = 100, descending: bool = False
    ) -> list[Document]:
        """See `DocumentStore.list_documents`."""
        until = check_range(kind, above, below, limit)
        return self._do(shelf.list_documents, kind, above, until, limit, descending)

    async def delete_documents(self, kind: str, keys: Sequence[str]) -> int:
        """See `DocumentStore.delete_documents`."""
        check_keys("delete_documents", kind, keys)
        return self._do(shelf.delete_documents, kind, keys)

    # -------------------------------------------------------------------------------------------- insights

    async def now(self) -> Instant:
        """See `Insights.now`."""
        self._check()
        return self._clock()

    async def get_jobs(self, ids: Sequence[bytes]) -> list[JobRecord | None]:
        """See `Insights.get_jobs`."""
        check_batch("get_jobs", ids)
        return self._ask(insights.get_jobs, ids)

    async def results(self, ids: Sequence[bytes]) -> list[JobResult | None]:
        """See `Insights.results`."""
        check_batch("results", ids)
        return self._ask(insights.results, ids)

    async def list_jobs(
        self, filter: JobFilter, *, limit: int = 50, cursor: bytes | None = None, oldest_first: bool = False
    ) -> JobPage:
        """See `Insights.list_jobs`."""
        check_limit("list_jobs", limit)
        return self._ask(insights.list_jobs, filter, limit, cursor, oldest_first=oldest_first)

    async def counts(self) -> dict[tuple[str, int], int]:
        """See `Insights.counts`."""
        return self._ask(insights.counts)

    async def queues(self) -> list[QueueRecord]:
        """See `Insights.queues`."""
        return self._ask(insights.queues)

    async def backlog(self, limit: int = 100) -> Backlog:
        """See `Insights.backlog`."""
        check_limit("backlog", limit)
        return self._ask(insights.backlog, limit)

    async def lanes(self, queues: Sequence[str]) -> list[tuple[str, str]]:
        """See `Insights.lanes`."""
        check_batch("lanes", queues)
        return self._ask(insights.lanes, queues)

    async def open_parents(self, id: bytes, limit: int = 20) -> list[ParentRecord]:
        """See `Insights.open_parents`."""
        check_limit("open_parents", limit)
        return self._ask(insights.open_parents, id, limit)

    async def rate_waits(self, names: Sequence[tuple[LimitScope, str]]) -> list[Span]:
        """See `Insights.rate_waits`."""
        check_batch("rate_waits", names)
        return self._ask(insights.rate_waits, names, self._clock())

    async def limits(self, scope: LimitScope | None = None) -> list[Limit]:
        """See `Insights.limits`."""
        return self._ask(insights.limits, scope)

    async def running(self) -> dict[tuple[LimitScope, str], int]:
        """See `Insights.running`."""
        return self._ask(insights.running)

    async def sessions(self) -> list[SessionRecord]:
        """See `Insights.sessions`."""
        return self._ask(insights.sessions)

    # ------------------------------------------------------------------------------------------- notifier

    def subscribe(self, channels: Collection[str], wake: Callable[[], None]) -> Subscription:
        """See `Notifier.subscribe`."""
        self._check()
        subscription = Subscription(self._data.listeners, channels, wake, asyncio.get_running_loop())
        self._subscriptions = [known for known in self._subscriptions if not known.closed]
        self._subscriptions.append(subscription)
        self._data.listeners.add(subscription)
        return subscription


def _data_of(name: str) -> Data:
    if not name:
        return Data()
    data = _named.setdefault(name, Data())
    if data.pid != os.getpid():
        data = _named[name] = Data()
    return data
