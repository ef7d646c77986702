"""Connections to the server: each carries one call at a time, and one that failed in any way is never used again."""

from __future__ import annotations

import asyncio
import select
import time
from collections.abc import Callable
from typing import Any, TypeAlias

from hiredis import pack_command
from redis.asyncio.connection import AbstractConnection, Connection, SSLConnection, UnixDomainSocketConnection
from redis.exceptions import ResponseError

from windlass.core.errors import StoreUnavailable
from windlass.core.redis_url import RedisURL
from windlass.store.redis.failures import translate

Argument: TypeAlias = bytes | str | int
_GONE = select.POLLHUP | select.POLLERR | getattr(select, "POLLRDHUP", 0)
_MOST = 16
"""Connections that one store object has at most; further calls wait for their turn."""
_IDLE = 4
"""Of which so many are kept."""


class Connections:
    """The connections of one store object, on one event loop.

    Args:
        url: of the server.
        deadline: seconds after which a call is given up.
    """

    def __init__(self, url: RedisURL, deadline: float) -> None:
        self._url = url
        self.shown = url.shown
        self.deadline = deadline
        self._free: list[AbstractConnection] = []
        self._busy: set[AbstractConnection] = set()
        self._room = asyncio.Semaphore(_MOST)
        self._closed = False
        self.on_look_again: Callable[[], None] = lambda: None
        """Called when other connections than those for calls should be made anew, too."""
        self._node: tuple[str, int] | None = None
        """The node of a cluster that has the namespace, once it is known."""
        self.others: list[tuple[str, int]] = []
        """Other nodes of the cluster, to ask where the first of them does not answer."""

    @property
    def node(self) -> tuple[str, int]:
        """Host and port of the server that is talked to."""
        return self._node or (self._url.host, self._url.port)

    def new(self) -> AbstractConnection:
        """Make a connection that is not open yet."""
        url = self._url
        common: dict[str, Any] = {
            "db": url.db,
            "username": url.user,
            "password": url.password,
            "socket_timeout": None,
            "socket_connect_timeout": self.deadline,
            "protocol": 2,
        }
        if url.path:
            return UnixDomainSocketConnection(path=url.path, **common)
        host, port = self.node
        if not url.tls:
            return Connection(host=host, port=port, socket_keepalive=True, **common)
        return SSLConnection(host=host, port=port, socket_keepalive=True, ssl_ca_certs=url.ca, **common)

    async def send(self, commands: bytes, answers: int, deadline: float | None = None) -> list[Any]:
        """Send packed commands; give as many answers. An error that the server answers is an answer, too.

        Raises `StoreUnavailable` (`Disconnected`, where the connection ended) and never a driver's exception.
        """
        async with self._room:
            if self._closed:
                raise StoreUnavailable(f"{self.shown}: this store object was closed")
            connection = self._take()
            started = time.monotonic()
            try:
                async with asyncio.timeout(deadline or self.deadline):
                    if not connection.is_connected:
                        await open_up(connection)
                    await connection.send_packed_command([commands], check_health=False)
                    found = [await _answer(connection) for _ in range(answers)]
            except BaseException as error:
                self._drop(connection)
                if not isinstance(error, Exception):
                    raise
                self._turn_elsewhere()
                raise translate(error, self.shown, time.monotonic() - started) from None
            self._give_back(connection)
            return found

    def _take(self) -> AbstractConnection:
        connection = None
        while self._free and connection is None:
            kept = self._free.pop()
            if is_alive(kept):
                connection = kept
            else:
                drop(kept)
        connection = connection or self.new()
        self._busy.add(connection)
        return connection

    def _give_back(self, connection: AbstractConnection) -> None:
        self._busy.discard(connection)
        if self._closed or len(self._free) >= _IDLE:
            drop(connection)
        else:
            self._free.append(connection)

    def _drop(self, connection: AbstractConnection) -> None:
        self._busy.discard(connection)
        drop(connection)

    # --------------------------------------------------------------------------------------------- clusters

    def move_to(self, host: str, port: int) -> None:
        """Talk to another node of the cluster from now on; an empty host is the one that was asked."""
        if not host:
            host = self.node[0]
        self._node = host, port
        self.drop_idle()

    def _turn_elsewhere(self) -> None:
        """Have the next call ask another node of the cluster; whichever it is, it knows where the namespace is now."""
        if self._node is not None and self.others:
            self.others = [*self.others[1:], self.others[0]]
            self._node = self.others[0]
            self.drop_idle()

    def look_again(self) -> None:
        """Make new connections from now on: the server has become a replica, the address may mean another by now."""
        self.drop_idle()
        self.on_look_again()

    def drop_idle(self) -> None:
        """Close the connections that carry nothing just now."""
        while self._free:
            drop(self._free.pop())

    def close(self) -> None:
        """Close all connections; calls under way fail."""
        self._closed = True
        self.drop_idle()
        for connection in [*self._busy]:
            drop(connection)


def pack(*arguments: Argument) -> bytes:
    """Write a command as the server reads it."""
    packed: bytes = pack_command(arguments)  # type: ignore[arg-type]  # any number of them
    return packed


async def open_up(connection: AbstractConnection) -> None:
    """Connect, and log in."""
    await connection.connect()  # type: ignore[no-untyped-call]


async def _answer(connection: AbstractConnection) -> Any:
    try:
        return await connection.read_response(disable_decoding=True)
    except ResponseError as error:
        return error


def is_alive(connection: AbstractConnection) -> bool:
    """Whether the server has not closed the connection, as far as we heard."""
    reader, writer = connection._reader, connection._writer  # the public way is to read, for two turns of the loop
    if reader is None or writer is None or reader.at_eof() or reader.exception() is not None or writer.is_closing():
        return False
    # The loop may not have heard of it yet.
    poll = select.poll()
    poll.register(writer.get_extra_info("socket"), _GONE)
    return not poll.poll(0)


def drop(connection: AbstractConnection) -> None:
    """Close a connection without waiting for anything, as a cancelled caller must."""
    writer = connection._writer  # `disconnect` is a coroutine, and would have to be awaited in a cancelled task
    connection._reader = connection._writer = None
    if writer is not None:
        writer.transport.abort()
