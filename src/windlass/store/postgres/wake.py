"""Hints between processes: LISTEN and NOTIFY.

Each store object that was connected has one connection that listens, for all of its subscriptions. Now and then it
sends itself a word, and is opened anew if that does not come back: a connection may be dead without anybody having said
so, and a pooler may lead to where nothing is heard. Everybody polls as well, so that nothing here ever raises.
"""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
from collections import defaultdict
from collections.abc import Callable, Collection
from typing import Any

import asyncpg

from windlass.core.errors import StoreUnavailable
from windlass.store.postgres.address import Address
from windlass.store.postgres.failures import DRIVER
from windlass.store.postgres.pool import detach, is_pooled, open_connection

KINDS = ("ready", "scheduled", "schedules", "finished", "session", "limits")
_PROBE = "probe"
_EVERY = 15.0
"""Seconds between two words to itself."""
_PATIENCE = 5.0
"""Seconds in which they must come back."""
_FIRST_BACK_OFF, _LONGEST_BACK_OFF = 0.1, 15.0
_FAILURES = (*DRIVER, StoreUnavailable)
_log = logging.getLogger("windlass.store.postgres")


def channel_of(schema: str, kind: str) -> str:
    """The name under which the server passes on hints of a kind; the function ``tell`` makes it too."""
    return f"windlass/{schema}/{kind}"


class Subscription:
    """See `windlass.store.port.Subscription`."""

    def __init__(self, listener: Listener, channels: Collection[str], wake: Callable[[], None]) -> None:
        self._listener = listener
        self.channels = tuple(channels)
        self.wake = wake
        self.armed = True

    def arm(self) -> None:
        """Ask for hints from now on."""
        self.armed = True

    def disarm(self) -> None:
        """Do without hints until `arm`."""
        self.armed = False

    def close(self) -> None:
        """End the subscription."""
        self.armed = False
        self._listener.drop(self)


class Listener:
    """Receives hints for all subscriptions of a store object. Used on its event loop alone."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._channels: defaultdict[str, dict[Subscription, None]] = defaultdict(dict)
        self._connection: asyncpg.Connection[Any] | None = None
        self._task: asyncio.Task[None] | None = None
        self._listens = asyncio.Event()
        self._heard_itself = asyncio.Event()
        self._gone = asyncio.Event()
        self._warned = False
        self._pooled = False
        """A pooler stands between."""
        self._key = 0
        """Of the advisory lock that the connection holds: by it a hint names this listener, and the server knows
        whether it is still there."""

    def subscribe(self, channels: Collection[str], wake: Callable[[], None]) -> Subscription:
        """See `Notifier.subscribe`."""
        self.start()
        subscription = Subscription(self, channels, wake)
        for channel in subscription.channels:
            self._channels[channel][subscription] = None
        return subscription

    def drop(self, subscription: Subscription) -> None:
        """Forget a subscription."""
        for channel in subscription.channels:
            listeners = self._channels[channel]
            listeners.pop(subscription, None)
            if not listeners:
                del self._channels[channel]

    def start(self) -> None:
        """Begin to listen."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run(), name="windlass-postgres-listener")

    async def wait_until_it_listens(self, seconds: float) -> None:
        """Wait, for a while, until what happens from here on is heard."""
        try:
            async with asyncio.timeout(seconds):
                await self._listens.wait()
        except TimeoutError:
            pass

    def hears(self, queues: Collection[str]) -> int | None:
        """The key by which a hint of jobs may name this listener; ``None`` if it does not listen, or if somewhere in
        these queues hints are not wanted."""
        wanted = self._listens.is_set() and all(
            any(one.armed for one in self._channels.get(f"ready/{queue}", ())) for queue in queues
        )
        return self._key if wanted else None

    async def close(self) -> None:
        """End it."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        for subscription in {one for listeners in self._channels.values() for one in listeners}:
            subscription.armed = False

    def abandon(self) -> None:
        """The loop is gone: let go of the socket without a word."""
        if self._connection is not None:
            detach(self._connection)

    # ------------------------------------------------------------------------------------------------ its life

    async def _run(self) -> None:
        back_off = _FIRST_BACK_OFF
        while True:
            try:
                await self._listen()
            except _FAILURES as error:
                _log.debug("the listener of %s failed: %s", self._address.shown, error)
            if self._listens.is_set():
                back_off = _FIRST_BACK_OFF
                self._listens.clear()
            await asyncio.sleep(back_off * random.uniform(0.5, 1.5))  # noqa: S311 - no secret
            back_off = min(back_off * 2, _LONGEST_BACK_OFF)

    async def _listen(self) -> None:
        """Listen until the connection is lost, or hears itself no more."""
        connection = self._connection = await open_connection(self._address, self._address.listen)
        try:
            self._gone.clear()
            connection.add_termination_listener(lambda _: self._gone.set())
            self._pooled = await is_pooled(connection)
            await connection.add_listener(channel_of(self._address.schema, _PROBE), self._hear)
            if not await self._hears_itself(connection):
                self._warn()
                return
            self._key = secrets.randbits(63)
            await connection.execute(f"SELECT pg_advisory_lock({self._key})")
            for kind in KINDS:
                await connection.add_listener(channel_of(self._address.schema, kind), self._hear)
            self._listens.set()
            self._wake_all()  # for what those did not hear who had subscribed before
            while not await self._is_lost():
                if not await self._hears_itself(connection):
                    return
        finally:
            self._connection = None
            connection.terminate()

    async def _is_lost(self) -> bool:
        """Wait until it is time to look whether the connection is alive; say if it turned out not to be before."""
        try:
            async with asyncio.timeout(_EVERY):
                await self._gone.wait()
        except TimeoutError:
            return False
        return True

    async def _hears_itself(self, connection: asyncpg.Connection[Any]) -> bool:
        self._heard_itself.clear()
        try:
            async with asyncio.timeout(_PATIENCE):
                await self._say(connection)
                await self._heard_itself.wait()
        except TimeoutError:
            return False
        return True

    async def _say(self, connection: asyncpg.Connection[Any]) -> None:
        """Send itself a word; through a pooler from elsewhere, since what a connection says itself it may hear on the
        way back, though nothing else reaches it."""
        word = f'NOTIFY "{channel_of(self._address.schema, _PROBE)}"'
        if not self._pooled:
            await connection.execute(word)
            return
        other = await open_connection(self._address, self._address.listen)
        try:
            await other.execute(word)
        finally:
            other.terminate()

    def _warn(self) -> None:
        if not self._warned:
            self._warned = True
            _log.warning(
                "%s passes on no notifications (a pooler?): workers find new jobs by polling only; give the server's "
                "own URL as listen=",
                self._address.shown,
            )

    # ------------------------------------------------------------------------------------------------ hints

    def _hear(self, _connection: object, _pid: int, channel: str, said: object) -> None:
        kind = channel.rpartition("/")[2]
        if kind == _PROBE:
            self._heard_itself.set()
            return
        due: dict[Subscription, None] = {}
        what, *meant = str(said).split(" #")
        if meant and f"{self._key:x}" not in meant:
            return
        for name in self._names(kind, what):
            due.update(self._channels.get(name, {}))
        for subscription in due:
            if subscription.armed:
                subscription.wake()

    def _names(self, kind: str, said: str) -> list[str]:
        """The port's channels that a notification concerns."""
        if kind in ("scheduled", "schedules", "limits"):
            return [kind]
        if said == "*":
            return [name for name in self._channels if name.startswith(f"{kind}/")]
        return [f"{kind}/{name}" for name in said.split(" ")]

    def _wake_all(self) -> None:
        for subscription in {one: None for listeners in self._channels.values() for one in listeners}:
            if subscription.armed:
                subscription.wake()
