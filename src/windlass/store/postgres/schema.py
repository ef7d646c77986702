"""The stored layout: checked by every store object, created and brought up to date when asked."""

from __future__ import annotations

from typing import Any

import asyncpg
import msgspec

from windlass.core.clock import SECOND, Instant
from windlass.core.errors import SchemaMismatch, StoreError
from windlass.core.model import Session
from windlass.store.postgres import tuning
from windlass.store.postgres.address import Address
from windlass.store.postgres.failures import DRIVER, translate
from windlass.store.postgres.pool import open_connection
from windlass.store.postgres.statements import statements_of
from windlass.store.statements import functions, migrations

STEPS = migrations("postgres")
LATEST = STEPS[-1].version
OLDEST_SERVER = 130000
"""PostgreSQL 13."""

_BY_STRANGERS = ("enqueue", "enqueue_in", "open_line", "leave_lines")
"""Functions that strangers call, and triggers, which fire whoever changes a row."""


def check_version(version: int, where: str) -> None:
    """Raise `SchemaMismatch` unless this version of Windlass works with that layout."""
    if version < LATEST:
        raise SchemaMismatch(
            f"{where} has layout {version}, this version of Windlass needs {LATEST}: run `windlass migrate`"
        )
    if version > LATEST:
        raise SchemaMismatch(
            f"{where} has layout {version}, this version of Windlass knows {LATEST} only: upgrade Windlass"
        )


def no_layout(where: str, schema: str) -> SchemaMismatch:
    """What to raise where there is nothing yet."""
    return SchemaMismatch(f"{where} has no schema {schema} of Windlass's: run `windlass migrate`, which creates it")


async def migrate(address: Address, clock: Instant | None, *, finish: bool) -> list[str]:
    """Create the layout, or bring it up to date; say what was done.

    All in one transaction, one at a time. ``finish`` has nothing to end yet: no layout has changed in a way that two
    versions must write side by side.
    """
    del finish
    connection = await open_connection(address, address.listen)
    try:
        return await _Migration(connection, address).run(clock)
    except DRIVER as error:
        raise translate(error, address.shown) from error
    finally:
        connection.terminate()


class _Migration:
    def __init__(self, connection: asyncpg.Connection[Any], address: Address) -> None:
        self._connection = connection
        self._schema = address.schema
        self._where = address.shown
        self._sql = statements_of(address.schema)

    async def run(self, clock: Instant | None) -> list[str]:
        await self._check_server()
        async with self._connection.transaction():
            await self._connection.execute("SET LOCAL lock_timeout = '30s'")
            await self._connection.execute(self._sql["lock_migration"], self._schema)
            version = await self._version()
            missing = [step for step in STEPS if step.version > version]
            if not missing:
                check_version(version, self._where)
                return []
            if version:
                await self._check_nobody_works(clock)
            await self._apply(version, missing)
        return [f"layout {step.version}: {step.title}" for step in missing]

    async def _check_server(self) -> None:
        number, encoding = await self._connection.fetchrow(self._sql["about_server"])
        if number < OLDEST_SERVER:
            raise StoreError(f"{self._where} is PostgreSQL {number // 10000}; Windlass needs 13 or newer")
        if encoding != "UTF8":
            raise StoreError(f"{self._where} has the encoding {encoding}; Windlass needs a database with UTF8")

    async def _version(self) -> int:
        if await self._connection.fetchval(self._sql["has_meta"]):
            return int(await self._connection.fetchval(self._sql["read_version"]))
        if await self._connection.fetchval(self._sql["has_tables"], self._schema):
            raise SchemaMismatch(f"{self._where}: the schema {self._schema} has tables that are not Windlass's")
        return 0

    async def _check_nobody_works(self, clock: Instant | None) -> None:
        """Refuse to take the tables from under workers: what they run would be lost to them, and run twice."""
        live = await self._connection.fetch(self._sql["live_sessions"], clock)
        if not live:
            return
        sessions = [msgspec.json.decode(record, type=Session) for record, _, _ in live[:5]]
        named = [f"{session.node}:{session.pid}" for session in sessions] + ["..."][: len(live) - 5]
        left = max(until - now for _, until, now in live) / SECOND
        raise SchemaMismatch(
            f"{self._where}: workers of the older layout are at work ({', '.join(named)}): stop them, then migrate; "
            f"one that was killed counts for another {left:.0f} s"
        )

    async def _apply(self, version: int, missing: list[Any]) -> None:
        execute = self._connection.execute
        if not version:
            await execute(f'CREATE SCHEMA IF NOT EXISTS "{self._schema}"')
        await execute(f'SET LOCAL search_path = "{self._schema}"')
        await execute("SET LOCAL check_function_bodies = off")
        await self._drop_functions()
        for step in missing:
            await execute(step.script)
        for script in functions("postgres"):
            await execute(script)
        await self._pin_functions()
        await execute(self._sql["set_version"], missing[-1].version)

    async def _drop_functions(self) -> None:
        fetch, execute = self._connection.fetch, self._connection.execute
        for (drop,) in await fetch(self._sql["own_triggers"]):
            await execute(drop)
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
