"""Stored schedules: to look at, to make and to change while everything runs."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Unpack

import msgspec

from windlass import blocking
from windlass.backfill import Backfill, BackfillProgress
from windlass.call import Call
from windlass.client import Client
from windlass.core.clock import Instant, to_datetime
from windlass.core.definition import Definition, Policies, decode, encode
from windlass.core.errors import InvalidOption, ScheduleExists, ScheduleNotFound, UsageError
from windlass.core.firing import following
from windlass.core.ids import new_id, to_text
from windlass.core.names import check_schedule
from windlass.core.schedules import NewSchedule, PutStatus, ScheduleRecord
from windlass.core.triggers import Trigger
from windlass.core.triggers.base import check_trigger
from windlass.declared import PolicyOptions, definition, policies
from windlass.deploying import Deployed, deploy
from windlass.engine.declaring import put_new
from windlass.job import Job
from windlass.store.port import Store

HIDDEN = "***"
"""What is shown of a secret argument."""
_TRIES = 20
"""Changes by others, in a row, after which a change of ours is given up."""


class ScheduleInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A stored schedule, at one moment."""

    name: str
    task: str
    arguments: dict[str, Any]
    """``***`` in place of secret ones."""
    queue: str
    trigger: Trigger
    policies: Policies
    paused: bool
    next: datetime | None
    """The next fire time; ``None`` while it is paused, and when there is none any more."""
    last: datetime | None
    """The last fire time that was met, with a job or without."""
    fired: int
    """Jobs that it has enqueued."""
    skipped: int
    """Fire times that were met without a job: too late, or because the one before was unfinished."""
    last_job: str | None
    """Id of the job that it enqueued last."""
    declared: bool
    """The application's code declares it."""
    edited: bool
    """It was changed at run time since it was declared."""
    changed_at: datetime

    @property
    def description(self) -> str:
        """When it fires, in English."""
        return self.trigger.describe()


class Schedules:
    """The schedules of an app's store: ``app.schedules``. Each coroutine has a blocking twin whose name ends in
    ``_sync``."""

    def __init__(self, client: Client, tz: str) -> None:
        self._client = client
        self._tz = tz

    # --------------------------------------------------------------------------------------------- looking

    async def get(self, name: str) -> ScheduleInfo:
        """One schedule. Raises `ScheduleNotFound`."""
        return _info(await _read(await self._store(), name))

    def get_sync(self, name: str) -> ScheduleInfo:
        """As `get`, blocking."""
        return blocking.run(lambda: self.get(name))

    async def __aiter__(self) -> AsyncIterator[ScheduleInfo]:
        """All schedules, by name: ``async for schedule in app.schedules``."""
        store, cursor = await self._store(), None
        while True:
            page = await store.list_schedules(cursor=cursor)
            for record in page.schedules:
                if not decode(record.definition).withdrawn:
                    yield _info(record)
            cursor = page.cursor
            if cursor is None:
                return

    async def all(self) -> list[ScheduleInfo]:
        """All schedules, by name."""
        return [schedule async for schedule in self]

    def all_sync(self) -> list[ScheduleInfo]:
        """As `all`, blocking."""
        return blocking.run(self.all)

    async def next(self, name: str, count: int = 5) -> list[datetime]:
        """The next fire times of a schedule; none while it is paused. Raises `ScheduleNotFound`."""
        record = await _read(await self._store(), name)
        found: list[datetime] = []
        one = decode(record.definition)
        trigger, at = one.trigger, record.next
        if one.policies.max_jobs is not None:
            count = min(count, one.policies.max_jobs - record.fired)
        while at is not None and len(found) < count and not record.paused:
            found.append(to_datetime(at))
            at = following(trigger, at)
        return found

    def next_sync(self, name: str, count: int = 5) -> list[datetime]:
        """As `next`, blocking."""
        return blocking.run(lambda: self.next(name, count))

    # -------------------------------------------------------------------------------------------- changing

    async def add(
        self,
        name: str,
        call: Call[Any],
        trigger: Trigger,
        *,
        paused: bool = False,
        replace: bool = False,
        **policy: Unpack[PolicyOptions],
    ) -> ScheduleInfo:
        """Make a schedule: ``await app.schedules.add("noon", send.bind("ops", "noon"), Daily("12:00"))``.

        Args:
            name: of the schedule.
            call: what its jobs run; its options (queue, priority, retry, ...) are those of its jobs.
            trigger: when it fires.
            paused: it waits for `resume`.
            replace: a schedule with this name is replaced; what it has fired stays fired.
            policy: see `App.schedule`.

        Raises:
            ScheduleExists: there is one with this name, without ``replace``.
            InvalidName, InvalidOption: an argument is impossible, or the trigger never fires.
        """
        check_schedule(name)
        given = definition(call, trigger, self._tz, policies(**policy))
        if following(given.trigger, await (await self._store()).now()) is None:
            raise InvalidOption(f"schedule {name!r}: {given.trigger.describe()}: it would never fire again")
        status = (await put_new(await self._store(), {name: given}, paused=paused))[name]
        if status is PutStatus.CHANGED and await self._begin_anew(name):
            status = (await put_new(await self._store(), {name: given}, paused=paused))[name]
        if status is not PutStatus.STORED and replace:
            return await self._put(name, lambda old: _edited(given, old), paused=paused)
        if status is not PutStatus.STORED:
            raise ScheduleExists(f"schedule {name!r} is there already: replace it, or choose another name")
        return await self.get(name)

    def add_sync(self, name: str, call: Call[Any], trigger: Trigger, **options: Any) -> ScheduleInfo:
        """As `add`, blocking."""
        return blocking.run(lambda: self.add(name, call, trigger, **options))

    async def change(
        self,
        name: str,
        *,
        trigger: Trigger | None = None,
        call: Call[Any] | None = None,
        **policy: Unpack[PolicyOptions],
    ) -> ScheduleInfo:
        """Change a schedule: what is left out stays. Fire times that are past stay past. Raises `ScheduleNotFound`, and
        as `add`."""
        if trigger is not None:
            check_trigger(trigger)

        def changed(old: Definition) -> Definition:
            merged = policies(**{**_said(old.policies), **policy})
            if call is None:
                new = msgspec.structs.replace(old, policies=merged)
            else:
                new = definition(call, trigger or old.trigger, self._tz, merged)
            if trigger is not None:
                new = msgspec.structs.replace(new, trigger=trigger.in_zone(self._tz))
            return _edited(new, old)

        return await self._put(name, changed)

    def change_sync(self, name: str, **changes: Any) -> ScheduleInfo:
        """As `change`, blocking."""
        return blocking.run(lambda: self.change(name, **changes))

    async def pause(self, name: str) -> ScheduleInfo:
        """Stop a schedule from firing. Jobs that it has enqueued run. Raises `ScheduleNotFound`."""
        return await self._put(name, lambda old: old, paused=True)

    def pause_sync(self, name: str) -> ScheduleInfo:
        """As `pause`, blocking."""
        return blocking.run(lambda: self.pause(name))

    async def resume(self, name: str) -> ScheduleInfo:
        """Let a schedule fire again, from its next fire time on: what was due meanwhile is not made up for. Raises
        `ScheduleNotFound`."""
        return await self._put(name, lambda old: old, paused=False)

    def resume_sync(self, name: str) -> ScheduleInfo:
        """As `resume`, blocking."""
        return blocking.run(lambda: self.resume(name))

    async def delete(self, name: str) -> None:
        """Delete a schedule. Jobs that it has enqueued stay. One that the code declares stays deleted: no worker makes
        it again, and `windlass deploy` only with ``--force``. Raises `ScheduleNotFound`."""
        store = await self._store()
        if decode((await _read(store, name)).definition).declared:
            await self._write(name, lambda old: msgspec.structs.replace(old, edited=True, withdrawn=True), paused=True)
        elif not await store.delete_schedules([name]):
            raise ScheduleNotFound(f"there is no schedule {name!r}")

    def delete_sync(self, name: str) -> None:
        """As `delete`, blocking."""
        blocking.run(lambda: self.delete(name))

    async def fire(self, name: str) -> Job[Any]:
        """Enqueue a job of a schedule now, beside those of its fire times, and also if it is paused. Raises
        `ScheduleNotFound`."""
        opened = await self._client.opened()
        one = decode((await _read(opened.store, name)).definition)
        job = msgspec.structs.replace(one.new_job(name, await opened.store.now()), id=new_id(), at=None)
        answer = (await opened.enqueuer.enqueue((job,), len(job.payload)))[0]
        if answer.holder is not None:
            return Job(self._client, answer.holder, duplicate=True)
        return Job(self._client, job.id, self._client.tasks.get(one.task))

    def fire_sync(self, name: str) -> Job[Any]:
        """As `fire`, blocking."""
        return blocking.run(lambda: self.fire(name))

    async def backfill(self, name: str, start: datetime, end: datetime, *, parallel: int = 1) -> Backfill:
        """Jobs for the fire times of a range, from ``start`` until ``end``, at most ``parallel`` at a time, each once:
        ``await (await app.schedules.backfill("nightly", start, end))``. They are others than those of the schedule,
        and change nothing about it. Raises `ScheduleNotFound` and `InvalidOption`."""
        one = decode((await _read(await self._store(), name)).definition)
        return Backfill(self._client, name, one, start=start, end=end, parallel=parallel)

    def backfill_sync(self, name: str, start: datetime, end: datetime, *, parallel: int = 1) -> BackfillProgress:
        """As awaiting `backfill`, and what it gives, blocking."""
        return blocking.run(lambda: self.backfill(name, start, end, parallel=parallel)).total_sync()

    async def deploy(self, declared: Mapping[str, Definition], *, force: bool = False) -> list[Deployed]:
        """Make the store say what the code declares: ``await app.schedules.deploy(app.declared)``. See `windlass
        deploy`."""
        return await deploy(await self._store(), declared, force=force)

    async def _put(
        self, name: str, change: Callable[[Definition], Definition], *, paused: bool | None = None
    ) -> ScheduleInfo:
        await self._write(name, change, paused=paused)
        return await self.get(name)

    async def _begin_anew(self, name: str) -> bool:
        """Forget a schedule that the code declares and that was deleted; answers whether it was one."""
        store = await self._store()
        [record] = await store.get_schedules([name])
        withdrawn = record is not None and decode(record.definition).withdrawn
        return withdrawn and await store.delete_schedules([name]) > 0

    async def _write(
        self, name: str, change: Callable[[Definition], Definition], *, paused: bool | None = None
    ) -> None:
        """Read, change and write a schedule, again if somebody else does meanwhile."""
        store = await self._store()
        for _ in range(_TRIES):
            record = await _read(store, name)
            wanted = record.paused if paused is None else paused
            old = decode(record.definition)
            new = change(old)
            now = await store.now()
            _check_change(record, old, new, now)
            at = None if wanted else _next_of(record, new, now)
            put = NewSchedule(name=name, definition=encode(new), version=record.version, next=at, paused=wanted)
            if (await store.put_schedules([put]))[0].status is PutStatus.STORED:
                return
        raise UsageError(f"schedule {name!r} is changed by others all the time: try again")

    async def _store(self) -> Store:
        return (await self._client.opened()).store


def _check_change(record: ScheduleRecord, old: Definition, new: Definition, now: Instant) -> None:
    """Refuse a change that would end a schedule unseen. Raises `InvalidOption`."""
    if new.trigger != old.trigger and following(new.trigger, max(now, record.last or 0)) is None:
        raise InvalidOption(f"schedule {record.name!r}: {new.trigger.describe()}: it would never fire again")
    most = new.policies.max_jobs
    if most is not None and most != old.policies.max_jobs and record.fired >= most:
        raise InvalidOption(
            f"schedule {record.name!r} has had {record.fired} jobs: with max_jobs={most} it would be over"
        )


def _edited(new: Definition, old: Definition) -> Definition:
    """What the code declares stays known as such, and as changed since."""
    return msgspec.structs.replace(new, declared=old.declared, edited=bool(old.declared))


def _next_of(record: ScheduleRecord, new: Definition, now: Instant) -> Instant | None:
    """The next fire time after a change. One that is due, and of the same trigger, stays due."""
    unchanged = not record.paused and decode(record.definition).trigger == new.trigger
    if unchanged and record.next is not None:
        return record.next
    return following(new.trigger, now if record.last is None else max(now, record.last))


async def _read(store: Store, name: str) -> ScheduleRecord:
    [record] = await store.get_schedules([check_schedule(name)])
    if record is None or decode(record.definition).withdrawn:
        raise ScheduleNotFound(f"there is no schedule {name!r}")
    return record


def _said(policy: Policies) -> dict[str, Any]:
    """Policies as people give them."""
    said = msgspec.structs.asdict(policy)
    for name in ("misfire_grace", "jitter"):
        said[name] = None if said[name] is None else said[name] / 1_000_000
    return said


def _shown(one: Definition) -> dict[str, Any]:
    """The arguments, without those that are secret."""
    arguments: dict[str, Any] = json.loads(bytes(one.payload))
    return {name: HIDDEN if name in one.options.secret else value for name, value in arguments.items()}


def _info(record: ScheduleRecord) -> ScheduleInfo:
    one = decode(record.definition)
    return ScheduleInfo(
        name=record.name,
        task=one.task,
        arguments=_shown(one),
        queue=one.queue,
        trigger=one.trigger,
        policies=one.policies,
        paused=record.paused,
        next=None if record.next is None or record.paused else to_datetime(record.next),
        last=None if record.last is None else to_datetime(record.last),
        fired=record.fired,
        skipped=record.skipped,
        last_job=None if record.last_job is None else to_text(record.last_job),
        declared=bool(one.declared),
        edited=one.edited,
        changed_at=to_datetime(record.changed_at).astimezone(UTC),
    )
