"""``windlass limits``: list, set and remove limits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from windlass.cli.arguments import Argument, Group, between, command
from windlass.cli.errors import WrongUsage
from windlass.cli.output import note, say, say_json, say_table
from windlass.cli.pausing import names_in_app, unknown_names
from windlass.cli.target import STORE, means_app, with_store
from windlass.core.records import MOST_AT_ONCE, LimitScope
from windlass.limits import limit_record, read_limits

if TYPE_CHECKING:
    from windlass.core.records import Limit
    from windlass.limits import LimitInfo
    from windlass.store.port import Store

TARGET = (
    Argument("-q", "--queue", metavar="NAME", help="Of this queue."),
    Argument("--task", metavar="NAME", help="Of this task."),
    Argument(
        "--key",
        metavar="GROUP[:VALUE]",
        help="Of this limit key, or of each key of the group that has none of its own.",
    ),
)
COUNT = between(1, MOST_AT_ONCE)


@command(*STORE, examples=[("windlass limits ls", "What is limited or paused, and how much of it runs.")])
def list_limits(*, app: str | None, url: str | None, as_json: bool) -> None:
    """List limits, with what runs under them now."""
    limits = with_store(app, url, read_limits)
    if as_json:
        say_json([msgspec.structs.asdict(limit) for limit in limits])
        return
    if not limits:
        note("no limits: nothing is limited or paused")
        return
    say_table(
        ("scope", "name", "#concurrency", "rate", "#burst", "#running", "paused"),
        (
            (
                limit.scope,
                limit.name,
                limit.concurrency,
                limit.rate,
                limit.burst,
                limit.running if limit.running_keys is None else f"{limit.running} of {limit.running_keys} keys",
                "paused" if limit.paused else "",
            )
            for limit in limits
        ),
    )


@command(
    *STORE,
    *TARGET,
    Argument("--concurrency", type=COUNT, metavar="N", help="At most so many run at once."),
    Argument("--rate", metavar="COUNT/TIME", help="At most so many start in a time: 10/s, 100/m, 1000/h, 5/10s."),
    Argument(
        "--burst", type=COUNT, metavar="N", help="With --rate: so many may start at once after a rest. Default: 1."
    ),
    examples=[
        ("windlass limits set --queue mail --concurrency 5", "Five mails at once, whoever sends them."),
        ("windlass limits set --key customer --concurrency 2 --rate 10/s --burst 20", "For each customer."),
        ("windlass limits set --key customer:42 --concurrency 50", "But for this one."),
    ],
)
def set_limit(
    *,
    app: str | None,
    url: str | None,
    as_json: bool,
    queue: str | None,
    task: str | None,
    key: str | None,
    concurrency: int | None,
    rate: str | None,
    burst: int | None,
) -> None:
    """Limit how much runs of a queue, a task or a limit key. It holds for all workers together, from their next claim
    on; what runs already goes on. What is left out is not limited, whatever it was before; a pause stays."""
    _check_one(queue, task, key)
    if concurrency is None and rate is None:
        raise WrongUsage("no limit is given: --concurrency, --rate or both; to remove limits: windlass limits rm")
    if burst is not None and rate is None:
        raise WrongUsage("--burst says how many may start at once under a --rate, and there is none")
    limit = limit_record(queue=queue, task=task, key=key, concurrency=concurrency, rate=rate, burst=burst)

    async def act(store: Store) -> tuple[LimitInfo | None, bool]:
        unknown = limit.scope is not LimitScope.KEY and await unknown_names(store, limit.scope, [limit.name])
        await store.put_limit(limit)
        return await _find(store, limit), bool(unknown)

    stored, is_unknown = with_store(app, url, act)
    if stored is not None:
        if as_json:
            say_json(msgspec.structs.asdict(stored))
        else:
            say(f"{stored.scope} {stored.name}: {words(stored)}")
    if is_unknown and limit.name not in names_in_app(app, url, limit.scope):
        note(f"nothing was known of {limit.scope.name.lower()} {limit.name} before")
    group = limit.name.partition(":")[0]
    if limit.scope is LimitScope.KEY and means_app(app, url) and group not in names_in_app(app, url, LimitScope.KEY):
        note(f"no task of the app says limit_by={group!r}: only jobs enqueued with such a key of their own have it")


@command(*STORE, *TARGET, examples=[("windlass limits rm --key customer:42", "As all other customers.")])
def remove(
    *, app: str | None, url: str | None, as_json: bool, queue: str | None, task: str | None, key: str | None
) -> None:
    """Remove the limits of a queue, a task or a limit key. It is not limited any more, but by those of others; a pause
    stays."""
    _check_one(queue, task, key)
    limit = limit_record(queue=queue, task=task, key=key)

    async def act(store: Store) -> tuple[LimitInfo | None, LimitInfo | None]:
        before = await _find(store, limit)
        await store.put_limit(limit)
        return before, await _find(store, limit)

    before, after = with_store(app, url, act)
    removed = before is not None and bool(before.concurrency or before.rate)
    scope = limit.scope.name.lower()
    if as_json:
        say_json({"scope": scope, "name": limit.name, "removed": removed})
        return
    say(f"{scope} {limit.name}: {'limits removed' if removed else 'had no limits'}")
    if after is not None and after.paused:
        note("it is still paused")


def _check_one(*given: str | None) -> None:
    if sum(name is not None for name in given) != 1:
        raise WrongUsage("a limit is for one queue, task or limit key: give one of --queue, --task and --key")


async def _find(store: Store, limit: Limit) -> LimitInfo | None:
    wanted = limit.scope.name.lower(), limit.name
    return next((one for one in await read_limits(store) if (one.scope, one.name) == wanted), None)


def words(limit: LimitInfo) -> str:
    """Write limits in a line."""
    said = ["paused"] if limit.paused else []
    said += [] if limit.concurrency is None else [f"concurrency {limit.concurrency}"]
    said += [] if limit.rate is None else [f"rate {limit.rate}", f"burst {limit.burst}"]
    return ", ".join(said)


COMMAND = Group("List, set and remove limits for all workers together.", ls=list_limits, set=set_limit, rm=remove)
