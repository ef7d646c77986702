"""Hints between processes: a datagram to whoever is about to sleep.

Beside the database is a directory, and in it one Unix datagram socket for each store object with subscriptions. The
file's name says what its owner waits for just now, one letter for each kind of hint, so that a writer sees by listing
the directory whom to tell, and tells nobody when nobody sleeps. `arm` renames the file before it returns: whoever
commits later finds the new name, and what was committed before is found by the look at the store that follows.

A hint may be lost (a full buffer, a platform without these sockets, another user's directory). Everybody polls as
well, so that nothing here ever raises.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections import Counter, defaultdict
from collections.abc import Callable, Collection
from pathlib import Path
from uuid import uuid4

import msgspec

from windlass.store.sqlite.page import SharedPage
from windlass.store.sqlite.transaction import MANY, Hints

READY, DUE, FINISHED, SESSION, LIMITS, SCHEDULES = "r", "d", "f", "s", "l", "t"
_KINDS = {
    "ready": READY,
    "scheduled": DUE,
    "finished": FINISHED,
    "session": SESSION,
    "limits": LIMITS,
    "schedules": SCHEDULES,
}
_AWAKE = "-"
"""The name of somebody who waits for nothing."""
_LARGEST = 65_536


class _Message(msgspec.Struct, array_like=True):
    """What is sent. ``None`` stands for any: there are too many to name."""

    queues: list[str] | None = []
    jobs: list[bytes] | None = []
    due: bool = False
    sessions: list[bytes] | None = []
    limits: bool = False
    schedules: bool = False


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(_Message)


class Sender:
    """Tells the others. Used by the writer thread alone."""

    def __init__(self, path: str) -> None:
        self._folder = wake_folder(path)
        self._socket: socket.socket | None = None

    def send(self, hints: Hints) -> bool:
        """Tell everybody who waits for any of this; answers whether anybody waits for anything."""
        names = self._listeners()
        kinds = _kinds_of(hints)
        targets = [name for name in names if not kinds.isdisjoint(name.rpartition(".")[2])]
        if targets:
            self._send_to(targets, _ENCODER.encode(_message(hints)))
        return bool(names)

    def has_listeners(self) -> bool:
        """Whether anybody waits for anything."""
        return bool(self._listeners())

    def _listeners(self) -> list[str]:
        """The names of those who wait for something."""
        try:
            with os.scandir(self._folder) as entries:
                return [entry.name for entry in entries if not entry.name.endswith(f".{_AWAKE}")]
        except OSError:
            return []

    def _send_to(self, names: list[str], message: bytes) -> None:
        try:
            if self._socket is None:
                self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
                self._socket.setblocking(False)
            with _Folder(self._folder) as folder:
                for name in names:
                    self._send_one(folder, name, message)
        except OSError:
            pass

    def _send_one(self, folder: _Folder, name: str, message: bytes) -> None:
        assert self._socket is not None
        try:
            self._socket.sendto(message, folder.address(name))
        except OSError as error:
            # Nobody listens any more: its process died. Anything else (a full buffer, renamed just now) may pass.
            if error.errno == errno.ECONNREFUSED:
                folder.unlink(name)

    def close(self) -> None:
        """Let go of the socket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


class Subscription:
    """See `windlass.store.port.Subscription`."""

    def __init__(self, mailbox: Mailbox, channels: Collection[str], wake: Callable[[], None]) -> None:
        self._mailbox = mailbox
        self.channels = tuple(channels)
        self.kinds = {_KINDS[channel.partition("/")[0]] for channel in channels}
        self.wake = wake
        self.armed = False
        self.closed = False

    def arm(self) -> None:
        """Ask for hints from now on."""
        if not (self.armed or self.closed):
            self.armed = True
            self._mailbox.want(self.kinds, 1)

    def disarm(self) -> None:
        """Do without hints until `arm`."""
        if self.armed:
            self.armed = False
            self._mailbox.want(self.kinds, -1)

    def close(self) -> None:
        """End the subscription."""
        if not self.closed:
            self.disarm()
            self.closed = True
            self._mailbox.drop(self)


class Mailbox:
    """Receives hints for all subscriptions of a store object. Used on its event loop alone."""

    def __init__(self, path: str) -> None:
        self._folder = wake_folder(path)
        self._channels: defaultdict[str, dict[Subscription, None]] = defaultdict(dict)
        self._wanted: Counter[str] = Counter()
        self._identity = uuid4().hex
        self._name = f"{self._identity}.{_AWAKE}"
        self._socket: socket.socket | None = None
        self._page: SharedPage | None = None
        self._path = path
        self._loop: asyncio.AbstractEventLoop | None = None
        self._impossible = False

    def subscribe(self, channels: Collection[str], wake: Callable[[], None]) -> Subscription:
        """See `Notifier.subscribe`."""
        if self._socket is None and not self._impossible:
            self._open()
        subscription = Subscription(self, channels, wake)
        for channel in subscription.channels:
            self._channels[channel][subscription] = None
        subscription.arm()
        return subscription

    def drop(self, subscription: Subscription) -> None:
        """Forget a subscription."""
        for channel in subscription.channels:
            listeners = self._channels[channel]
            listeners.pop(subscription, None)
            if not listeners:
                del self._channels[channel]

    def want(self, kinds: Collection[str], change: int) -> None:
        """Count one more, or one less, who waits for these kinds of hints, and say so in the file's name."""
        for kind in kinds:
            self._wanted[kind] += change
        wanted = "".join(sorted(kind for kind, count in self._wanted.items() if count > 0))
        name = f"{self._identity}.{wanted or _AWAKE}"
        if self._socket is not None and name != self._name:
            try:
                Path(self._folder, self._name).rename(f"{self._folder}/{name}")
                self._name = name
                if wanted and self._page is not None:
                    self._page.sleeping = True
            except OSError:
                # Somebody took us for dead, or cleaned up: from here on there is only polling.
                self.close()
                self._impossible = True

    def _open(self) -> None:
        found = None
        try:
            Path(self._folder).mkdir(mode=0o700, exist_ok=True)
            found = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            found.setblocking(False)
            with _Folder(self._folder) as folder:
                found.bind(folder.address(self._name))
            self._page = SharedPage(self._path)
            self._loop = asyncio.get_running_loop()
            self._loop.add_reader(found, self._receive)
            self._socket = found
        except (OSError, NotImplementedError):
            self._impossible = True
            if found is not None:
                found.close()

    def _receive(self) -> None:
        assert self._socket is not None
        due: dict[Subscription, None] = {}
        while self._socket is not None:
            try:
                message = _DECODER.decode(self._socket.recv(_LARGEST))
            except OSError:
                break
            except msgspec.DecodeError:
                continue
            for channel in self._channels_of(message):
                due.update(self._channels.get(channel, {}))
        for subscription in due:
            if subscription.armed:
                subscription.wake()

    def _channels_of(self, message: _Message) -> list[str]:
        channels = ["scheduled"] if message.due else []
        channels += ["limits"] if message.limits else []
        channels += ["schedules"] if message.schedules else []
        channels += self._named("ready/", message.queues)
        channels += self._named("finished/", _hex(message.jobs))
        channels += self._named("session/", _hex(message.sessions))
        return channels

    def _named(self, prefix: str, names: list[str] | None) -> list[str]:
        if names is None:
            return [channel for channel in self._channels if channel.startswith(prefix)]
        return [prefix + name for name in names]

    def close(self) -> None:
        """Let go of the socket and its file."""
        found, self._socket = self._socket, None
        if found is None or self._loop is None:
            return
        if not self._loop.is_closed():
            self._loop.remove_reader(found)
        found.close()
        if self._page is not None:
            self._page.close()
        try:
            Path(self._folder, self._name).unlink()
        except OSError:
            pass

    def abandon(self) -> None:
        """In a forked child: close our descriptor and leave the parent's file and loop alone."""
        found, self._socket = self._socket, None
        self._impossible = True
        if found is not None:
            found.close()
        if self._page is not None:
            self._page.close()


class _Folder:
    """A directory, open, so that sockets in it can be named by short addresses (108 bytes is the longest)."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._descriptor = -1

    def __enter__(self) -> _Folder:
        self._descriptor = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    def address(self, name: str) -> str:
        """An address of a socket in it."""
        path = f"{self._path}/{name}"
        return path if len(path.encode()) < 100 else f"/proc/self/fd/{self._descriptor}/{name}"

    def unlink(self, name: str) -> None:
        """Remove a file in it, if it is there."""
        try:
            os.unlink(name, dir_fd=self._descriptor)
        except OSError:
            pass


def wake_folder(path: str) -> str:
    """Where the sockets of a database are."""
    return f"{path}-wake"


def _hex(ids: list[bytes] | None) -> list[str] | None:
    return None if ids is None else [one.hex() for one in ids]


def _kinds_of(hints: Hints) -> set[str]:
    kinds = set()
    if hints.ready or hints.everybody:
        kinds.add(READY)
    if hints.finished:
        kinds.add(FINISHED)
    if hints.due is not None:
        kinds.add(DUE)
    if hints.sessions:
        kinds.add(SESSION)
    if hints.limits:
        kinds.add(LIMITS)
    if hints.schedules:
        kinds.add(SCHEDULES)
    return kinds


def _message(hints: Hints) -> _Message:
    return _Message(
        queues=None if hints.everybody or len(hints.ready) > MANY else list(hints.ready),
        jobs=None if len(hints.finished) > MANY else hints.finished,
        due=hints.due is not None,
        sessions=None if len(hints.sessions) > MANY else list(hints.sessions),
        limits=hints.limits,
        schedules=hints.schedules,
    )
