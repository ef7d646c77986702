"""Jobs for fire times that are past."""

from __future__ import annotations

from contextlib import aclosing
from itertools import islice
from typing import Annotated

import msgspec
from litestar import post
from litestar.params import JSONBody

from windlass.core.errors import InvalidOption
from windlass.core.moments import read_time
from windlass.web.api.common import STEER, AnyRequest, InPath, TheConsole, note

MOST_BACKFILLED = 10_000
"""Fire times of one request."""


class Range(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Fire times that are past; times without an offset are by the app's clocks."""

    start: Annotated[str, msgspec.Meta(max_length=100)]
    """The first that counts."""
    end: Annotated[str, msgspec.Meta(max_length=100)]
    """The first that does not count any more."""
    parallel: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 1
    """Jobs at a time."""


class Backfilled(msgspec.Struct, frozen=True, kw_only=True):
    """Jobs that are stored, now or by an earlier request."""

    enqueued: int


@post("/schedules/{name:str}/backfill", summary="Enqueue jobs for past fire times", guards=STEER, status_code=201)
async def backfill(console: TheConsole, request: AnyRequest, name: InPath, data: JSONBody[Range]) -> Backfilled:
    """Each once: the same request again enqueues none twice."""
    note(request, msgspec.json.encode(data).decode())
    schedules = console.app.schedules
    zone = console.app.timezone
    start, end = read_time(data.start, "start", zone), read_time(data.end, "end", zone)
    work = await schedules.backfill(name, start, end, parallel=data.parallel)
    total = sum(1 for _ in islice(work.fire_times(), MOST_BACKFILLED + 1))
    if total > MOST_BACKFILLED:
        raise InvalidOption(f"more than {MOST_BACKFILLED:,} fire times; take a part of the range at a time")
    if total:
        async with aclosing(aiter(work)) as going_on:
            async for progress in going_on:
                if progress.enqueued == total:
                    break  # nobody waits for them to finish
    return Backfilled(enqueued=total)


HANDLERS = (backfill,)
