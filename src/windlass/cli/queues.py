"""``windlass queues``: list, pause and resume queues."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from windlass.cli.arguments import Argument, Group, command
from windlass.cli.limits import words
from windlass.cli.output import ago, note, say_json, say_table
from windlass.cli.pausing import set_paused
from windlass.cli.target import STORE, with_store
from windlass.core.records import LimitScope
from windlass.limits import limit_info
from windlass.views import queue_view

if TYPE_CHECKING:
    from windlass.core.records import QueueRecord
    from windlass.store.port import Store

NAMES = Argument("names", nargs="+", metavar="QUEUE", help="Names of queues.")


@command(*STORE, examples=[("windlass queues ls", "What waits where, and since when.")])
def list_queues(*, app: str | None, url: str | None, as_json: bool) -> None:
    """List queues that have unfinished jobs or a record."""

    async def act(store: Store) -> tuple[list[QueueRecord], int]:
        return await store.queues(), await store.now()

    queues, now = with_store(app, url, act)
    if as_json:
        say_json([msgspec.to_builtins(queue_view(queue)) for queue in queues])
        return
    if not queues:
        note("no queues: none has unfinished jobs or a record")
        return
    say_table(
        ("queue", "#ready", "#running", "#scheduled", "#waiting", "#suspects", "#oldest", "limits"),
        (
            (
                queue.name,
                queue.ready,
                queue.running,
                queue.scheduled,
                queue.waiting,
                queue.suspects,
                "" if queue.oldest_ready_at is None else ago(now - queue.oldest_ready_at),
                "" if queue.limit is None else words(limit_info(queue.limit, [queue.running])),
            )
            for queue in queues
        ),
    )


@command(NAMES, *STORE, examples=[("windlass queues pause mail reports", "Nothing starts in either.")])
def pause(*, names: list[str], app: str | None, url: str | None, as_json: bool) -> None:
    """Pause queues. Workers claim nothing more from them, and give back what they have not started; what runs goes on;
    jobs can still be enqueued."""
    set_paused(LimitScope.QUEUE, names, app, url, paused=True, as_json=as_json)


@command(NAMES, *STORE, examples=[("windlass queues resume mail reports", "Their jobs start again.")])
def resume(*, names: list[str], app: str | None, url: str | None, as_json: bool) -> None:
    """Resume queues. Workers claim from them again."""
    set_paused(LimitScope.QUEUE, names, app, url, paused=False, as_json=as_json)


COMMAND = Group("List, pause and resume queues.", ls=list_queues, pause=pause, resume=resume)
