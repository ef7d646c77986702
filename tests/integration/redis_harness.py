"""What the tests of the Redis store share: stores on a server of their own."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.servers.redis import RedisServer
from windlass.core.clock import Instant
from windlass.core.model import NewJob, Settings
from windlass.core.redis_url import RedisURL, parse_redis_url
from windlass.store.redis import RedisStore

TIMEOUT = 1.0
"""Seconds after which a call is given up."""


def url_of(server: RedisServer, **fields: object) -> RedisURL:
    """Where a store is on a server."""
    return RedisURL(**{"host": "127.0.0.1", "port": server.port, "timeout": TIMEOUT, **fields})  # type: ignore[arg-type]


@asynccontextmanager
async def store_on(where: RedisServer | str, settings: Settings | None = None) -> AsyncIterator[RedisStore]:
    """A store, closed at the end."""
    store = RedisStore(parse_redis_url(where) if isinstance(where, str) else url_of(where), settings)
    try:
        yield store
    finally:
        await store.aclose()


async def now(store: RedisStore) -> Instant:
    """The server's clock."""
    return await store.now()


async def enqueue(store: RedisStore, *jobs: NewJob) -> None:
    """Store jobs, sent first just now."""
    await store.enqueue(jobs, first_sent=await store.now())
