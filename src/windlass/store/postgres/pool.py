"""Connections, as many as are needed at once. A call that did not end as it should takes its connection with it."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import time
from collections.abc import Sequence
from typing import Any

import asyncpg

from windlass.core.errors import StoreUnavailable
from windlass.store.postgres import tuning
from windlass.store.postgres.address import Address
from windlass.store.postgres.failures import DRIVER, may_be_repeated, translate

CONNECT_PATIENCE = 8.0
"""Seconds in which a connection must be there."""
_NEAR = 1.0
"""Seconds that the opening of a connection is waited for by who wants it no more."""
PATIENCE = 10.0
"""Seconds in which a verb must be answered, waiting for a connection included."""
LONG_PATIENCE = 60.0
"""The same for what may cost in proportion to what is stored."""
_TRIES = 8
_PREPARED = 200
"""Statements that a connection keeps prepared."""
_kept: list[object] = []
"""Connections of loops that ended without closing them, and of other processes: out of the reach of the garbage
collector, which would want their loops."""
_log = logging.getLogger("windlass.store.postgres")


async def open_connection(address: Address, dsn: str | None = None) -> asyncpg.Connection[Any]:
    """Open a connection on which nothing is prepared. Raises `StoreUnavailable`, saying what could not be reached and
    for how long it was tried."""
    return await _open(address, dsn or address.dsn, prepared=0)


async def _open(address: Address, dsn: str, prepared: int) -> asyncpg.Connection[Any]:
    began = time.monotonic()
    more: dict[str, Any] = {} if address.tls is None else {"ssl": address.tls}
    try:
        async with asyncio.timeout(CONNECT_PATIENCE):
            return await _connect(dsn, statement_cache_size=prepared, timeout=CONNECT_PATIENCE, **more)
    except (*DRIVER, ValueError) as error:
        spent = time.monotonic() - began
        said = " ".join(str(error).split()) or type(error).__name__
        raise StoreUnavailable(f"cannot reach {address.shown} ({spent:.1f} s): {said}") from error


async def _connect(dsn: str, **options: Any) -> asyncpg.Connection[Any]:
    """As `asyncpg.connect`, but for being cancelled: cut off between its first two steps, it leaves behind a future
    with an error that nobody can retrieve, of which asyncio complains. So it may come to its end first, if that is
    near."""
    opening = asyncio.ensure_future(asyncpg.connect(dsn, **options))
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        opening.add_done_callback(_throw_away)
        try:
            await asyncio.wait([opening], timeout=_NEAR)
        finally:
            opening.cancel()
        raise


def _throw_away(opening: asyncio.Future[asyncpg.Connection[Any]]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().terminate()


async def is_pooled(connection: asyncpg.Connection[Any]) -> bool:
    """Whether a pooler stands before the server: the process that greeted us is not the one that answers. Asked without
    preparing anything, which a pooler might hand to somebody else."""
    said: str = await connection.execute(f"SELECT WHERE pg_backend_pid() = {connection.get_server_pid()}")
    return said != "SELECT 1"


class Pool:
    """Belongs to one event loop."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._slots = asyncio.Semaphore(address.pool)
        self._idle: list[asyncpg.Connection[Any]] = []
        self._busy: set[asyncpg.Connection[Any]] = set()
        self._closed = False
        self._pooled = address.pooled
        self._tune = tuning.for_connection(address.schema)
        self._begin = tuning.for_transaction(address.schema)

    async def fetch(
        self, statement: str, arguments: Sequence[Any], patience: float = PATIENCE, *, at_leisure: bool = False
    ) -> list[Any]:
        """Carry out a statement, which is a transaction of its own, and return its rows. ``at_leisure``: it may read
        whole tables.

        What the server undid because of others (a deadlock, say) is done again. Whatever else goes wrong is raised in
        the port's words; then it is not known whether the statement was carried out.
        """
        try:
            async with asyncio.timeout(patience), self._slots:
                for left in reversed(range(_TRIES)):
                    try:
                        return await self._fetch(statement, arguments, at_leisure)
                    except Exception as error:
                        if not left or not may_be_repeated(error):
                            raise
                    await asyncio.sleep(random.uniform(0, 0.01 * (_TRIES - left)))  # noqa: S311 - no secret
        except StoreUnavailable:
            raise
        except DRIVER as error:
            raise translate(error, self._address.shown) from error
        raise AssertionError  # the loop above returns or raises

    async def _fetch(self, statement: str, arguments: Sequence[Any], at_leisure: bool) -> list[Any]:
        rows: list[Any]
        connection = await self._take()
        self._busy.add(connection)
        ended = False
        try:
            if self._pooled or at_leisure:
                # A transaction also keeps the pooler from giving our second message to another server connection.
                rows = await self._fetch_within(
                    tuning.AT_LEISURE if at_leisure else self._begin, connection, statement, arguments
                )
            else:
                rows = await connection.fetch(statement, *arguments)
            ended = True
        except asyncpg.PostgresError:
            ended = not connection.is_in_transaction()  # the server answered: all is well, unless it said good-bye
            raise
        finally:
            self._busy.discard(connection)
            if ended and not connection.is_closed() and not self._closed:
                self._idle.append(connection)
            else:
                connection.terminate()
        return rows

    @staticmethod
    async def _fetch_within(
        begin: str, connection: asyncpg.Connection[Any], statement: str, arguments: Sequence[Any]
    ) -> list[Any]:
        await connection.execute(begin)
        try:
            rows: list[Any] = await connection.fetch(statement, *arguments)
        except asyncpg.PostgresError:
            await connection.execute("ROLLBACK")
            raise
        await connection.execute("COMMIT")
        return rows

    async def _take(self) -> asyncpg.Connection[Any]:
        if self._closed:
            raise StoreUnavailable(f"{self._address.shown}: this store object was closed")
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closed():
                return connection
        return await self._open_one()

    async def _open_one(self) -> asyncpg.Connection[Any]:
        """Open a connection, and make it ready."""
        connection = await _open(self._address, self._address.dsn, 0 if self._pooled else _PREPARED)
        try:
            if not self._pooled and await is_pooled(connection):
                _log.info("%s is reached through a pooler: every call is a transaction", self._address.shown)
                self._pooled = True
                connection.terminate()
                return await self._open_one()
            if not self._pooled:
                await connection.execute(self._tune)
        except BaseException:
            connection.terminate()
            raise
        return connection

    async def close(self) -> None:
        """Close what is idle; what is busy is closed when its call ends."""
        self._closed = True
        idle, self._idle = self._idle, []
        for connection in idle:
            try:
                await connection.close(timeout=2)
            except DRIVER:
                connection.terminate()

    def abandon(self) -> None:
        """The loop is gone: let go of the sockets without a word."""
        self._closed = True
        for connection in (*self._idle, *self._busy):
            detach(connection)

    def connections(self) -> list[asyncpg.Connection[Any]]:
        """All that are open."""
        return [*self._idle, *self._busy]


def detach(connection: asyncpg.Connection[Any]) -> None:
    """Close a connection's socket, and nothing else. Its number stays taken, so that whoever may still believe in it
    hurts nobody. Nothing is said to the server."""
    _kept.append(connection)
    transport = getattr(connection, "_transport", None)
    found = None if transport is None else transport.get_extra_info("socket")
    number = -1 if found is None else found.fileno()
    if number < 0:
        return
    nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    try:
        os.dup2(nothing, number, inheritable=False)
    finally:
        os.close(nothing)
