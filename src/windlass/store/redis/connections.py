"""Connections to the server: each carries one call at a time, and one that failed in any way is never used again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, TypeAlias

from hiredis import pack_command
from redis.asyncio.connection import AbstractConnection, Connection, SSLConnection, UnixDomainSocketConnection

from windlass.core.errors import StoreUnavailable
from windlass.core.redis_url import RedisURL
from windlass.store.redis.failures import translate
from windlass.store.redis.link import Link

Argument: TypeAlias = bytes | str | int
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
        self._free: list[Link] = []
        self._busy: set[Link] = set()
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

    def new(self, hear: Callable[[Any], None] | None = None) -> Link:
        """Make a connection that is not open yet; see `Link`."""
        return Link(self._driver(), hear)

    def _driver(self) -> AbstractConnection:
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
            link = self._take()
            started = time.monotonic()
            until = asyncio.get_running_loop().time() + (deadline or self.deadline)
            try:
                if not link.is_open:
                    async with asyncio.timeout_at(until):
                        await link.open()
                found = await link.call(commands, answers, until)
            except BaseException as error:
                self._drop(link)
                if not isinstance(error, Exception):
                    raise
                self._turn_elsewhere()
                raise translate(error, self.shown, time.monotonic() - started) from None
            self._give_back(link)
            return found

    def _take(self) -> Link:
        link = None
        while self._free and link is None:
            kept = self._free.pop()
            if kept.is_alive():
                link = kept
            else:
                kept.drop()
        link = link or self.new()
        self._busy.add(link)
        return link

    def _give_back(self, link: Link) -> None:
        self._busy.discard(link)
        if self._closed or len(self._free) >= _IDLE:
            link.drop()
        else:
            self._free.append(link)

    def _drop(self, link: Link) -> None:
        self._busy.discard(link)
        link.drop()

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
            self._free.pop().drop()

    def close(self) -> None:
        """Close all connections; calls under way fail."""
        self._closed = True
        self.drop_idle()
        for link in [*self._busy]:
            link.drop()


def pack(*arguments: Argument) -> bytes:
    """Write a command as the server reads it."""
    packed: bytes = pack_command(arguments)  # type: ignore[arg-type]  # any number of them
    return packed
