"""A network that fails on purpose: a TCP proxy between clients and a server, in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from enum import Enum
from typing import Any, Self, TypeVar

T = TypeVar("T")

_CHUNK = 64 * 1024


class Weather(Enum):
    """What the network does with what passes through it."""

    FAIR = "fair"
    REFUSED = "refused"
    """New connections are closed at once."""
    SILENT = "silent"
    """Half-open: connections stay, nothing passes in either direction, and nobody is told."""
    DEAF = "deaf"
    """What clients say arrives; what the server answers does not."""


class Proxy:
    """Listens on a loopback port and passes everything on to another. Use it as a context manager.

    It can delay what passes (`delay`), cut all connections (`cut`), cut one in the middle of an answer (`truncate`),
    and turn to any `Weather`. Nothing that it swallowed is delivered later: a connection that fell silent stays so.
    """

    def __init__(self, target: int) -> None:
        self.port = 0
        self._target = target
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._links: set[_Link] = set()
        self._weather = Weather.FAIR
        self._delay = 0.0
        self._budget: int | None = None
        self.accepted = 0
        """Connections that clients have opened."""

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = self._do(self._listen())
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._do(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def turn(self, weather: Weather) -> None:
        """Change the weather. Connections that are open fall silent with it; with `Weather.FAIR` those are cut, as they
        have missed something."""
        self._do(self._turn(weather))

    def lead_to(self, target: int) -> None:
        """Lead new connections to another server; those that are open stay where they are."""
        self._target = target

    def delay(self, seconds: float) -> None:
        """Hold everything that passes for so long, in each direction; in order."""
        self._delay = seconds

    def truncate(self, size: int) -> None:
        """Cut the connection that passes the next ``size`` bytes of answers, after exactly those; once."""
        self._budget = size

    def cut(self) -> int:
        """Cut all connections; answers how many there were."""
        return self._do(self._cut())

    # -------------------------------------------------------------------------------------------- on the loop

    def _do(self, step: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(step, self._loop).result(10)

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_server(self._accept, "127.0.0.1", 0)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        if self._weather is Weather.REFUSED:
            writer.transport.abort()
            return
        try:
            there = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        link = _Link((reader, writer), there)
        self._links.add(link)
        try:
            await asyncio.gather(self._pass(link, answers=False), self._pass(link, answers=True))
        finally:
            link.abort()
            self._links.discard(link)

    async def _pass(self, link: _Link, *, answers: bool) -> None:
        source = link.server if answers else link.client
        target = link.client if answers else link.server
        try:
            while data := await source[0].read(_CHUNK):
                if self._delay:
                    await asyncio.sleep(self._delay)
                if self._swallows(link, answers=answers):
                    continue
                if answers and self._budget is not None:
                    data, self._budget = data[: self._budget], self._budget - len(data)
                    if self._budget <= 0:
                        self._budget = None
                        target[1].write(data)
                        await target[1].drain()
                        break
                target[1].write(data)
                await target[1].drain()
        except OSError:
            pass
        link.abort()

    def _swallows(self, link: _Link, *, answers: bool) -> bool:
        if self._weather is Weather.SILENT or (answers and self._weather is Weather.DEAF):
            link.missed = True
        return link.missed and (answers or self._weather is not Weather.DEAF)

    async def _turn(self, weather: Weather) -> None:
        self._weather = weather
        if weather is Weather.FAIR:
            for link in list(self._links):
                if link.missed:
                    link.abort()

    async def _cut(self) -> int:
        links = list(self._links)
        for link in links:
            link.abort()
        return len(links)

    async def _close(self) -> None:
        self._server.close()
        await self._cut()
        await asyncio.wait_for(asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()})), 5)


class _Link:
    """One client's connection, and the one to the server that belongs to it."""

    def __init__(
        self,
        client: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        server: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        self.client = client
        self.server = server
        self.missed = False
        """Something was swallowed: it cannot go on as if nothing had happened."""

    def abort(self) -> None:
        """Reset both."""
        self.client[1].transport.abort()
        self.server[1].transport.abort()
