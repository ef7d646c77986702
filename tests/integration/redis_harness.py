"""What the tests of the Redis store share: stores on a server of their own, and a way in between."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

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


class Wire:
    """A way to a server through this process: answers can be kept back, and connections cut."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.silent = False
        """Answers are thrown away."""
        self.cut_answers = 0
        """So many of the next answers cut their connection in their place."""
        self.delay = 0.0
        self.port = 0

    async def __aenter__(self) -> "Wire":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        await asyncio.gather(*self._tasks)

    def cut(self) -> None:
        """Reset all connections."""
        for writer in list(self._writers):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        up, out = await asyncio.open_connection("127.0.0.1", self._target)
        self._writers |= {writer, out}
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump(reader, out, answers=False))
                group.create_task(self._pump(up, writer, answers=True))
        except* OSError:
            pass
        finally:
            self._writers -= {writer, out}
            for end in (writer, out):
                end.transport.abort()
                with suppress(OSError):
                    await end.wait_closed()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answers: bool) -> None:
        while data := await reader.read(65536):
            if answers and self.silent:
                continue
            if answers and self.cut_answers:
                self.cut_answers -= 1
                break
            if self.delay:
                await asyncio.sleep(self.delay)
            writer.write(data)
            await writer.drain()
        raise ConnectionResetError
