"""Enqueueing inside a transaction of the user's own, through a connection of whatever driver he has.

Nothing here begins, ends, retries or repairs a transaction, and what the driver raises is raised as it is: it is the
user's transaction that it ended.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from windlass.core.errors import UsageError
from windlass.core.model import MAX_PRIORITY, STORED, EnqueueAnswer, Enqueued, NewJob
from windlass.store.postgres.enqueue import due_of, expiry_of

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(list[tuple[int, str | None]]).decode
_KNOWN = (
    "a connection of asyncpg, of psycopg 3, or of SQLAlchemy (a Connection, a Session, or their async twins) to the "
    "database of the store"
)


async def enqueue_in(connection: object, statement: str, jobs: Sequence[NewJob], keep: int) -> list[EnqueueAnswer]:
    """Store jobs through a connection. One that blocks blocks the loop, as it does for the user's own statements.

    Args:
        connection: the user's.
        statement: with ``$1``, the jobs, and ``$2``, the retention.
        jobs: the jobs.
        keep: retention of a job that has expired when it is stored.
    """
    driver = _driver_of(connection)
    values = [_written(jobs), keep]
    any_connection: Any = connection
    if driver == "asyncpg":
        if not any_connection.is_in_transaction():
            raise _no_transaction()
        return _read(await any_connection.fetchval(statement, *values))
    if driver == "psycopg" and _is_async(connection):
        cursor = _psycopg_cursor(any_connection)
        await cursor.execute(_percent(statement), values)
        return _read((await cursor.fetchone())[0])
    if driver == "sqlalchemy" and _is_async(connection):
        await any_connection.run_sync(_check_dialect)
        return _read((await any_connection.execute(*_bound(statement, values))).scalar_one())
    return enqueue_in_sync(connection, statement, jobs, keep)


def enqueue_in_sync(connection: object, statement: str, jobs: Sequence[NewJob], keep: int) -> list[EnqueueAnswer]:
    """As `enqueue_in`, for connections that block."""
    driver = _driver_of(connection)
    if driver == "asyncpg" or _is_async(connection):
        raise UsageError(f"connection={_name(connection)}: to be awaited: await task.options(...).enqueue(...)")
    values = [_written(jobs), keep]
    any_connection: Any = connection
    if driver == "psycopg":
        cursor = _psycopg_cursor(any_connection)
        cursor.execute(_percent(statement), values)
        return _read(cursor.fetchone()[0])
    _check_dialect(any_connection)
    return _read(any_connection.execute(*_bound(statement, values)).scalar_one())


# ------------------------------------------------------------------------------------------------------ drivers


def _driver_of(connection: object) -> str:
    """Whose connection it is, asking nobody who is not imported already. Raises `UsageError`."""
    for base in type(connection).__mro__:
        package = base.__module__.partition(".")[0]
        if package in ("asyncpg", "psycopg", "sqlalchemy"):
            needs = "is_in_transaction" if package == "asyncpg" else "cursor" if package == "psycopg" else "execute"
            if hasattr(connection, needs):
                return package
    raise UsageError(f"connection={_name(connection)}: expected {_KNOWN}")


def _is_async(connection: object) -> bool:
    name = type(connection).__name__
    return name.startswith(("Async", "async_")) or any(
        base.__name__.startswith("Async") for base in type(connection).__mro__
    )


def _name(connection: object) -> str:
    return f"{type(connection).__module__}.{type(connection).__name__}"


def _psycopg_cursor(connection: Any) -> Any:
    from psycopg.pq import TransactionStatus
    from psycopg.rows import tuple_row

    if connection.autocommit and connection.info.transaction_status == TransactionStatus.IDLE:
        raise _no_transaction()
    return connection.cursor(row_factory=tuple_row)


def _check_dialect(connection: Any) -> None:
    bound = connection.get_bind() if hasattr(connection, "get_bind") else connection
    if bound.dialect.name != "postgresql":
        raise UsageError(f"connection={_name(connection)}: leads to {bound.dialect.name}; expected {_KNOWN}")


def _no_transaction() -> UsageError:
    return UsageError(
        "connection: it has no transaction open, so that the job would be stored whatever becomes of your own work; "
        "enqueue inside `async with connection.transaction()`, or leave connection= out"
    )


def _percent(statement: str) -> str:
    """A statement with ``$1, $2`` as psycopg writes it."""
    return statement.replace("$1", "%s").replace("$2", "%s")


def _bound(statement: str, values: list[Any]) -> tuple[Any, dict[str, Any]]:
    """A statement with its parameters as SQLAlchemy has them."""
    from sqlalchemy import text

    for number in range(1, len(values) + 1):
        kind = "text" if number == 1 else "bigint"
        statement = statement.replace(f"${number}", f"CAST(:p{number} AS {kind})")
    return text(statement), {f"p{number}": value for number, value in enumerate(values, 1)}


# ------------------------------------------------------------------------------------------------------ words


def _written(jobs: Sequence[NewJob]) -> str:
    return _encode([_fields(job) for job in jobs]).decode()


def _fields(job: NewJob) -> dict[str, Any]:
    unique = job.unique
    return {
        "id": job.id.hex(),
        "task": job.task,
        "queue": job.queue,
        "requires": job.requires,
        "priority": min(max(job.priority, 0), MAX_PRIORITY),
        "payload": job.payload.decode(),
        "options": None if job.options is None else job.options.decode(),
        "limit_key": job.limit_key,
        "due": due_of(job),
        "expiry": expiry_of(job),
        "key": None if unique is None else unique.key,
        "until": None if unique is None else int(unique.until),
        "replaces": unique is not None and unique.replace,
    }


def _read(answers: str) -> list[EnqueueAnswer]:
    return [
        STORED
        if status == Enqueued.STORED
        else EnqueueAnswer(Enqueued(status), None if holder is None else bytes.fromhex(holder.replace("-", "")))
        for status, holder in _decode(answers)
    ]
