"""Pausing queues and tasks, and letting them go on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from windlass.cli.output import note, say, say_json
from windlass.cli.target import with_store
from windlass.core.names import check_queue, check_task
from windlass.core.records import LimitScope

if TYPE_CHECKING:
    from windlass.store.port import Store


def set_paused(
    scope: LimitScope, names: list[str], app: str | None, url: str | None, *, paused: bool, as_json: bool
) -> None:
    """Pause these, or let them go on, and say so; and of which nothing was known before."""
    is_queue = scope is LimitScope.QUEUE
    word = "queue" if is_queue else "task"
    wanted = list(dict.fromkeys((check_queue if is_queue else check_task)(name) for name in names))

    async def act(store: Store) -> set[str]:
        known = await known_names(store, scope)
        for name in wanted:
            await store.pause(scope, name, paused=paused)
        return known

    known = with_store(app, url, act)
    if as_json:
        say_json([{word: name, "paused": paused} for name in wanted])
        return
    for name in wanted:
        say(f"{name} {'paused' if paused else 'resumed'}")
        if name not in known:
            note(f"nothing was known of {word} {name} before")


async def known_names(store: Store, scope: LimitScope) -> set[str]:
    """Queues, or tasks, that somebody seems to use: another name may be a slip."""
    if scope is LimitScope.QUEUE:
        return {queue.name for queue in await store.queues()}
    limited = {limit.name for limit in await store.limits(LimitScope.TASK)}
    return limited.union(*(record.session.tasks for record in await store.sessions()))
