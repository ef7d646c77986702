"""The store: the port, spoken to two threads."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

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
    Settled,
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
    UNFIT,
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
from windlass.store.port import Capability
from windlass.store.sqlite import documents as shelf
from windlass.store.sqlite import edges, enqueue, fork, janitor, operators, sessions, settle
from windlass.store.sqlite import schedules as timetable
from windlass.store.sqlite.claim import claim
from windlass.store.sqlite.insights import Snapshot
from windlass.store.sqlite.reader import Reader
from windlass.store.sqlite.schema import migrate_file
from windlass.store.sqlite.transaction import Transaction
from windlass.store.sqlite.wake import Mailbox, Sender, Subscription
from windlass.store.sqlite.writer import Writer

T = TypeVar("T")
R = TypeVar("R")
_PART = 200
"""Records of a batch that go into one verb of the writer, where each may be more than a line in a long statement. All
parts are put at once: they share a transaction if time allows, and are carried out even if the caller is cancelled."""
_log = logging.getLogger("windlass.store.sqlite")


def _system_clock() -> Instant:
    return time.time_ns() // 1000


class SQLiteStore:
    """A store in one SQLite file, for the processes of one machine.

    Args:
        path: where the file is, or is to be created; its directory must exist and be on a local disk.
        settings: what the store must know beyond its path; the same in all processes.
        clock: answers the store's clock in microseconds since the epoch; the system's, unless a test says otherwise.
    """

    def __init__(
        self, path: str | Path, settings: Settings | None = None, clock: Callable[[], Instant] | None = None
    ) -> None:
        # Without symbolic links: all must find the same lock files.
        self._path = str(Path(path).resolve())
        self._settings = settings or Settings()
        self._clock = clock or _system_clock
        self._loop: asyncio.AbstractEventLoop | None = None
        self._writer: Writer | None = None
        self._live: Writer | None = None
        self._reader: Reader | None = None
        self._mailbox: Mailbox | None = None
        self._closed = False
        self.created = False
        """Whether `connect` found no file and created it: in a worker, probably a mistaken path."""
        fork.protect(self)

    def __repr__(self) -> str:
        return f"SQLiteStore({self._path!r})"

    @property
    def capabilities(self) -> Capability:
        """See `Store.capabilities`."""
        return Capability.DURABLE | Capability.SHARED | Capability.WAKE_UPS

    @property
    def url(self) -> str:
        """See `Store.url`."""
        return f"sqlite:///{self._path}"

    @property
    def settings(self) -> Settings:
        """See `Store.settings`."""
        return self._settings

    # ------------------------------------------------------------------------------------------------ life

    async def connect(self) -> None:
        """See `Store.connect`. Logs the absolute path."""
        await self._connected()

    async def _connected(self) -> Writer:
        if self._closed:
            raise StoreUnavailable(f"{self._path}: this store object was closed")
        self._check_loop()
        writer = self._writer
        if writer is None:
            self._loop = asyncio.get_running_loop()
            writer = self._writer = Writer(self._path, self._settings, self._clock, self._loop, Sender(self._path))
            self._reader = Reader(self._path, self._loop)
            writer.start()
        try:
            created = await asyncio.shield(writer.opened)
        except Exception:
            # It may be tried again: by then the directory may be there, or the disk have room.
            if self._writer is writer:
                self._writer = self._reader = None
            raise
        if self._writer is not writer:
            raise StoreUnavailable(f"{self._path}: this store object was closed")
        if self._live is None:
            self._live = writer
            self.created = created
            _log.info("%s %s", "created" if created else "opened", self._path)
        return writer

    async def aclose(self) -> None:
        """See `Store.aclose`. What was begun is finished first."""
        self._closed = True
        threads = self._let_go() if self._loop is asyncio.get_running_loop() else []
        for thread in threads:
            await thread.stop()
        self._let_go()

    async def migrate(self, *, finish: bool = False) -> list[str]:
        """See `Store.migrate`."""
        return await asyncio.to_thread(migrate_file, self._path, self._clock, finish=finish)

    def twin(self) -> SQLiteStore:
        """See `Store.twin`."""
        return SQLiteStore(self._path, self._settings, self._clock)

    def _check_loop(self) -> None:
        if self._loop is None or self._loop is asyncio.get_running_loop():
            return
        if not self._loop.is_closed():
            raise UsageError(
                f"{self._path}: this store object belongs to another event loop; make a twin() for this one"
            )
        # Its loop ended without closing it: what belonged to that loop goes, and the store is opened anew.
        self._let_go()

    def _let_go(self) -> Sequence[Writer | Reader]:
        """Forget all that belongs to the loop; answers the threads, which end after what they have to do."""
        threads = self.threads()
        for thread in threads:
            thread.end()
        if self._mailbox is not None:
            self._mailbox.close()
        self._writer = self._live = self._reader = self._mailbox = self._loop = None
        return threads

    def _write(self, run: Callable[[Transaction], T | Exception]) -> Awaitable[T]:
        writer = self._live
        if writer is not None and asyncio.get_running_loop() is self._loop:
            return writer.put(run)
        return self._open_and_write(run)

    async def _open_and_write(self, run: Callable[[Transaction], T | Exception]) -> T:
        writer = await self._connected()
        return await writer.put(run)

    async def _read(self, ask: Callable[[Snapshot], T]) -> T:
        await self._connected()
        assert self._reader is not None
        return await self._reader.put(ask)

    # ------------------------------------------------------------------------------------------------ jobs

    async def enqueue(
        self, jobs: Sequence[NewJob], edges: Sequence[Edge] = (), *, first_sent: Instant
    ) -> EnqueueResult:
        """See `JobStore.enqueue`."""
        check_batch("enqueue", jobs)
        check_edges(edges)
        try:
            return await self._enqueue(jobs, edges, first_sent)
        except UNFIT:
            check_jobs(jobs)
            raise

    async def _enqueue(self, jobs: Sequence[NewJob], edges: Sequence[Edge], first_sent: Instant) -> EnqueueResult:
        if not edges and (len(jobs) <= _PART or all(map(enqueue.is_plain, jobs))):
            return await self._write(lambda tx: enqueue.enqueue(tx, jobs, first_sent=first_sent))
        verbs = [partial(enqueue.enqueue, jobs=part, first_sent=first_sent) for part in _parts(jobs)]
        verbs += [partial(enqueue.enqueue, edges=part, first_sent=first_sent) for part in _parts(edges)]
        found = await asyncio.gather(*map(self._write, verbs))
        return EnqueueResult(
            [one for each in found for one in each.jobs], [one for each in found for one in each.edges]
        )

    async def claim(self, session: bytes, request: ClaimRequest) -> ClaimAnswer:
        """See `JobStore.claim`."""
        check_request(request)
        return await self._write(lambda tx: claim(tx, session, request))

    async def settle(
        self, session: bytes, settlements: Sequence[Settlement], claim: ClaimRequest | None = None
    ) -> SettleResult:
        """See `JobStore.settle`."""
        check_batch("settle", settlements)
        check_distinct(settlements)
        if claim is not None:
            check_request(claim)
        judged: dict[bytes, Settled] = {}
        left, more_edges = settlements, False
        while True:
            found: SettleResult | settle.Unfinished = await self._write(settle.Settle(session, left, claim))
            if isinstance(found, SettleResult):
                break
            judged |= found.judged
            left, more_edges = found.left, more_edges or found.more_edges
        if left is settlements:
            return found
        judged |= zip((settlement.id for settlement in left), found.answers, strict=True)
        answers = [judged.get(settlement.id, Settled.APPLIED) for settlement in settlements]
        return SettleResult(answers, found.claim, more_edges or found.more_edges)

    async def unclaim(self, session: bytes, request: int) -> None:
        """See `JobStore.unclaim`."""
        await self._write(lambda tx: settle.unclaim(tx, session, request))

    async def renew(self, session: bytes, held: Sequence[tuple[bytes, int]], answered: int) -> Renewal:
        """See `JobStore.renew`."""
        return await self._write(lambda tx: sessions.renew(tx, session, held, answered))

    async def annotate(self, session: bytes, notes: Sequence[Note]) -> None:
        """See `JobStore.annotate`."""
        check_batch("annotate", notes)
        await self._write(lambda tx: settle.annotate(tx, session, notes))

    # -------------------------------------------------------------------------------- sessions and janitor

    async def open(self, session: Session) -> None:
        """See `JobStore.open`."""
        await self._write(lambda tx: sessions.open_session(tx, session))

    async def close(self, session: bytes) -> None:
        """See `JobStore.close`."""
        await self._write(lambda tx: sessions.close_session(tx, session))

    async def observe(self) -> list[SessionSign]:
        """See `JobStore.observe`."""
        return await self._write(sessions.observe)

    async def reap(self, signs: Sequence[SessionSign], limit: int = 200) -> Progress:
        """See `JobStore.reap`."""
        check_batch("reap", signs)
        check_limit("reap", limit)
        return await self._write(lambda tx: sessions.reap(tx, signs, limit))

    async def promote(self, limit: int = 1000) -> Progress:
        """See `JobStore.promote`."""
        check_limit("promote", limit)
        return await self._write(lambda tx: janitor.promote(tx, min(limit, _PART)))

    async def release_edges(self, limit: int = 256) -> Progress:
        """See `JobStore.release_edges`."""
        check_limit("release_edges", limit)
        return await self._write(lambda tx: edges.release_edges(tx, limit))

    async def purge(self, limit: int = 1000) -> Progress:
        """See `JobStore.purge`."""
        check_limit("purge", limit)
        return await self._write(lambda tx: janitor.purge(tx, limit))

    # ------------------------------------------------------------------------------------------- operators

    async def cancel(self, ids: Sequence[bytes]) -> list[CancelAnswer]:
        """See `JobStore.cancel`."""
        check_batch("cancel", ids)
        found = await asyncio.gather(*(self._write(partial(operators.cancel, ids=part)) for part in _parts(ids)))
        return [answer for answers in found for answer in answers]

    async def replay(self, ids: Sequence[bytes]) -> list[ReplayAnswer]:
        """See `JobStore.replay`."""
        check_batch("replay", ids)
        found = await asyncio.gather(*map(self._replay, _parts(ids)))
        return [answer for answers in found for answer in answers]

    async def _replay(self, ids: Sequence[bytes]) -> list[ReplayAnswer]:
        answers: list[ReplayAnswer] = []
        while len(answers) < len(ids):
            answers += await self._write(partial(operators.replay, ids=ids[len(answers) :]))
        return answers

    async def skip(self, id: bytes, result: bytes) -> SkipAnswer:
        """See `JobStore.skip`."""
        return await self._write(lambda tx: operators.skip(tx, id, result))

    async def reschedule(self, ids: Sequence[bytes], at: Instant) -> list[bool]:
        """See `JobStore.reschedule`."""
        check_batch("reschedule", ids)
        check_instant("reschedule", at)
        found = await asyncio.gather(
            *(self._write(partial(operators.reschedule, ids=part, at=at)) for part in _parts(ids))
        )
        return [answer for answers in found for answer in answers]

    async def delete(self, ids: Sequence[bytes]) -> int:
        """See `JobStore.delete`."""
        check_batch("delete", ids)
        return sum(await asyncio.gather(*(self._write(partial(operators.delete, ids=part)) for part in _parts(ids))))

    async def put_limit(self, limit: Limit) -> None:
        """See `JobStore.put_limit`."""
        check_record(limit)
        await self._write(lambda tx: operators.put_limit(tx, limit))

    async def pause(self, scope: LimitScope, name: str, *, paused: bool) -> None:
        """See `JobStore.pause`."""
        await self._write(lambda tx: operators.pause(tx, scope, name, paused=paused))

    async def command(self, session: bytes, command: str) -> bool:
        """See `JobStore.command`."""
        return await self._write(lambda tx: sessions.command(tx, session, command))

    # ------------------------------------------------------------------------------------------- schedules

    async def put_schedules(self, schedules: Sequence[NewSchedule]) -> list[PutAnswer]:
        """See `ScheduleStore.put_schedules`."""
        check_schedules("put_schedules", schedules)
        parts = (self._write(partial(timetable.put_schedules, schedules=part)) for part in _parts(schedules))
        return [answer for answers in await asyncio.gather(*parts) for answer in answers]

    async def delete_schedules(self, names: Sequence[str]) -> int:
        """See `ScheduleStore.delete_schedules`."""
        check_batch("delete_schedules", names)
        parts = (self._write(partial(timetable.delete_schedules, names=part)) for part in _parts(names))
        return sum(await asyncio.gather(*parts))

    async def get_schedules(self, names: Sequence[str]) -> list[ScheduleRecord | None]:
        """See `ScheduleStore.get_schedules`."""
        check_batch("get_schedules", names)
        return await self._read(lambda snapshot: timetable.get_schedules(snapshot.db, names))

    async def list_schedules(self, *, limit: int = 100, cursor: str | None = None) -> SchedulePage:
        """See `ScheduleStore.list_schedules`."""
        check_limit("list_schedules", limit)
        return await self._read(lambda snapshot: timetable.list_schedules(snapshot.db, limit, cursor))

    async def due_schedules(self, limit: int = 100) -> DueSchedules:
        """See `ScheduleStore.due_schedules`."""
        check_limit("due_schedules", limit)
        return await self._read(lambda snapshot: timetable.due_schedules(snapshot.db, limit, self._clock()))

    async def fire(self, firings: Sequence[Firing]) -> list[FireAnswer]:
        """See `ScheduleStore.fire`."""
        check_firings(firings)
        parts = (self._write(partial(timetable.fire, firings=part)) for part in _parts(firings))
        return [answer for answers in await asyncio.gather(*parts) for answer in answers]

    # ------------------------------------------------------------------------------------------- documents

    async def put_documents(self, documents: Sequence[NewDocument]) -> list[int | None]:
        """See `DocumentStore.put_documents`."""
        check_documents(documents)
        parts = (self._write(partial(shelf.put_documents, documents=part)) for part in _parts(documents))
        return [version for versions in await asyncio.gather(*parts) for version in versions]

    async def get_documents(self, kind: str, keys: Sequence[str]) -> list[Document | None]:
        """See `DocumentStore.get_documents`."""
        check_keys("get_documents", kind, keys)
        return await self._read(lambda snapshot: shelf.get_documents(snapshot.db, kind, keys, self._clock()))

    async def list_documents(
        self, kind: str, *, above: str = "", below: str | None = None, limit: int = 100, descending: bool = False
    ) -> list[Document]:
        """See `DocumentStore.list_documents`."""
        until = check_range(kind, above, below, limit)
        return await self._read(
            lambda snapshot: shelf.list_documents(snapshot.db, kind, above, until, limit, descending, self._clock())
        )

    async def delete_documents(self, kind: str, keys: Sequence[str]) -> int:
        """See `DocumentStore.delete_documents`."""
        check_keys("delete_documents", kind, keys)
        parts = (self._write(partial(shelf.delete_documents, kind=kind, keys=part)) for part in _parts(keys))
        return sum(await asyncio.gather(*parts))

    # -------------------------------------------------------------------------------------------- insights

    async def now(self) -> Instant:
        """See `Insights.now`."""
        await self._connected()
        return self._clock()

    async def get_jobs(self, ids: Sequence[bytes]) -> list[JobRecord | None]:
        """See `Insights.get_jobs`."""
        check_batch("get_jobs", ids)
        return await self._read(lambda snapshot: snapshot.get_jobs(ids))

    async def results(self, ids: Sequence[bytes]) -> list[JobResult | None]:
        """See `Insights.results`."""
        check_batch("results", ids)
        return await self._read(lambda snapshot: snapshot.results(ids))

    async def list_jobs(
        self, filter: JobFilter, *, limit: int = 50, cursor: bytes | None = None, oldest_first: bool = False
    ) -> JobPage:
        """See `Insights.list_jobs`."""
        check_limit("list_jobs", limit)
        return await self._read(lambda snapshot: snapshot.list_jobs(filter, limit, cursor, oldest_first=oldest_first))

    async def counts(self) -> dict[tuple[str, int], int]:
        """See `Insights.counts`."""
        return await self._read(Snapshot.counts)

    async def queues(self) -> list[QueueRecord]:
        """See `Insights.queues`."""
        return await self._read(Snapshot.queues)

    async def backlog(self, limit: int = 100) -> Backlog:
        """See `Insights.backlog`."""
        check_limit("backlog", limit)
        return await self._read(lambda snapshot: snapshot.backlog(limit))

    async def lanes(self, queues: Sequence[str]) -> list[tuple[str, str]]:
        """See `Insights.lanes`."""
        check_batch("lanes", queues)
        return await self._read(lambda snapshot: snapshot.lanes(queues))

    async def open_parents(self, id: bytes, limit: int = 20) -> list[ParentRecord]:
        """See `Insights.open_parents`."""
        check_limit("open_parents", limit)
        return await self._read(lambda snapshot: snapshot.open_parents(id, limit))

    async def rate_waits(self, names: Sequence[tuple[LimitScope, str]]) -> list[Span]:
        """See `Insights.rate_waits`."""
        check_batch("rate_waits", names)
        return await self._read(lambda snapshot: snapshot.rate_waits(names, self._clock()))

    async def limits(self, scope: LimitScope | None = None) -> list[Limit]:
        """See `Insights.limits`."""
        return await self._read(lambda snapshot: snapshot.limits(scope))

    async def running(self) -> dict[tuple[LimitScope, str], int]:
        """See `Insights.running`."""
        return await self._read(Snapshot.running)

    async def sessions(self) -> list[SessionRecord]:
        """See `Insights.sessions`."""
        return await self._read(Snapshot.sessions)

    # ------------------------------------------------------------------------------------------- notifier

    def subscribe(self, channels: Collection[str], wake: Callable[[], None]) -> Subscription:
        """See `Notifier.subscribe`."""
        if self._closed:
            raise StoreUnavailable(f"{self._path}: this store object was closed")
        self._check_loop()
        if self._mailbox is None:
            self._loop = asyncio.get_running_loop()
            self._mailbox = Mailbox(self._path)
        return self._mailbox.subscribe(channels, wake)

    # ------------------------------------------------------------------------------------------------ fork

    @property
    def path(self) -> str:
        """The file, as an absolute path."""
        return self._path

    def threads(self) -> Sequence[Writer | Reader]:
        """The threads that may be inside SQLite just now; for `fork`."""
        return [thread for thread in (self._writer, self._reader) if thread is not None]

    def drop_inherited(self) -> None:
        """In a forked child: let go of all that belongs to the parent. The store can be opened anew."""
        if self._mailbox is not None:
            self._mailbox.abandon()
        self._writer = self._live = self._reader = self._mailbox = self._loop = None


def _parts(batch: Sequence[R]) -> list[Sequence[R]]:
    """Cut a batch into parts that can be carried out one by one, and so do not hold the lock for long. One at least."""
    return [batch[start : start + _PART] for start in range(0, len(batch), _PART)] or [batch]
