"""Making the store's schedules say what the application's code says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple, TypeAlias

import msgspec

from windlass.core.definition import Definition, decode, encode
from windlass.core.errors import UsageError
from windlass.core.firing import following
from windlass.core.schedules import NewSchedule, PutStatus, ScheduleRecord
from windlass.engine.declaring import declare
from windlass.store.port import Store

Action: TypeAlias = Literal["made", "changed", "unchanged", "kept", "deleted", "adopted"]


class Deployed(NamedTuple):
    """What became of one schedule."""

    name: str
    action: Action
    """``kept``: it was changed at run time, and stays so; ``adopted``: it was made at run time, and is now declared."""


async def deploy(store: Store, declared: Mapping[str, Definition], *, force: bool = False) -> list[Deployed]:
    """Make, change and delete schedules, so that the store has those that the code declares.

    What was changed at run time stays, unless ``force``; so do pauses, and schedules that the code never declared. A
    schedule that the code declared once, and does not any more, is deleted, unless it was changed at run time; one that
    was deleted at run time stays so, unless ``force``.
    """
    answers: list[Deployed] = []
    missing = dict(declared)
    cursor = None
    while True:
        page = await store.list_schedules(limit=500, cursor=cursor)
        for record in page.schedules:
            wanted = missing.pop(record.name, None)
            answer = await _settle(store, record, wanted, force=force)
            if answer == "made" and wanted is not None:
                missing[record.name] = wanted
            elif answer is not None:
                answers.append(Deployed(record.name, answer))
        cursor = page.cursor
        if cursor is None:
            break
    await declare(store, missing)
    answers += [Deployed(name, "made") for name in missing]
    return sorted(answers)


async def _settle(store: Store, record: ScheduleRecord, wanted: Definition | None, *, force: bool) -> Action | None:
    """Bring one stored schedule into line; ``None``: it is none of the code's business."""
    stored = decode(record.definition)
    if wanted is None:
        if not stored.declared or stored.withdrawn:
            return None
        if stored.edited and not force:
            return "kept"
        await _withdraw(store, record, stored)
        return "deleted"
    if stored.withdrawn:
        if stored.edited and not force:
            return "kept"
        await store.delete_schedules([record.name])  # so that it begins anew
        return "made"
    if stored.declared == wanted.declared and not (force and stored.edited):
        return "kept" if stored.edited else "unchanged"
    if stored.edited and not force:
        return "kept"
    await _put(store, record, wanted)
    return "changed" if stored.declared else "adopted"


async def _withdraw(store: Store, record: ScheduleRecord, stored: Definition) -> None:
    """Take a schedule away so that workers of the version before, which declare it, do not make it again."""
    gone = encode(msgspec.structs.replace(stored, edited=False, withdrawn=True))
    put = NewSchedule(name=record.name, definition=gone, version=record.version, next=None, paused=True)
    await _put_or_complain(store, put)


async def _put(store: Store, record: ScheduleRecord, wanted: Definition) -> None:
    now = await store.now()
    same_trigger = decode(record.definition).trigger == wanted.trigger
    at = record.next if same_trigger else following(wanted.trigger, max(now, record.last or 0))
    put = NewSchedule(
        name=record.name,
        definition=encode(msgspec.structs.replace(wanted, edited=False)),
        version=record.version,
        next=None if record.paused else at,
        paused=record.paused,
    )
    await _put_or_complain(store, put)


async def _put_or_complain(store: Store, put: NewSchedule) -> None:
    if (await store.put_schedules([put]))[0].status is not PutStatus.STORED:
        raise UsageError(f"schedule {put.name!r} was changed meanwhile: deploy again")
