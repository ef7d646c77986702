"""``windlass workers``: who is there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from windlass.cli.arguments import Group, command
from windlass.cli.output import ago, iso, note, say_json, say_table
from windlass.cli.target import STORE, with_store

if TYPE_CHECKING:
    from windlass.core.records import SessionRecord
    from windlass.store.port import Store


@command(*STORE)
def list_workers(*, app: str | None, url: str | None, as_json: bool) -> None:
    """List the workers that the store knows, oldest first."""

    async def act(store: Store) -> tuple[list[SessionRecord], int]:
        return await store.sessions(), await store.now()

    sessions, now = with_store(app, url, act)
    if as_json:
        say_json([_record(session, now) for session in sessions])
        return
    if not sessions:
        note("no workers")
        return
    say_table(
        ("session", "node", "#pid", "state", "queues", "#slots", "#running", "#age"),
        (
            (
                record.session.id.hex(),
                record.session.node,
                record.session.pid,
                _state(record, now),
                ", ".join(lane.queue for lane in record.session.lanes),
                record.session.slots,
                record.running,
                ago(now - record.opened_at),
            )
            for record in sessions
        ),
        whole=("session", "state"),
    )


def _state(record: SessionRecord, now: int) -> str:
    if record.revoked:
        return "revoked"
    return "live" if record.lease_until > now else "silent"


def _record(record: SessionRecord, now: int) -> dict[str, object]:
    session = record.session
    return {
        "session": session.id.hex(),
        "node": session.node,
        "pid": session.pid,
        "state": _state(record, now),
        "queues": [lane.queue for lane in session.lanes],
        "tasks": list(session.tasks),
        "version": session.version,
        "slots": session.slots,
        "running": record.running,
        "opened_at": iso(record.opened_at),
        "lease_until": iso(record.lease_until),
    }


COMMAND = Group("List workers.", ls=list_workers)
