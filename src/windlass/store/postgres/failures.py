"""What the driver's and the server's errors mean to a caller of the port."""

from __future__ import annotations

import asyncpg
from asyncpg import exceptions as server

from windlass.core.errors import SchemaMismatch, StaleEnqueue, StoreError, StoreFull, StoreReadOnly, StoreUnavailable

STALE = "WL001"
"""Raised by our own functions: see `StaleEnqueue`."""

_AGAIN = (
    server.DeadlockDetectedError,
    server.SerializationError,
    server.UniqueViolationError,
    server.OutOfMemoryError,
    server.IdleSessionTimeoutError,  # nothing was done: only who does nothing is told that
    # The connection was told good-bye while it was idle, and the driver has not got to that yet: nothing was sent.
    asyncpg.InternalClientError,
)
_NO_LAYOUT = (
    server.UndefinedTableError,
    server.UndefinedFunctionError,
    server.UndefinedColumnError,
    server.InvalidSchemaNameError,
    server.UndefinedObjectError,
)
_FULL = (server.DiskFullError,)
_READ_ONLY = (server.ReadOnlySQLTransactionError, server.InsufficientPrivilegeError)
_DOWN = (
    server.PostgresConnectionError,
    server.CannotConnectNowError,
    server.AdminShutdownError,
    server.CrashShutdownError,
    server.DatabaseDroppedError,
    server.IdleInTransactionSessionTimeoutError,
    server.TransactionTimeoutError,  # since PostgreSQL 17
    server.TooManyConnectionsError,
    server.QueryCanceledError,
    server.LockNotAvailableError,
    server.InvalidAuthorizationSpecificationError,
    server.InvalidCatalogNameError,
    asyncpg.InterfaceError,
    OSError,
    EOFError,
    TimeoutError,
)


DRIVER = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, TimeoutError)
"""All that the driver may raise."""


def may_be_repeated(error: BaseException) -> bool:
    """Whether nothing of it was done, because of others, so that it is worth another try at once."""
    return isinstance(error, _AGAIN) or isinstance(error.__cause__, server.IdleSessionTimeoutError)


def translate(error: Exception, where: str) -> StoreError:
    """Say in the port's words, and with the place, what went wrong."""
    said = " ".join(str(error).split()) or type(error).__name__
    if getattr(error, "sqlstate", None) == STALE:
        return StaleEnqueue(said)
    if isinstance(error, _NO_LAYOUT):
        return SchemaMismatch(
            f"{where} has not the layout of this version of Windlass ({said}): run `windlass migrate`"
        )
    if isinstance(error, _FULL):
        return StoreFull(f"no room left on the disk of {where}; nothing of this call was stored")
    if isinstance(error, _READ_ONLY):
        return StoreReadOnly(f"{where} may not be written to ({said}); a standby, or a user without the rights?")
    if isinstance(error, TimeoutError):
        return StoreUnavailable(f"{where} did not answer in time")
    if isinstance(error, _DOWN) or may_be_repeated(error):
        return StoreUnavailable(f"{where}: {said}")
    return StoreError(f"{where}: {said}")
