"""Limits for all workers together, as people say and read them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias, cast

import msgspec

from windlass.core.errors import InvalidOption
from windlass.core.names import check_limit_key, check_queue, check_task
from windlass.core.rates import parse_rate, show_rate
from windlass.core.records import MOST_AT_ONCE, Limit, LimitScope
from windlass.store.port import Insights

Scope: TypeAlias = Literal["queue", "task", "key"]


class LimitInfo(msgspec.Struct, frozen=True, kw_only=True):
    """The limits of a queue, a task, a limit key, or each key of a group, at one moment."""

    scope: Scope
    name: str
    """Of the queue or task; or ``group:value``, or ``group`` for each of its keys that has no limits of its own."""
    paused: bool
    concurrency: int | None
    """At most so many run at once; ``None``: no limit."""
    rate: str | None
    """At most so many start in that time, such as ``"10/s"``; ``None``: no limit."""
    burst: int | None
    """So many may start at once when nothing has started for long enough; ``None`` without a rate."""
    running: int
    """What runs now under these limits; for a group, of all its keys together."""
    running_keys: int | None
    """For a group: of how many keys that is."""


def limit_record(
    *,
    queue: str | None = None,
    task: str | None = None,
    key: str | None = None,
    concurrency: int | None = None,
    rate: str | None = None,
    burst: int | None = None,
) -> Limit:
    """Check limits as people give them; `windlass.App.set_limit` says what each means. Raises `InvalidOption` and
    `InvalidName`."""
    scope, name = _target({"queue": queue, "task": task, "key": key})
    if burst is not None and rate is None:
        raise InvalidOption("burst says how many may start at once under a rate, and there is none; add rate='10/s'")
    return Limit(
        scope=scope,
        name=name,
        concurrency=None if concurrency is None else _count("concurrency", concurrency, "; to stop it, pause it"),
        rate=None if rate is None else parse_rate(rate, 1 if burst is None else _count("burst", burst)),
    )


def pausable(*, queue: str | None = None, task: str | None = None) -> tuple[LimitScope, str]:
    """Check what is to be paused or to go on. Raises `InvalidOption` and `InvalidName`."""
    if queue is not None and task is None:
        return LimitScope.QUEUE, check_queue(queue)
    if task is not None and queue is None:
        return LimitScope.TASK, check_task(task)
    raise InvalidOption(f"pause and resume: give one of queue and task, not {'both' if queue else 'none'}")


def _target(given: Mapping[str, str | None]) -> tuple[LimitScope, str]:
    named = {word: name for word, name in given.items() if name is not None}
    if len(named) != 1:
        got = " and ".join(named) or "none"
        raise InvalidOption(f"a limit is for one queue, task or limit key: give one of queue, task and key, not {got}")
    [(word, name)] = named.items()
    scope = LimitScope[word.upper()]
    check = {LimitScope.QUEUE: check_queue, LimitScope.TASK: check_task, LimitScope.KEY: check_limit_key}[scope]
    return scope, check(name)


def _count(what: str, value: object, advice: str = "") -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MOST_AT_ONCE:
        raise InvalidOption(f"{what}={value!a}: expected an integer from 1 to {MOST_AT_ONCE:_}{advice}")
    return value


async def read_limits(store: Insights) -> list[LimitInfo]:
    """All limits and pauses that a store has, by scope and name."""
    limits = await store.limits()
    running = await store.running() if limits else {}
    keys = {limit.name for limit in limits if limit.scope is LimitScope.KEY}
    governed: dict[tuple[LimitScope, str], list[int]] = defaultdict(list)
    for (scope, name), count in running.items():
        group = name.partition(":")[0] if scope is LimitScope.KEY and name not in keys else name
        governed[scope, group].append(count)
    return [limit_info(limit, governed[limit.scope, limit.name]) for limit in limits]


def limit_info(limit: Limit, running: Sequence[int]) -> LimitInfo:
    """A stored record, as people read it. ``running``: what runs of each name that it governs."""
    is_group = limit.scope is LimitScope.KEY and ":" not in limit.name
    return LimitInfo(
        scope=cast("Scope", limit.scope.name.lower()),
        name=limit.name,
        paused=limit.paused,
        concurrency=limit.concurrency,
        rate=None if limit.rate is None else show_rate(limit.rate),
        burst=None if limit.rate is None else limit.rate.burst,
        running=sum(running),
        running_keys=len(running) if is_group else None,
    )
