"""Hints to whoever waits, in any loop of the process."""

from __future__ import annotations

import asyncio
import threading
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable


class Subscription:
    """See `windlass.store.port.Subscription`."""

    def __init__(
        self,
        listeners: Listeners,
        channels: Collection[str],
        wake: Callable[[], None],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._listeners = listeners
        self.channels = tuple(channels)
        self._wake = wake
        self._loop = loop
        self.armed = True
        self._coming = False
        self.closed = False

    def arm(self) -> None:
        """Ask for hints from now on."""
        self.armed = True

    def disarm(self) -> None:
        """Do without hints until `arm`."""
        self.armed = False

    def close(self) -> None:
        """End the subscription."""
        self.closed = True
        self.armed = False
        self._listeners.drop(self)

    def wake_soon(self) -> None:
        """Have its loop call ``wake``, once for all hints that come before the loop gets to it. From any thread."""
        if self._coming:
            return
        self._coming = True
        try:
            self._loop.call_soon_threadsafe(self._fire)
        except RuntimeError:  # the loop was closed, and nobody closed the subscription
            self.close()

    def _fire(self) -> None:
        self._coming = False
        if self.armed and not self.closed:
            self._wake()


class Listeners:
    """All subscriptions of all store objects on the same data. Has its own lock, held for moments."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_channel: defaultdict[str, dict[Subscription, None]] = defaultdict(dict)

    def add(self, subscription: Subscription) -> None:
        """Begin to tell somebody."""
        with self._lock:
            for channel in subscription.channels:
                self._by_channel[channel][subscription] = None

    def drop(self, subscription: Subscription) -> None:
        """Forget somebody."""
        with self._lock:
            for channel in subscription.channels:
                self._by_channel[channel].pop(subscription, None)
                if not self._by_channel[channel]:
                    del self._by_channel[channel]

    def who_hears(self, hints: Iterable[str]) -> set[Subscription]:
        """List whom these hints concern, leaving out those who sleep through them."""
        with self._lock:
            return {one for hint in hints for one in self._by_channel.get(hint, ()) if one.armed}

    def with_prefix(self, prefix: str) -> set[str]:
        """List the channels with this prefix that anybody listens to."""
        with self._lock:
            return {channel for channel in self._by_channel if channel.startswith(prefix)}
