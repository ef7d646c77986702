"""The store: the port, spoken to functions in the server."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Collection, Sequence
from typing import Any

import msgspec
from asyncpg.pgproto.pgproto import UUID

from windlass.core.clock import Instant, Span
from windlass.core.documents import Document, NewDocument
from windlass.core.errors import StoreUnavailable
from windlass.core.graph import EDGES_PER_SETTLEMENT, MAX_EDGES_PER_CALL
from windlass.core.model import (
    KEEP_AT_LEAST,
    MAX_BATCH,
    STORED,
    ClaimAnswer,
    ClaimRequest,
    Edge,
    EdgeAnswer,
    EnqueueAnswer,
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
from windlass.store.postgres import attempts, enqueue, fork, insights, schema, strangers
from windlass.store.postgres import documents as shelf
from windlass.store.postgres import schedules as timetable
from windlass.store.postgres.address import parse
from windlass.store.postgres.beside import both
from windlass.store.postgres.link import EVERY_LANE, Link
from windlass.store.postgres.names import lane_number, number_of, uuids
from windlass.store.postgres.wake import Subscription

_KEY_PATIENCE = 5.0
"""Seconds in which another transaction must end that holds a unique key."""
_LISTEN_PATIENCE = 3.0
_NO_RATE = (None, None, None)
_encode = msgspec.json.Encoder().encode


class PostgresStore:
    """A store in a schema of a PostgreSQL database, for all machines that reach it.

    Args:
        url: of the database, as libpq has it, with our options (`windlass.store.postgres.address.parse`).
        settings: what the store must know beyond its URL; the same in all processes.
        clock: answers the store's clock in microseconds since the epoch; the server's, unless a test says otherwise.
    """

    def __init__(self, url: str, settings: Settings | None = None, clock: Callable[[], Instant] | None = None) -> None:
        self._given = url
        self._address = parse(url)
        self._link = Link(self._address)
        self._call = self._link.call
        self._settings = settings or Settings()
        self._clock = clock
        fork.protect(self)

    def __repr__(self) -> str:
        return f"PostgresStore({self._address.shown!r})"

    @property
    def capabilities(self) -> Capability:
        """See `Store.capabilities`."""
        return (
            Capability.DURABLE
            | Capability.SHARED
            | Capability.NETWORKED
            | Capability.WAKE_UPS
            | Capability.TRANSACTIONAL
        )

    @property
    def url(self) -> str:
        """See `Store.url`."""
        return self._address.shown

    @property
    def settings(self) -> Settings:
        """See `Store.settings`."""
        return self._settings

    # ------------------------------------------------------------------------------------------------ life

    async def connect(self) -> None:
        """See `Store.connect`. Checks the layout, which `migrate` creates, and begins to listen for hints."""
        await self._link.connected()
        await self._link.listening().wait_until_it_listens(_LISTEN_PATIENCE)

    async def aclose(self) -> None:
        """See `Store.aclose`."""
        await self._link.close()

    async def migrate(self, *, finish: bool = False) -> list[str]:
        """See `Store.migrate`. Creates the layout where there is none."""
        return await schema.migrate(self._address, self._now(), finish=finish)

    def twin(self) -> PostgresStore:
        """See `Store.twin`."""
        return PostgresStore(self._given, self._settings, self._clock)

    def drop_inherited(self) -> object:
        """See `windlass.store.postgres.fork`."""
        return self._link.drop()

    def _now(self) -> Instant | None:
        """What the functions take for now; ``None``: the server's clock."""
        return None if self._clock is None else self._clock()

    async def _value(self, name: str, *arguments: Any) -> Any:
        return (await self._call(name, *arguments))[0][0]

    async def _ask(self, name: str, *arguments: Any) -> list[Any]:
        """As `_call`, for what may take longer."""
        return await self._link.ask(name, *arguments)

    # ------------------------------------------------------------------------------------------------ jobs

    async def enqueue(
        self, jobs: Sequence[NewJob], edges: Sequence[Edge] = (), *, first_sent: Instant
    ) -> EnqueueResult:
        """See `JobStore.enqueue`. One trip where no job has a unique key, or all have; else one for each run of such
        jobs."""
        check_batch("enqueue", jobs)
        check_edges(edges)
        try:
            check_places(jobs)
            return await self._enqueue(jobs, edges, first_sent)
        except UNFIT:
            check_jobs(jobs)
            raise

    async def _enqueue(self, jobs: Sequence[NewJob], edges: Sequence[Edge], first_sent: Instant) -> EnqueueResult:
        answers: list[EnqueueAnswer] = []
        for part in enqueue.parts(jobs):
            if part.unique:
                answers += await self._store_each(part.jobs, first_sent)
            elif any(job.parents for job in part.jobs):
                answers += await self._store_linked(part.jobs, first_sent)
            else:
                answers += await self._store_plain(part.jobs, first_sent)
        added = await self._add_edges(edges, first_sent) if edges else []
        if not jobs and not edges:
            await self._link.connected()
        return EnqueueResult(answers, added)

    async def _store_plain(self, jobs: Sequence[NewJob], first_sent: Instant) -> list[EnqueueAnswer]:
        told = self._link.ready.may_go_along()
        await self._call(
            "enqueue_plain", self._now(), first_sent, self._settings.keep, told, True, *enqueue.columns(jobs)
        )
        if not told:
            self._link.ready.later([(job.queue, job.requires) for job in jobs])
        return [STORED] * len(jobs)

    async def _store_linked(self, jobs: Sequence[NewJob], first_sent: Instant) -> list[EnqueueAnswer]:
        ((together,),) = await self._call(
            "enqueue_linked", self._now(), first_sent, self._settings.keep, MAX_EDGES_PER_CALL,
            *enqueue.columns(jobs), *enqueue.link_columns(jobs),
        )  # fmt: skip
        return [STORED] * len(jobs) if together else await self._store_each(jobs, first_sent)

    async def _store_each(self, jobs: Sequence[NewJob], first_sent: Instant) -> list[EnqueueAnswer]:
        """Store jobs one by one. Those whose key another transaction holds are tried again, so that nobody else's job
        waits for that transaction inside the server."""
        answers: dict[bytes, EnqueueAnswer] = {}
        left = list(jobs)
        wait = 0.005
        try:
            async with asyncio.timeout(_KEY_PATIENCE):
                while True:
                    rows = await self._call(
                        "enqueue_each", self._now(), first_sent, self._settings.keep, MAX_EDGES_PER_CALL, False, True,
                        *enqueue.columns(left), *enqueue.more_columns(left),
                    )  # fmt: skip
                    said = zip(left, map(enqueue.answer_of, rows), strict=True)
                    left = []
                    for job, answer in said:
                        if answer is None:
                            left.append(job)
                        else:
                            answers.setdefault(job.id, answer)
                    if not left:
                        return [answers[job.id] for job in jobs]
                    await asyncio.sleep(wait * random.uniform(0.5, 1.5))  # noqa: S311 - no secret
                    wait = min(wait * 2, 0.25)
        except TimeoutError:
            keys = ", ".join(sorted({repr(job.unique.key) for job in left if job.unique is not None})[:3])
            raise StoreUnavailable(
                f"{self._address.shown}: a transaction that has not ended holds the unique key {keys}"
            ) from None

    async def _add_edges(self, edges: Sequence[Edge], first_sent: Instant) -> list[EdgeAnswer]:
        rows = await self._call(
            "enqueue_edges", self._now(), first_sent, self._settings.keep, MAX_EDGES_PER_CALL,
            *enqueue.edge_columns(edges),
        )  # fmt: skip
        return [EdgeAnswer(answer) for (answer,) in rows]

    async def claim(self, session: bytes, request: ClaimRequest) -> ClaimAnswer:
        """See `JobStore.claim`."""
        check_request(request)
        answer = await self._claim(session, request, beside=False)
        assert answer is not None
        return answer

    async def _claim(self, session: bytes, request: ClaimRequest, *, beside: bool) -> ClaimAnswer | None:
        """Claim; ``None``: not beside settlements."""
        ranges = self._link.floors.ranges(request)
        rows = await self._call(
            "claim", self._now(), UUID(session), *attempts.claim_arguments(request), *ranges, beside,
            *self._link.idling(session, request),
        )  # fmt: skip
        if attempts.comes_too_early(rows):
            return None
        self._link.stands(session, rows)
        return attempts.claim_answer(rows, request, self._link.floors, ranges)

    async def settle(
        self, session: bytes, settlements: Sequence[Settlement], claim: ClaimRequest | None = None
    ) -> SettleResult:
        """See `JobStore.settle`. Where that cannot matter, the claim is on its way at the same time; where it turns out
        that it does, it follows in a trip of its own."""
        check_batch("settle", settlements)
        check_distinct(settlements)
        if claim is not None:
            check_request(claim)
        order = self._link.order
        if claim is None or order.matters(settlements, claim):
            return (await self._settle(session, settlements, claim))[0]
        answer, (result, releases) = await both(
            self._claim(session, claim, beside=True), self._settle(session, settlements, None)
        )
        if answer is None:
            order.mattered()
            answer = await self._claim(session, claim, beside=False)
        elif releases:  # which it may not have seen
            answer = msgspec.structs.replace(answer, more=True)
        return SettleResult(result.answers, answer, result.more_edges)

    async def _settle(
        self, session: bytes, settlements: Sequence[Settlement], claim: ClaimRequest | None
    ) -> tuple[SettleResult, bool]:
        """Settle, then claim; answers also whether jobs may have become ready."""
        told = self._link.finished.may_go_along()
        ranges = self._link.floors.ranges(claim)
        rows = await self._call(
            "settle", self._now(), UUID(session), told, self._settings.keep,
            MAX_EDGES_PER_CALL + EDGES_PER_SETTLEMENT * len(settlements),
            *attempts.settle_arguments(settlements), *attempts.claim_arguments(claim), *ranges,
            *self._link.idling(session, claim),
        )  # fmt: skip
        if not told:
            self._link.finished.later([one.id.hex() for one in settlements])
        if attempts.frees_places(rows):
            self._link.ready.later([EVERY_LANE])
        if claim is not None:
            self._link.stands(session, rows)
        result = attempts.settle_result(rows, settlements, claim, self._link.floors, ranges)
        return result, attempts.releases(rows)

    async def unclaim(self, session: bytes, request: int) -> None:
        """See `JobStore.unclaim`."""
        await self._call("unclaim", self._now(), UUID(session), request, self._settings.keep, MAX_EDGES_PER_CALL)

    async def renew(self, session: bytes, held: Sequence[tuple[bytes, int]], answered: int) -> Renewal:
        """See `JobStore.renew`."""
        rows = await self._call(
            "renew", self._now(), UUID(session), uuids([key for key, _ in held]), [token for _, token in held],
            answered, self._settings.lease, self._settings.keep, MAX_EDGES_PER_CALL,
        )  # fmt: skip
        version, oldest, revoked, lost, cancel, commands, duty, suspects = rows[0]
        schema.check_version(version, oldest, self._address.shown)
        if revoked:
            return Renewal(revoked=True)
        return Renewal(
            lost=[key.bytes for key in lost],
            cancel=[key.bytes for key in cancel],
            commands=commands,
            duty=duty,
            suspects=suspects,
        )

    async def annotate(self, session: bytes, notes: Sequence[Note]) -> None:
        """See `JobStore.annotate`."""
        check_batch("annotate", notes)
        await self._call(
            "annotate",
            UUID(session),
            uuids([note.id for note in notes]),
            [note.token for note in notes],
            [note.progress for note in notes],
            [None if note.message is None else note.message.encode("utf-8", "surrogatepass") for note in notes],
            [note.log.encode("utf-8", "surrogatepass") for note in notes],
        )

    async def enqueue_in(self, connection: object, jobs: Sequence[NewJob]) -> list[EnqueueAnswer]:
        """See `Transactional.enqueue_in`."""
        check_batch("enqueue", jobs)
        check_jobs(jobs)
        return await strangers.enqueue_in(connection, self._link.sql["enqueue_in"], jobs, self._settings.keep)

    def enqueue_in_sync(self, connection: object, jobs: Sequence[NewJob]) -> list[EnqueueAnswer]:
        """See `Transactional.enqueue_in_sync`."""
        check_batch("enqueue", jobs)
        check_jobs(jobs)
        return strangers.enqueue_in_sync(connection, self._link.sql["enqueue_in"], jobs, self._settings.keep)

    # -------------------------------------------------------------------------------- sessions and janitor

    async def open(self, session: Session) -> None:
        """See `JobStore.open`."""
        lanes = [lane_number(lane.queue, lane.requires) for lane in session.lanes]
        await self._call(
            "open_session", self._now(), UUID(session.id), self._settings.lease, schema.LATEST, lanes, _encode(session)
        )

    async def close(self, session: bytes) -> None:
        """See `JobStore.close`."""
        await self._call(
            "close_session", self._now(), UUID(session), MAX_BATCH, self._settings.keep, MAX_EDGES_PER_CALL
        )
        self._link.idle.discard(session)

    async def observe(self) -> list[SessionSign]:
        """See `JobStore.observe`."""
        return [
            SessionSign(key.bytes, renewals, left, revoked, **({} if lease is None else {"lease": lease}))
            for key, renewals, left, revoked, lease in await self._call("observe", self._now())
        ]

    async def reap(self, signs: Sequence[SessionSign], limit: int = 200) -> Progress:
        """See `JobStore.reap`."""
        check_batch("reap", signs)
        check_limit("reap", limit)
        rows = await self._call(
            "reap", self._now(), uuids([sign.id for sign in signs]), [sign.renewals for sign in signs], limit,
            self._settings.max_lost, self._settings.keep, self._settings.keep_dead, MAX_EDGES_PER_CALL,
        )  # fmt: skip
        return Progress(*rows[0])

    async def promote(self, limit: int = 1000) -> Progress:
        """See `JobStore.promote`."""
        check_limit("promote", limit)
        rows = await self._call("promote", self._now(), limit, self._settings.keep, MAX_EDGES_PER_CALL)
        return Progress(*rows[0])

    async def release_edges(self, limit: int = 256) -> Progress:
        """See `JobStore.release_edges`."""
        check_limit("release_edges", limit)
        return Progress(*(await self._call("release_edges", self._now(), limit, self._settings.keep))[0])

    async def purge(self, limit: int = 1000) -> Progress:
        """See `JobStore.purge`."""
        check_limit("purge", limit)
        return Progress(*(await self._call("purge", self._now(), limit))[0])

    # ------------------------------------------------------------------------------------------- operators

    async def cancel(self, ids: Sequence[bytes]) -> list[CancelAnswer]:
        """See `JobStore.cancel`."""
        check_batch("cancel", ids)
        rows = await self._call("cancel", self._now(), uuids(ids), self._settings.keep, MAX_EDGES_PER_CALL)
        return [CancelAnswer(answer) for (answer,) in rows]

    async def replay(self, ids: Sequence[bytes]) -> list[ReplayAnswer]:
        """See `JobStore.replay`."""
        check_batch("replay", ids)
        return [ReplayAnswer(answer) for (answer,) in await self._call("replay", uuids(ids))]

    async def skip(self, id: bytes, result: bytes) -> SkipAnswer:
        """See `JobStore.skip`."""
        return SkipAnswer(
            await self._value("skip", self._now(), UUID(id), result, self._settings.keep, MAX_EDGES_PER_CALL)
        )

    async def reschedule(self, ids: Sequence[bytes], at: Instant) -> list[bool]:
        """See `JobStore.reschedule`."""
        check_batch("reschedule", ids)
        check_instant("reschedule", at)
        moved = {one.bytes for one in await self._value("reschedule", self._now(), uuids(ids), at)}
        return [job_id in moved for job_id in ids]

    async def delete(self, ids: Sequence[bytes]) -> int:
        """See `JobStore.delete`."""
        check_batch("delete", ids)
        return int(await self._value("delete_jobs", self._now(), uuids(ids), KEEP_AT_LEAST))

    async def put_limit(self, limit: Limit) -> None:
        """See `JobStore.put_limit`."""
        check_record(limit)
        rate = _NO_RATE if limit.rate is None else (limit.rate.count, limit.rate.per, limit.rate.burst)
        await self._put_limit(limit.scope, limit.name, None, limit.concurrency, *rate)

    async def pause(self, scope: LimitScope, name: str, *, paused: bool) -> None:
        """See `JobStore.pause`."""
        await self._put_limit(scope, name, paused, None, None, None, None)

    async def _put_limit(self, scope: LimitScope, name: str, paused: bool | None, *values: int | None) -> None:
        await self._call("put_limit", int(scope), name, number_of(name), paused, *values)

    async def command(self, session: bytes, command: str) -> bool:
        """See `JobStore.command`."""
        return bool(await self._value("command", self._now(), UUID(session), command))

    # ------------------------------------------------------------------------------------------- schedules

    async def put_schedules(self, schedules: Sequence[NewSchedule]) -> list[PutAnswer]:
        """See `ScheduleStore.put_schedules`."""
        check_schedules("put_schedules", schedules)
        return timetable.put(await self._call("put_schedules", self._now(), *timetable.columns(schedules)))

    async def delete_schedules(self, names: Sequence[str]) -> int:
        """See `ScheduleStore.delete_schedules`."""
        check_batch("delete_schedules", names)
        return int((await self._call("delete_schedules", self._now(), list(names)))[0][0])

    async def get_schedules(self, names: Sequence[str]) -> list[ScheduleRecord | None]:
        """See `ScheduleStore.get_schedules`."""
        check_batch("get_schedules", names)
        return [timetable.record_of(row) for row in await self._call("get_schedules", list(names))]

    async def list_schedules(self, *, limit: int = 100, cursor: str | None = None) -> SchedulePage:
        """See `ScheduleStore.list_schedules`."""
        check_limit("list_schedules", limit)
        return timetable.page(await self._call("list_schedules", cursor or "", limit + 1), limit)

    async def due_schedules(self, limit: int = 100) -> DueSchedules:
        """See `ScheduleStore.due_schedules`."""
        check_limit("due_schedules", limit)
        return timetable.due(await self._call("due_schedules", self._now(), limit + 1), limit)

    async def fire(self, firings: Sequence[Firing]) -> list[FireAnswer]:
        """See `ScheduleStore.fire`. One trip where no job has a unique key or parents, or all have; else one for each
        run of such firings."""
        check_firings(firings)
        answers: list[FireAnswer] = []
        for part in timetable.parts(firings):
            head = self._now(), self._settings.keep, MAX_EDGES_PER_CALL
            answers += timetable.fired(part, await self._call("fire", *head, *timetable.firing_columns(part)))
        return answers

    # ------------------------------------------------------------------------------------------- documents

    async def put_documents(self, documents: Sequence[NewDocument]) -> list[int | None]:
        """See `DocumentStore.put_documents`."""
        check_documents(documents)
        return [version for (version,) in await self._call("put_documents", self._now(), *shelf.columns(documents))]

    async def get_documents(self, kind: str, keys: Sequence[str]) -> list[Document | None]:
        """See `DocumentStore.get_documents`."""
        check_keys("get_documents", kind, keys)
        return [shelf.document_of(row) for row in await self._call("get_documents", self._now(), kind, list(keys))]

    async def list_documents(
        self, kind: str, *, above: str = "", below: str | None = None, limit: int = 100, descending: bool = False
    ) -> list[Document]:
        """See `DocumentStore.list_documents`."""
        until = check_range(kind, above, below, limit)
        statement = "list_documents_down" if descending else "list_documents_up"
        rows = await self._call(statement, self._now(), kind, above, until, limit)
        return [shelf.listed(row) for row in rows]

    async def delete_documents(self, kind: str, keys: Sequence[str]) -> int:
        """See `DocumentStore.delete_documents`."""
        check_keys("delete_documents", kind, keys)
        return int(await self._value("delete_documents", self._now(), kind, list(keys)))

    # -------------------------------------------------------------------------------------------- insights

    async def now(self) -> Instant:
        """See `Insights.now`."""
        return int(await self._value("now", self._now()))

    async def get_jobs(self, ids: Sequence[bytes]) -> list[JobRecord | None]:
        """See `Insights.get_jobs`."""
        check_batch("get_jobs", ids)
        return await insights.get_jobs(self._call, ids)

    async def results(self, ids: Sequence[bytes]) -> list[JobResult | None]:
        """See `Insights.results`."""
        check_batch("results", ids)
        return await insights.results(self._call, ids)

    async def list_jobs(
        self, filter: JobFilter, *, limit: int = 50, cursor: bytes | None = None, oldest_first: bool = False
    ) -> JobPage:
        """See `Insights.list_jobs`. A second trip where it comes to the end of what one call looks at."""
        check_limit("list_jobs", limit)
        return await insights.list_jobs(self._ask, filter, limit, cursor, oldest_first=oldest_first)

    async def counts(self) -> dict[tuple[str, int], int]:
        """See `Insights.counts`."""
        return await insights.counts(self._ask)

    async def queues(self) -> list[QueueRecord]:
        """See `Insights.queues`."""
        return await insights.queues(self._ask)

    async def backlog(self, limit: int = 100) -> Backlog:
        """See `Insights.backlog`. A trip for each lane, and two more."""
        check_limit("backlog", limit)
        return await insights.backlog(self._ask, limit)

    async def lanes(self, queues: Sequence[str]) -> list[tuple[str, str]]:
        """See `Insights.lanes`."""
        check_batch("lanes", queues)
        return await insights.lanes(self._ask, queues)

    async def open_parents(self, id: bytes, limit: int = 20) -> list[ParentRecord]:
        """See `Insights.open_parents`."""
        check_limit("open_parents", limit)
        return await insights.open_parents(self._call, id, limit)

    async def rate_waits(self, names: Sequence[tuple[LimitScope, str]]) -> list[Span]:
        """See `Insights.rate_waits`."""
        check_batch("rate_waits", names)
        return await insights.rate_waits(self._call, names, self._now())

    async def limits(self, scope: LimitScope | None = None) -> list[Limit]:
        """See `Insights.limits`."""
        return await insights.limits(self._call, scope)

    async def running(self) -> dict[tuple[LimitScope, str], int]:
        """See `Insights.running`."""
        return await insights.running(self._ask)

    async def sessions(self) -> list[SessionRecord]:
        """See `Insights.sessions`."""
        return await insights.sessions(self._ask)

    # ------------------------------------------------------------------------------------------- notifier

    def subscribe(self, channels: Collection[str], wake: Callable[[], None]) -> Subscription:
        """See `Notifier.subscribe`."""
        return self._link.listening().subscribe(channels, wake)
