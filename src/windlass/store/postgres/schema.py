"""The stored layout: checked by every store object, created and brought up to date when asked."""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections.abc import Sequence
from typing import Any

import asyncpg
import msgspec
from asyncpg import exceptions as server

from windlass.core.clock import SECOND, Instant
from windlass.core.errors import SchemaMismatch, StoreError
from windlass.core.model import Session
from windlass.store.postgres import tuning
from windlass.store.postgres.address import Address
from windlass.store.postgres.failures import DRIVER, translate
from windlass.store.postgres.pool import open_connection
from windlass.store.postgres.statements import statements_of
from windlass.store.statements import Migration, functions, migrations

STEPS = migrations("postgres")
LATEST = STEPS[-1].version
OLDEST_SERVER = 130000
"""PostgreSQL 13."""
_PATIENCE = 60.0
"""Seconds in which the locks must be had."""
_LOCK_PATIENCE = 2
"""Seconds for which everybody waits behind a migration that waits for a lock."""
_TYPE = re.compile(r"CREATE TYPE (\w+) AS \(.*?\);", re.DOTALL)

_BY_STRANGERS = ("enqueue", "enqueue_in", "open_line", "leave_lines")
"""Functions that strangers call, and triggers, which fire whoever changes a row."""


def check_version(version: int, oldest: int, where: str) -> None:
    """Raise `SchemaMismatch` unless this version of Windlass works with that layout, which goes on with code that knows
    ``oldest``."""
    if version < LATEST:
        raise SchemaMismatch(
            f"{where} has layout {version}, this version of Windlass needs {LATEST}: run `windlass migrate`"
        )
    if oldest > LATEST:
        raise SchemaMismatch(
            f"{where} has layout {version}, this version of Windlass knows {LATEST} only: upgrade Windlass"
        )


def no_layout(where: str, schema: str) -> SchemaMismatch:
    """What to raise where there is nothing yet."""
    return SchemaMismatch(f"{where} has no schema {schema} of Windlass's: run `windlass migrate`, which creates it")


async def migrate(address: Address, clock: Instant | None, *, finish: bool) -> list[str]:
    """Create the layout, or bring it up to date; say what was done.

    All in one transaction, one at a time. ``finish``: have code of the layout before go on no more. Transactions of
    others are not kept waiting for long: a lock that somebody else holds is given up and tried again.
    """
    deadline = time.monotonic() + _PATIENCE
    while True:
        connection = await open_connection(address, address.listen)
        try:
            return await _Migration(connection, address).run(clock, finish=finish)
        except (server.LockNotAvailableError, server.DeadlockDetectedError) as error:
            if time.monotonic() > deadline:
                raise translate(error, address.shown) from error
        except DRIVER as error:
            raise translate(error, address.shown) from error
        finally:
            connection.terminate()
        await asyncio.sleep(random.uniform(0.2, 1))  # noqa: S311 - no secret


class _Migration:
    def __init__(self, connection: asyncpg.Connection[Any], address: Address) -> None:
        self._connection = connection
        self._schema = address.schema
        self._where = address.shown
        self._sql = statements_of(address.schema)

    async def run(self, clock: Instant | None, *, finish: bool) -> list[str]:
        await self._check_server()
        async with self._connection.transaction():
            await self._connection.execute(f"SET LOCAL lock_timeout = '{_LOCK_PATIENCE}s'")
            await self._connection.execute(self._sql["lock_migration"], self._schema)
            version, oldest = await self._version()
            missing = [step for step in STEPS if step.version > version]
            done = [f"layout {step.version}: {step.title}" for step in missing]
            if missing:
                spares = len(missing) == 1 and missing[0].spares_workers
                oldest = version if spares else LATEST
                if version:
                    await self._check_nobody_works(clock, oldest)
                await self._apply(version, missing, oldest, spares=spares)
            else:
                check_version(version, oldest, self._where)
            if finish and version <= LATEST and oldest < LATEST:
                await self._check_nobody_works(clock, LATEST)
                await self._apply(LATEST, [], LATEST, spares=False)
                done.append(f"layout {LATEST}: code of layout {oldest} goes on no more")
        return done

    async def _check_server(self) -> None:
        number, encoding = await self._connection.fetchrow(self._sql["about_server"])
        if number < OLDEST_SERVER:
            raise StoreError(f"{self._where} is PostgreSQL {number // 10000}; Windlass needs 13 or newer")
        if encoding != "UTF8":
            raise StoreError(f"{self._where} has the encoding {encoding}; Windlass needs a database with UTF8")

    async def _version(self) -> tuple[int, int]:
        """The layout that is there, and the oldest that code must know to go on with it."""
        if await self._connection.fetchval(self._sql["has_meta"]):
            version, oldest = await self._connection.fetchrow(self._sql["read_version"])
            return version, oldest
        if await self._connection.fetchval(self._sql["has_tables"], self._schema):
            raise SchemaMismatch(f"{self._where}: the schema {self._schema} has tables that are not Windlass's")
        return 0, 0

    async def _check_nobody_works(self, clock: Instant | None, oldest: int) -> None:
        """Refuse to take the tables from under workers that do not know this layout: what they run would be lost to
        them, and run twice."""
        live = await self._connection.fetch(self._sql["live_sessions"], clock, oldest)
        if not live:
            return
        sessions = [msgspec.json.decode(record, type=Session) for record, _, _ in live[:5]]
        named = [f"{session.node}:{session.pid}" for session in sessions] + ["..."][: len(live) - 5]
        left = max(until - now for _, until, now in live) / SECOND
        raise SchemaMismatch(
            f"{self._where}: workers of the older layout are at work ({', '.join(named)}): stop them, then migrate; "
            f"one that was killed counts for another {left:.0f} s"
        )

    async def _apply(self, version: int, missing: Sequence[Migration], oldest: int, *, spares: bool) -> None:
        """Carry out steps, and make the functions: anew, or, where workers are spared, over and beside those that they
        call."""
        execute = self._connection.execute
        if not version:
            await execute(f'CREATE SCHEMA IF NOT EXISTS "{self._schema}"')
        await execute(f'SET LOCAL search_path = "{self._schema}"')
        await execute("SET LOCAL check_function_bodies = off")
        await self._drop_triggers()
        if not spares:
            await self._drop_functions()
        for step in missing:
            await execute(step.script)
        for script in functions("postgres"):
            await execute(await self._over(script) if spares else script)
        await self._pin_functions()
        await execute(self._sql["set_version"], LATEST, oldest)

    async def _over(self, script: str) -> str:
        """A script of functions that replaces those with the same arguments, and leaves types that are there."""
        there = {name for (name,) in await self._connection.fetch(self._sql["own_types"], self._schema)}
        script = _TYPE.sub(lambda found: "" if found[1] in there else found[0], script)
        return script.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION")

    async def _drop_triggers(self) -> None:
        for (drop,) in await self._connection.fetch(self._sql["own_triggers"]):
            await self._connection.execute(drop)

    async def _drop_functions(self) -> None:
        fetch, execute = self._connection.fetch, self._connection.execute
        for (name,) in await fetch(self._sql["own_functions"], self._schema):
            await execute(f"DROP FUNCTION {name} CASCADE")
        for (name,) in await fetch(self._sql["own_types"], self._schema):
            await execute(f"DROP TYPE {name} CASCADE")

    async def _pin_functions(self) -> None:
        """Those that are called through connections that are not ours bring their settings along."""
        for (name,) in await self._connection.fetch(self._sql["own_functions"], self._schema):
            if name.partition("(")[0] in _BY_STRANGERS:
                for setting in tuning.SETTINGS:
                    await self._connection.execute(f"ALTER FUNCTION {name} SET {setting.format(schema=self._schema)}")
