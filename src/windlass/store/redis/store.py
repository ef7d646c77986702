"""The store: the port, spoken to a server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from typing import Any

from windlass.core.clock import SECOND, Instant, Span
from windlass.core.documents import Document, NewDocument
from windlass.core.errors import StoreUnavailable, UsageError
from windlass.core.graph import EDGES_PER_SETTLEMENT, MAX_EDGES_PER_CALL
from windlass.core.model import (
    MAX_LOG,
    STALE_AFTER,
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
from windlass.core.redis_url import RedisURL
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
    check_places,
    check_range,
    check_record,
    check_request,
    check_schedules,
)
from windlass.store.port import Capability
from windlass.store.redis import batches, fork, insights
from windlass.store.redis import documents as shelf
from windlass.store.redis import schedules as timetable
from windlass.store.redis.caller import Arguments, Caller
from windlass.store.redis.connections import Argument, Connections
from windlass.store.redis.records import SESSION_ENCODER, counted, lane_name, numbers_of
from windlass.store.redis.server import look_at
from windlass.store.redis.wake import Hints, Subscription

LAYOUT = 2
_MOST_CHANGES = 2000
"""Edges armed in one script after which no further job is replayed in it."""
_MOST_CLOSING = 5
"""Scripts that `close` runs at most; each gives back 200 jobs."""
_DEADLINES = 1.0, 5.0
"""Seconds after which a call is given up, at least and at most, unless the URL says otherwise."""


class RedisStore:
    """A store on a Redis or Valkey server, under one namespace.

    Args:
        url: where it is.
        settings: what the store must know beyond its URL; the same in all processes.
        clock: answers the store's clock in microseconds since the epoch; the server's, unless a test says otherwise.
    """

    def __init__(
        self, url: RedisURL, settings: Settings | None = None, clock: Callable[[], Instant] | None = None
    ) -> None:
        self._url = url
        self._settings = settings or Settings()
        self._clock = clock
        self._loop: asyncio.AbstractEventLoop | None = None
        self._caller: Caller | None = None
        self._hints: Hints | None = None
        self._opening: asyncio.Task[None] | None = None
        self._closed = False
        fork.protect(self)

    def __repr__(self) -> str:
        return f"RedisStore({self.url!r})"

    @property
    def capabilities(self) -> Capability:
        """See `Store.capabilities`."""
        return Capability.DURABLE | Capability.SHARED | Capability.NETWORKED | Capability.WAKE_UPS

    @property
    def url(self) -> str:
        """See `Store.url`."""
        return self._url.shown

    @property
    def settings(self) -> Settings:
        """See `Store.settings`."""
        return self._settings

    # ------------------------------------------------------------------------------------------------ life

    async def connect(self) -> None:
        """See `Store.connect`. Warns of a server that may lose jobs."""
        await self._opened()
        hints = self._hints
        if hints is not None:
            await hints.up()

    async def _opened(self) -> Caller:
        """The way to the server, which was looked at once."""
        caller = self._begin()
        if self._opening is None:
            self._opening = asyncio.get_running_loop().create_task(self._open(caller), name="windlass-redis-open")
        opening = self._opening
        try:
            await asyncio.shield(opening)
        except asyncio.CancelledError:
            if opening.cancelled() and self._closed:
                raise StoreUnavailable(f"{self.url}: this store object was closed") from None
            raise
        except Exception:
            # It may be tried again: by then the server may be there.
            if self._opening is opening:
                self._opening = None
            raise
        return caller

    async def _open(self, caller: Caller) -> None:
        await look_at(caller)
        await caller.run("now", [self._head()], repeatable=True)

    def _begin(self) -> Caller:
        if self._closed:
            raise StoreUnavailable(f"{self.url}: this store object was closed")
        running = asyncio.get_running_loop()
        if self._loop is not None and self._loop is not running:
            if not self._loop.is_closed():
                raise UsageError(
                    f"{self.url}: this store object belongs to another event loop; make a twin() for this one"
                )
            # Its loop ended without closing it: what belonged to that loop goes, and the store is opened anew.
            self.drop_inherited()
        if self._caller is None:
            self._loop = running
            self._caller = Caller(Connections(self._url, self._deadline()), self._url.namespace)
            self._hints = Hints(self._caller.connections, self._caller.key)
        return self._caller

    def _deadline(self) -> float:
        """So that a worker can try again, and again, before its lease is over."""
        least, most = _DEADLINES
        return self._url.timeout or max(least, min(most, self._settings.lease / SECOND * 5 / 9))

    async def aclose(self) -> None:
        """See `Store.aclose`."""
        self._closed = True
        if self._loop is asyncio.get_running_loop():
            if self._opening is not None:
                self._opening.cancel()
            if self._hints is not None:
                await self._hints.stop()
            if self._caller is not None:
                self._caller.connections.close()
        self.drop_inherited()

    async def migrate(self, *, finish: bool = False) -> list[str]:
        """See `Store.migrate`. No release had another layout: there is nothing to do, or it is an unknown one."""
        del finish
        await self._opened()
        return []

    def twin(self) -> RedisStore:
        """See `Store.twin`."""
        return RedisStore(self._url, self._settings, self._clock)

    def drop_inherited(self) -> object:
        """Let go of all that belongs to the loop, or to the parent of this process, and touch nothing; answers it."""
        kept = self._caller, self._hints, self._opening, self._loop
        self._caller = self._hints = self._opening = self._loop = None
        return kept

    @property
    def node(self) -> tuple[str, int]:
        """Host and port of the server that has the namespace, as far as that is known: in a cluster, one of several."""
        return (self._url.host, self._url.port) if self._caller is None else self._caller.connections.node

    # ------------------------------------------------------------------------------------------------ calls

    def _head(self) -> tuple[Argument, ...]:
        return "" if self._clock is None else self._clock(), LAYOUT

    async def _run(self, verb: str, calls: Sequence[Arguments], *, repeatable: bool = True) -> list[Any]:
        """Run the script of a verb for each of these arguments."""
        opening = self._opening
        if opening is None or not opening.done() or self._loop is not asyncio.get_running_loop() or self._closed:
            caller = await self._opened()
        else:
            caller = self._begin()
        if self._hints is not None and not self._hints.settled:
            await self._hints.settle()
        return await caller.run(verb, calls, repeatable=repeatable)

    async def _ask(self, verb: str, *calls: Arguments) -> list[Any]:
        head = self._head()
        return await self._run(verb, [(*head, *arguments) for arguments in calls])

    async def _write(
        self, verb: str, *calls: Arguments, edges: int = MAX_EDGES_PER_CALL, repeatable: bool = True
    ) -> list[Any]:
        head = *self._head(), edges, self._settings.keep, self._settings.keep_dead
        return await self._run(verb, [(*head, *arguments) for arguments in calls], repeatable=repeatable)

    async def _write_one(self, verb: str, *arguments: Argument) -> Any:
        return (await self._write(verb, arguments))[0]

    # ------------------------------------------------------------------------------------------------ jobs

    async def enqueue(
        self, jobs: Sequence[NewJob], edges: Sequence[Edge] = (), *, first_sent: Instant
    ) -> EnqueueResult:
        """See `JobStore.enqueue`."""
        check_batch("enqueue", jobs)
        check_edges(edges)
        try:
            check_places(jobs)
            return await self._enqueue(jobs, edges, first_sent)
        except UNFIT:
            check_jobs(jobs)
            raise

    async def _enqueue(self, jobs: Sequence[NewJob], edges: Sequence[Edge], first_sent: Instant) -> EnqueueResult:
        calls = [batches.jobs_to_store(part) for part in batches.parts(jobs)]
        calls += [batches.edges_to_store(part) for part in batches.parts(edges)]
        head = first_sent, STALE_AFTER
        return batches.stored(await self._write("enqueue", *((*head, *call) for call in calls or [[0]])))

    async def claim(self, session: bytes, request: ClaimRequest) -> ClaimAnswer:
        """See `JobStore.claim`."""
        check_request(request)
        arguments = batches.request_to_claim(session, request, self._hears(session, request))
        return batches.claimed((await self._write("claim", arguments, repeatable=False))[0])

    async def settle(
        self, session: bytes, settlements: Sequence[Settlement], claim: ClaimRequest | None = None
    ) -> SettleResult:
        """See `JobStore.settle`."""
        check_batch("settle", settlements)
        check_distinct(settlements)
        calls = [batches.settlements_to_apply(session, part) for part in batches.parts(settlements) or [()]]
        if claim is not None:
            check_request(claim)
            calls[-1] += batches.request_to_claim(session, claim, self._hears(session, claim))
        edges = MAX_EDGES_PER_CALL + EDGES_PER_SETTLEMENT * min(len(settlements), batches.PART)
        found = await self._write("settle", *calls, edges=edges, repeatable=claim is None)
        taken = None if claim is None else batches.claimed(found[-1][2])
        return SettleResult(batches.settled(found), taken, any(more for _, more, _ in found))

    def _hears(self, session: bytes, request: ClaimRequest) -> bool:
        return self._hints is not None and self._hints.hears(session, {lane.queue for lane in request.lanes})

    async def unclaim(self, session: bytes, request: int) -> None:
        """See `JobStore.unclaim`."""
        while await self._write_one("unclaim", session, request):
            pass

    async def renew(self, session: bytes, held: Sequence[tuple[bytes, int]], answered: int) -> Renewal:
        """See `JobStore.renew`."""
        proofs = [part for proof in held for part in proof]
        answer = await self._write_one("renew", session, self._settings.lease, answered, *proofs)
        if not answer[0]:
            return Renewal(revoked=True)
        _, lost, cancel, commands, duty, suspects = answer
        return Renewal(
            lost=lost,
            cancel=cancel,
            commands=sorted(command.decode() for command in commands),
            duty=bool(duty),
            suspects=bool(suspects),
        )

    async def annotate(self, session: bytes, notes: Sequence[Note]) -> None:
        """See `JobStore.annotate`."""
        check_batch("annotate", notes)
        calls = []
        for part in batches.parts(notes):
            arguments: list[Argument] = [session, MAX_LOG]
            for note in part:
                progress = "" if note.progress is None else repr(note.progress)
                message = "" if note.message is None else f"={note.message}"
                arguments += (note.id, note.token, progress, message, note.log.encode("utf-8", "surrogatepass"))
            calls.append(arguments)
        if calls:
            await self._write("annotate", *calls, repeatable=False)

    # -------------------------------------------------------------------------------- sessions and janitor

    async def open(self, session: Session) -> None:
        """See `JobStore.open`."""
        lanes = [lane_name(lane.queue, lane.requires) for lane in session.lanes]
        await self._write_one("open", session.id, SESSION_ENCODER.encode(session), self._settings.lease, *lanes)
        if self._hints is not None:
            self._hints.sessions.add(session.id)

    async def close(self, session: bytes) -> None:
        """See `JobStore.close`."""
        if self._hints is not None:
            self._hints.sessions.discard(session)
        for _ in range(_MOST_CLOSING):
            if not await self._write_one("close", session):
                return

    async def observe(self) -> list[SessionSign]:
        """See `JobStore.observe`."""
        flat = iter(await self._write_one("observe"))
        return [
            SessionSign(session, renewals, left, bool(revoked), lease) if lease else SessionSign(session, 0, 0, True)
            for session, renewals, left, revoked, lease in zip(*[flat] * 5, strict=True)
        ]

    async def reap(self, signs: Sequence[SessionSign], limit: int = 200) -> Progress:
        """See `JobStore.reap`."""
        check_batch("reap", signs)
        check_limit("reap", limit)
        known = [part for sign in signs for part in (sign.id, sign.renewals)]
        moved, more = await self._write_one("reap", min(limit, batches.PART), self._settings.max_lost, *known)
        return Progress(done=moved, more=bool(more))

    async def promote(self, limit: int = 1000) -> Progress:
        """See `JobStore.promote`."""
        check_limit("promote", limit)
        moved, more, next_at, now = await self._write_one("promote", min(limit, batches.PART))
        return Progress(done=moved, more=bool(more), next_at=None if next_at < 0 else next_at, now=now)

    async def release_edges(self, limit: int = 256) -> Progress:
        """See `JobStore.release_edges`."""
        check_limit("release_edges", limit)
        moved, more = (await self._write("release_edges", (), edges=limit))[0]
        return Progress(done=moved, more=bool(more))

    async def purge(self, limit: int = 1000) -> Progress:
        """See `JobStore.purge`."""
        check_limit("purge", limit)
        purged, more = await self._write_one("purge", min(limit, batches.PART))
        return Progress(done=purged, more=bool(more))

    # ------------------------------------------------------------------------------------------- operators

    async def cancel(self, ids: Sequence[bytes]) -> list[CancelAnswer]:
        """See `JobStore.cancel`."""
        check_batch("cancel", ids)
        found = await self._write("cancel", *batches.parts(ids)) if ids else []
        return [CancelAnswer(answer) for answers in found for answer in answers]

    async def replay(self, ids: Sequence[bytes]) -> list[ReplayAnswer]:
        """See `JobStore.replay`."""
        check_batch("replay", ids)
        answers: list[ReplayAnswer] = []
        while len(answers) < len(ids):
            part = ids[len(answers) : len(answers) + batches.PART]
            answers += map(ReplayAnswer, await self._write_one("replay", _MOST_CHANGES, *part))
        return answers

    async def skip(self, id: bytes, result: bytes) -> SkipAnswer:
        """See `JobStore.skip`."""
        return SkipAnswer(await self._write_one("skip", id, result))

    async def reschedule(self, ids: Sequence[bytes], at: Instant) -> list[bool]:
        """See `JobStore.reschedule`."""
        check_batch("reschedule", ids)
        check_instant("reschedule", at)
        calls: list[Arguments] = [(at, *part) for part in batches.parts(ids)]
        found = await self._write("reschedule", *calls) if ids else []
        return [answer == 1 for answers in found for answer in answers]

    async def delete(self, ids: Sequence[bytes]) -> int:
        """See `JobStore.delete`."""
        check_batch("delete", ids)
        return sum(await self._write("delete", *batches.parts(ids))) if ids else 0

    async def put_limit(self, limit: Limit) -> None:
        """See `JobStore.put_limit`."""
        check_record(limit)
        await self._write_one("put_limit", counted(limit.scope, limit.name), numbers_of(limit), "")

    async def pause(self, scope: LimitScope, name: str, *, paused: bool) -> None:
        """See `JobStore.pause`."""
        await self._write_one("put_limit", counted(scope, name), "", int(paused))

    async def command(self, session: bytes, command: str) -> bool:
        """See `JobStore.command`."""
        return bool(await self._write_one("command", session, command))

    # ------------------------------------------------------------------------------------------- schedules

    async def put_schedules(self, schedules: Sequence[NewSchedule]) -> list[PutAnswer]:
        """See `ScheduleStore.put_schedules`."""
        check_schedules("put_schedules", schedules)
        return timetable.put(await self._write("put_schedules", *map(timetable.to_put, batches.parts(schedules))))

    async def delete_schedules(self, names: Sequence[str]) -> int:
        """See `ScheduleStore.delete_schedules`."""
        check_batch("delete_schedules", names)
        return sum(await self._write("delete_schedules", *batches.parts(names)))

    async def get_schedules(self, names: Sequence[str]) -> list[ScheduleRecord | None]:
        """See `ScheduleStore.get_schedules`."""
        check_batch("get_schedules", names)
        found = await self._ask("get_schedules", *batches.parts(names))
        return [timetable.record_of(row) for rows in found for row in rows]

    async def list_schedules(self, *, limit: int = 100, cursor: str | None = None) -> SchedulePage:
        """See `ScheduleStore.list_schedules`."""
        check_limit("list_schedules", limit)
        return timetable.page((await self._ask("list_schedules", (cursor or "", limit)))[0])

    async def due_schedules(self, limit: int = 100) -> DueSchedules:
        """See `ScheduleStore.due_schedules`."""
        check_limit("due_schedules", limit)
        return timetable.due((await self._ask("due_schedules", (limit,)))[0])

    async def fire(self, firings: Sequence[Firing]) -> list[FireAnswer]:
        """See `ScheduleStore.fire`."""
        check_firings(firings)
        calls = map(timetable.to_fire, timetable.parts(firings))
        return timetable.fired(await self._write("fire", *calls))

    # ------------------------------------------------------------------------------------------- documents

    async def put_documents(self, documents: Sequence[NewDocument]) -> list[int | None]:
        """See `DocumentStore.put_documents`."""
        check_documents(documents)
        answers = await self._write("put_documents", *map(shelf.to_put, shelf.parts(documents)))
        return [version or None for part in answers for version in part]

    async def get_documents(self, kind: str, keys: Sequence[str]) -> list[Document | None]:
        """See `DocumentStore.get_documents`."""
        check_keys("get_documents", kind, keys)
        answers = await self._ask("get_documents", *((kind, *part) for part in batches.parts(keys)))
        return shelf.got(kind, keys, answers)

    async def list_documents(
        self, kind: str, *, above: str = "", below: str | None = None, limit: int = 100, descending: bool = False
    ) -> list[Document]:
        """See `DocumentStore.list_documents`."""
        until = check_range(kind, above, below, limit)
        answers = await self._ask("list_documents", (kind, above, until, limit, int(descending)))
        return shelf.listed(kind, answers[0])

    async def delete_documents(self, kind: str, keys: Sequence[str]) -> int:
        """See `DocumentStore.delete_documents`."""
        check_keys("delete_documents", kind, keys)
        return sum(await self._write("delete_documents", *((kind, *part) for part in batches.parts(keys))))

    # -------------------------------------------------------------------------------------------- insights

    async def now(self) -> Instant:
        """See `Insights.now`."""
        now: Instant = (await self._ask("now", ()))[0]
        return now

    async def get_jobs(self, ids: Sequence[bytes]) -> list[JobRecord | None]:
        """See `Insights.get_jobs`."""
        check_batch("get_jobs", ids)
        return await insights.get_jobs(self._ask, ids)

    async def results(self, ids: Sequence[bytes]) -> list[JobResult | None]:
        """See `Insights.results`."""
        check_batch("results", ids)
        told = {}
        if self._hints is not None and self._loop is asyncio.get_running_loop() and not self._closed:
            found = ((job_id, self._hints.take_result(job_id)) for job_id in ids)
            told = {job_id: insights.success(job_id, result) for job_id, result in found if result is not None}
        if not told:
            return await insights.results(self._ask, ids)
        asked = await insights.results(self._ask, [job_id for job_id in ids if job_id not in told])
        return [told.get(job_id) or asked.pop(0) for job_id in ids]

    async def list_jobs(
        self, filter: JobFilter, *, limit: int = 50, cursor: bytes | None = None, oldest_first: bool = False
    ) -> JobPage:
        """See `Insights.list_jobs`."""
        check_limit("list_jobs", limit)
        return await insights.list_jobs(self._ask, filter, limit, cursor, oldest_first=oldest_first)

    async def counts(self) -> dict[tuple[str, int], int]:
        """See `Insights.counts`."""
        return await insights.counts(self._ask)

    async def queues(self) -> list[QueueRecord]:
        """See `Insights.queues`."""
        return await insights.queues(self._ask)

    async def backlog(self, limit: int = 100) -> Backlog:
        """See `Insights.backlog`."""
        check_limit("backlog", limit)
        return await insights.backlog(self._ask, limit)

    async def lanes(self, queues: Sequence[str]) -> list[tuple[str, str]]:
        """See `Insights.lanes`."""
        check_batch("lanes", queues)
        return await insights.lanes(self._ask, queues)

    async def open_parents(self, id: bytes, limit: int = 20) -> list[ParentRecord]:
        """See `Insights.open_parents`."""
        check_limit("open_parents", limit)
        return await insights.open_parents(self._ask, id, limit)

    async def rate_waits(self, names: Sequence[tuple[LimitScope, str]]) -> list[Span]:
        """See `Insights.rate_waits`."""
        check_batch("rate_waits", names)
        return await insights.rate_waits(self._ask, names)

    async def limits(self, scope: LimitScope | None = None) -> list[Limit]:
        """See `Insights.limits`."""
        return await insights.limits(self._ask, scope)

    async def running(self) -> dict[tuple[LimitScope, str], int]:
        """See `Insights.running`."""
        return await insights.running(self._ask)

    async def sessions(self) -> list[SessionRecord]:
        """See `Insights.sessions`."""
        return await insights.sessions(self._ask)

    # ------------------------------------------------------------------------------------------- notifier

    def subscribe(self, channels: Collection[str], wake: Callable[[], None]) -> Subscription:
        """See `Notifier.subscribe`."""
        self._begin()
        assert self._hints is not None
        return self._hints.subscribe(channels, wake)
