"""One connection: what is written there is answered in order, and what arrives is read where it arrives.

The driver opens it (TLS, user and password, database); then its transport is taken over, since a call through streams
costs several turns of the loop, and a reader's task to wake. Who drops a link waits for nothing, as a cancelled caller
must.
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable
from typing import Any, cast

from hiredis import Reader
from redis._parsers import BaseParser
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import InvalidResponse, ResponseError

_GONE = select.POLLHUP | select.POLLERR | getattr(select, "POLLRDHUP", 0)
_OPEN_ENDED = "Connection closed by server."


class Link(asyncio.Protocol):
    """A connection, not open yet.

    Args:
        driver: opens it.
        hear: takes whatever arrives; without it, there are calls, one at a time.
    """

    def __init__(self, driver: AbstractConnection, hear: Callable[[Any], None] | None = None) -> None:
        self._driver = driver
        self._hear = hear or self._answer
        self._transport: asyncio.Transport | None = None
        self._parser = Reader(protocolError=InvalidResponse, replyError=BaseParser.parse_error)
        self._poll = select.poll()
        self._answers: list[Any] = []
        self._missing = 0
        self._done: asyncio.Future[list[Any]] | None = None
        self.lost: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()
        """Why it ended."""
        self.heard_at = 0.0
        """When something arrived, by the loop's clock."""

    @property
    def is_open(self) -> bool:
        """Whether `open` has succeeded."""
        return self._transport is not None

    async def open(self) -> None:
        """Connect, and log in."""
        await self._driver.connect()  # type: ignore[no-untyped-call]
        reader, writer = self._driver._reader, self._driver._writer
        if reader is None or writer is None or reader.at_eof() or reader.exception() is not None:
            raise ConnectionResetError(_OPEN_ENDED)
        transport = cast("asyncio.Transport", writer.transport)  # uvloop's is none by inheritance
        self._poll.register(writer.get_extra_info("socket").fileno(), _GONE)
        self.heard_at = asyncio.get_running_loop().time()
        transport.set_protocol(self)
        self._transport = transport

    def is_alive(self) -> bool:
        """Whether the other end has not closed it; the loop may not have heard of that yet."""
        transport = self._transport
        return transport is not None and not transport.is_closing() and not self._poll.poll(0)

    def write(self, commands: bytes) -> None:
        """Write without waiting."""
        assert self._transport is not None
        self._transport.write(commands)

    async def call(self, commands: bytes, answers: int, until: float) -> list[Any]:
        """Write commands; give as many answers, until an instant of the loop's clock. Errors of the server are answers,
        too. A link whose call did not return is good for nothing but `drop`."""
        if not answers:
            return []
        assert self._transport is not None
        if self._transport.is_closing():
            raise ConnectionResetError(_OPEN_ENDED)
        loop = asyncio.get_running_loop()
        self._answers, self._missing = [], answers
        done: asyncio.Future[list[Any]] = loop.create_future()
        self._done = done
        timer = loop.call_at(until, self._end, TimeoutError())
        self._transport.write(commands)
        try:
            return await done
        finally:
            timer.cancel()
            self._done = None

    def drop(self) -> None:
        """Close it without waiting for anything. Idempotent."""
        writer = self._driver._writer  # `disconnect` is a coroutine, and would have to be awaited in a cancelled task
        self._driver._reader = self._driver._writer = None
        if writer is not None:
            writer.transport.abort()

    # ----------------------------------------------------------------------------------------- what arrives

    def data_received(self, data: bytes) -> None:
        """Read what is complete."""
        self.heard_at = asyncio.get_running_loop().time()
        self._parser.feed(data)
        try:
            while (answer := self._parser.gets(False)) is not False:
                self._hear(answer)
        except Exception as error:  # noqa: BLE001 - whoever waits is told
            self._end(error)

    def connection_lost(self, error: Exception | None) -> None:
        """Tell whoever waits."""
        self._end(error or ConnectionResetError(_OPEN_ENDED))

    def _answer(self, answer: Any) -> None:
        if isinstance(answer, Exception) and not isinstance(answer, ResponseError):
            raise answer
        if not self._missing:
            raise InvalidResponse("an answer to nothing")
        self._answers.append(answer)
        self._missing -= 1
        if not self._missing and self._done is not None and not self._done.done():
            self._done.set_result(self._answers)

    def _end(self, error: Exception) -> None:
        if not self.lost.done():
            self.lost.set_result(error)
        if self._done is not None and not self._done.done():
            self._done.set_exception(error)
        if self._transport is not None:
            self._transport.abort()
