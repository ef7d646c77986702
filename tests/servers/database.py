"""One PostgreSQL for many tests, each of which finds an empty store in it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import asyncpg

from tests.servers.postgres import PostgresServer
from windlass.core.model import Settings
from windlass.store.postgres.store import PostgresStore

_TABLES = (
    "bodies", "jobs", "done", "edges", "releases", "errors", "notes", "sessions", "schedules", "commands", "limits",
    "buckets", "lines", "turns", "idle", "documents",
)  # fmt: skip


def run_apart(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run something to its end, in a thread of its own: there may be a loop in this one."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(lambda: asyncio.run(main())).result()


class Database:
    """A server with the layout in it."""

    def __init__(self, url: str) -> None:
        self.url = url

    def store(self, settings: Settings | None = None, clock: Callable[[], int] | None = None) -> PostgresStore:
        """Make a store, which is the only one of its data: those of the store before are deleted."""
        run_apart(self._empty)
        return PostgresStore(self.url, settings, clock)

    async def _empty(self) -> None:
        connection = await asyncpg.connect(self.url)
        try:
            tables = ", ".join(f"windlass.{name}" for name in _TABLES)
            await connection.execute(f"TRUNCATE {tables}")
            await connection.execute("UPDATE windlass.duty SET holder = NULL, until = 0")
        finally:
            await connection.close()


@contextmanager
def migrated(server: PostgresServer) -> Iterator[Database]:
    """A server, started, with the layout in it."""

    async def migrate() -> None:
        store = PostgresStore(server.url)
        await store.migrate()
        await store.aclose()

    with server:
        run_apart(migrate)
        yield Database(server.url)
