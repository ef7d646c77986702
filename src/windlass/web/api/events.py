"""What is going on, as it happens: server-sent events."""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec
from litestar import get
from litestar.response import ServerSentEvent, ServerSentEventMessage

from windlass.web.api.common import LOOK, TheConsole


@get("/events", summary="Hear how the store stands, once a second", guards=LOOK)
async def events(console: TheConsole) -> ServerSentEvent:
    """Events named ``pulse``: queues, workers and totals, as JSON. Who is slow misses some."""

    async def told() -> AsyncIterator[ServerSentEventMessage]:
        async for pulse in console.live.listen():
            yield ServerSentEventMessage(event="pulse", data=msgspec.json.encode(pulse).decode())

    return ServerSentEvent(told())


HANDLERS = (events,)
