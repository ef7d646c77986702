"""What is going on, as it happens: server-sent events."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import aclosing

import msgspec
from litestar import get
from litestar.response import ServerSentEvent, ServerSentEventMessage

from windlass.core.errors import StoreError
from windlass.web.access.gate import AGAIN
from windlass.web.api.common import LOOK, AnyRequest, TheConsole

CHECKED = 3.0
"""Seconds after which it is looked again whether somebody who listens may."""


@get("/events", summary="Hear how the store stands, once a second", guards=LOOK)
async def events(console: TheConsole, request: AnyRequest) -> ServerSentEvent:
    """Events named ``pulse``: queues, workers and totals, as JSON. Who is slow misses some; who may come in no more
    hears no more."""

    async def told() -> AsyncIterator[ServerSentEventMessage]:
        checked = time.monotonic()
        async with aclosing(console.live.listen()) as pulses:
            async for pulse in pulses:
                if time.monotonic() >= checked + CHECKED:
                    if not await _may_still(request):
                        return
                    checked = time.monotonic()
                yield ServerSentEventMessage(event="pulse", data=msgspec.json.encode(pulse).decode())

    return ServerSentEvent(told())


async def _may_still(request: AnyRequest) -> bool:
    try:
        return await request.scope[AGAIN]() is not None  # type: ignore[literal-required]
    except StoreError:
        return True  # whoever it is hears that the store does not answer


HANDLERS = (events,)
