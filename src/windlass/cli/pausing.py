"""Pausing queues and tasks, and letting them go on."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from windlass.cli.output import note, say, say_json
from windlass.cli.target import find_app, means_app, with_store
from windlass.core.names import check_queue, check_task
from windlass.core.records import JobFilter, LimitScope

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
        unknown = await unknown_names(store, scope, wanted)
        for name in wanted:
            await store.pause(scope, name, paused=paused)
        return unknown

    unknown = with_store(app, url, act) - names_in_app(app, url, scope)
    if as_json:
        say_json([{word: name, "paused": paused} for name in wanted])
        return
    for name in wanted:
        say(f"{name} {'paused' if paused else 'resumed'}")
        if name in unknown:
            note(f"nothing was known of {word} {name} before")


async def unknown_names(store: Store, scope: LimitScope, names: Iterable[str]) -> set[str]:
    """Those of these queues, or tasks, that nobody uses or has used lately, as far as is seen at a glance: slips, may
    be."""
    is_queue = scope is LimitScope.QUEUE
    left = set(names).difference(limit.name for limit in await store.limits(scope))
    for record in await store.sessions():
        session = record.session
        left.difference_update((lane.queue for lane in session.lanes) if is_queue else session.tasks)
    found = set()
    for name in left:
        jobs = JobFilter(queue=name) if is_queue else JobFilter(task=name)
        if not (await store.list_jobs(jobs, limit=1)).jobs:
            found.add(name)
    return found


def names_in_app(app: str | None, url: str | None, scope: LimitScope) -> set[str]:
    """The queues, tasks or groups of limit keys of the app that the options mean, if they mean one."""
    if not means_app(app, url):
        return set()
    specs = [task.spec for task in find_app(app).tasks.values()]
    if scope is LimitScope.KEY:
        return {spec.limit_by for spec in specs if spec.limit_by}
    return {spec.queue if scope is LimitScope.QUEUE else spec.name for spec in specs}
