"""Hints by the server's publish and subscribe, on a connection of their own.

The scripts publish; a channel is the namespace and the port's name of it, with ids as bytes. A hint of ready jobs may
name the sessions that it is for: where a hundred are idle, one job wakes two of them. `subscribe` writes to the
connection at once, and the next call of the store waits until the server has confirmed it: so that whoever looks after
it has subscribed finds what came before and hears of what comes after. Hints that came while the connection was lost
are made up for by waking everybody when there is a new one.

A hint that a plain job has succeeded carries the result, if that is short: a success is final, so that who waited need
not ask for what was said. Who asks later, and who was told nothing, asks the server.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Collection, Iterable
from typing import Any

from redis.exceptions import RedisError

from windlass.store.redis.connections import Connections, pack
from windlass.store.redis.link import Link

_WATCHDOG = 10.0
"""Seconds without a word after which the server is asked whether it is still there."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 2.0
_LOOK_AGAIN = 2.0
"""Seconds after a server turned out to be a replica in which the address has time to follow."""
_UNHEARD = 8
"""Hints in a row that nobody wanted, after which the server is told to keep them."""
_log = logging.getLogger("windlass.store.redis")


class Subscription:
    """See `windlass.store.port.Subscription`."""

    def __init__(self, hints: Hints, channels: Collection[bytes], wake: Callable[[], None]) -> None:
        self._hints = hints
        self.channels = tuple(channels)
        self.wake = wake
        self.armed = True
        self._closed = False

    def arm(self) -> None:
        """Ask for hints from now on."""
        if not (self.armed or self._closed):
            self.armed = True
            self._hints.want(self.channels)

    def disarm(self) -> None:
        """Do without hints until `arm`."""
        self.armed = False

    def close(self) -> None:
        """End the subscription."""
        if not self._closed:
            self._closed = True
            self.armed = False
            self._hints.forget(self)


class Hints:
    """All subscriptions of a store object. Used on its event loop alone.

    Args:
        connections: of the store object.
        namespace: before each channel.
    """

    def __init__(self, connections: Connections, namespace: bytes) -> None:
        self._connections = connections
        connections.on_look_again = self._look_again
        self._prefix = namespace + b":"
        self._finished = self._prefix + b"finished/"
        self._listeners: dict[bytes, dict[Subscription, None]] = {}
        self.sessions: set[bytes] = set()
        """Those that were opened through this store object."""
        self._known: set[bytes] = set()
        """Channels that the server was asked for on this connection."""
        self._unheard: dict[bytes, int] = {}
        self._results: dict[bytes, bytes] = {}
        """What hints of ends carried, by the job's id, for those who wait for them now."""
        self._unconfirmed = 0
        self._confirmed = asyncio.Event()
        self._confirmed.set()
        self._link: Link | None = None
        self._reader: asyncio.Task[None] | None = None
        self._up = asyncio.Event()
        self._looking_again: asyncio.TimerHandle | None = None

    # ------------------------------------------------------------------------------------------ subscribing

    def subscribe(self, channels: Collection[str], wake: Callable[[], None]) -> Subscription:
        """See `Notifier.subscribe`."""
        subscription = Subscription(self, [self._prefix + name for name in _channels(channels)], wake)
        for channel in subscription.channels:
            self._listeners.setdefault(channel, {})[subscription] = None
        self.start()
        self.want(subscription.channels)
        return subscription

    def want(self, channels: Iterable[bytes]) -> None:
        """Have the server send these, if it does not."""
        new = [channel for channel in channels if channel not in self._known]
        if new and self._link is not None:
            self._ask(b"SSUBSCRIBE", new)

    def forget(self, subscription: Subscription) -> None:
        """Forget a subscription."""
        deserted = []
        for channel in subscription.channels:
            listeners = self._listeners[channel]
            listeners.pop(subscription, None)
            if not listeners:
                del self._listeners[channel]
                self._results.pop(channel[-16:], None)
                deserted.append(channel)
        self._let_be(deserted)

    def _let_be(self, channels: Collection[bytes]) -> None:
        known = [channel for channel in channels if channel in self._known]
        if known and self._link is not None:
            self._ask(b"SUNSUBSCRIBE", known)

    def _ask(self, command: bytes, channels: list[bytes]) -> None:
        assert self._link is not None
        if not self._link.is_alive():
            return
        self._link.write(pack(command, *channels))
        if command == b"SSUBSCRIBE":
            self._known.update(channels)
            self._unconfirmed += len(channels)
            self._confirmed.clear()
        else:
            self._known.difference_update(channels)

    @property
    def settled(self) -> bool:
        """Whether the server has confirmed all that it was asked for."""
        return self._unconfirmed == 0

    async def settle(self) -> None:
        """Wait until it has, or until the connection is lost."""
        try:
            await asyncio.wait_for(self._confirmed.wait(), self._connections.deadline)
        except TimeoutError:
            self._lose()

    # -------------------------------------------------------------------------------------------- listening

    def start(self) -> None:
        """Listen from now on."""
        if self._reader is None:
            self._reader = asyncio.get_running_loop().create_task(self._listen_for_ever(), name="windlass-redis-hints")

    async def up(self) -> None:
        """Wait until it listens, or has failed to."""
        self.start()
        await self._up.wait()

    async def stop(self) -> None:
        """End it. Idempotent."""
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.cancel()
            await asyncio.wait([reader])
        self._lose()

    async def _listen_for_ever(self) -> None:
        pause = _FIRST_PAUSE
        again = False
        while True:
            try:
                await self._open()
                pause = _FIRST_PAUSE
                if again:
                    self._wake(self._everybody())
                await self._listen()
            except (RedisError, OSError, TimeoutError) as error:
                _log.debug("%s: the connection for hints was lost: %s", self._connections.shown, error)
            finally:
                self._lose()
                self._up.set()
            again = True
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - so that not all come back at once
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def _open(self) -> None:
        link = self._connections.new(self._take)
        try:
            async with asyncio.timeout(self._connections.deadline):
                await link.open()
        except BaseException:
            link.drop()
            raise
        self._link = link
        self.want(self._listeners)
        if self._unconfirmed == 0:
            self._up.set()

    async def _listen(self) -> None:
        """Watch over the connection, until it ends. Raises why."""
        link = self._link
        assert link is not None
        clock = asyncio.get_running_loop().time
        asked_at = 0.0
        while not link.lost.done():
            left = max(link.heard_at, asked_at) + _WATCHDOG - clock()
            if left > 0:
                await asyncio.wait([link.lost], timeout=left)
            elif asked_at > link.heard_at:
                raise TimeoutError("no answer to a ping")
            else:
                asked_at = clock()
                link.write(pack("PING"))
        raise link.lost.result()

    def _take(self, answer: Any) -> None:
        if isinstance(answer, Exception):
            raise answer
        if not isinstance(answer, list) or len(answer) != 3:
            return
        kind, channel, said = answer
        if kind == b"smessage":
            if said[:1] == b"=" and channel.startswith(self._finished):
                if channel in self._listeners:
                    self._results[channel[-16:]] = said[1:]
                self._hear(channel)
            elif not said or self._is_meant(said):
                self._hear(channel)
        elif kind == b"ssubscribe":
            self._unconfirmed -= 1
            if self._unconfirmed == 0:
                self._confirmed.set()
                self._up.set()
        elif kind == b"sunsubscribe" and channel in self._known:
            raise ConnectionError("the cluster has moved the namespace")

    def _is_meant(self, named: bytes) -> bool:
        return any(named[at : at + 16] in self.sessions for at in range(0, len(named), 16))

    def take_result(self, job_id: bytes) -> bytes | None:
        """The result of a job that succeeded, if a hint carried it and nobody has taken it yet."""
        return self._results.pop(job_id, None)

    def hears(self, session: bytes, queues: Iterable[str]) -> bool:
        """Whether hints of ready jobs that name this session arrive, and are wanted, for all of these queues. By the
        session's own channel the server knows that it is there."""
        if session not in self.sessions or self._prefix + b"session/" + session not in self._known:
            return False
        channels = [self._prefix + f"ready/{queue}".encode() for queue in queues]
        return self._known.issuperset(channels) and all(
            any(one.armed for one in self._listeners.get(channel, ())) for channel in channels
        )

    def _hear(self, channel: bytes) -> None:
        listeners = self._listeners.get(channel, {})
        if self._wake(listeners):
            self._unheard.pop(channel, None)
            return
        self._unheard[channel] = self._unheard.get(channel, 0) + 1
        if self._unheard[channel] >= _UNHEARD:
            del self._unheard[channel]
            self._let_be([channel])

    def _wake(self, listeners: Iterable[Subscription]) -> bool:
        armed = [subscription for subscription in listeners if subscription.armed]
        for subscription in armed:
            if subscription.armed:
                subscription.wake()
        return bool(armed)

    def _everybody(self) -> dict[Subscription, None]:
        return {one: None for listeners in self._listeners.values() for one in listeners}

    def _look_again(self) -> None:
        """Connect anew, in a while: everybody is woken then, and what they do may be refused again."""
        if self._looking_again is None:
            self._looking_again = asyncio.get_running_loop().call_later(_LOOK_AGAIN, self._lose)

    def _lose(self) -> None:
        if self._looking_again is not None:
            self._looking_again.cancel()
            self._looking_again = None
        link, self._link = self._link, None
        if link is not None:
            link.drop()
        self._known.clear()
        self._unconfirmed = 0
        self._confirmed.set()


def _channels(names: Collection[str]) -> dict[bytes, None]:
    """The server's channels for the port's. Scripts look at ``finished`` to see whether anybody waits for any end; on
    ``room`` they say that a limit may allow more now, in whatever queue."""
    found: dict[bytes, None] = {}
    for name in names:
        kind, _, rest = name.partition("/")
        if kind in ("finished", "session"):
            found[f"{kind}/".encode() + bytes.fromhex(rest)] = None
        else:
            found[name.encode()] = None
        if kind == "finished":
            found[b"finished"] = None
        if kind == "ready":
            found[b"room"] = None
    return found
