"""The worker's end of the line to a child."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import cast

import msgspec

from windlass.core.model import ClaimedJob
from windlass.engine.process_pool.wire import Answer, BrokenFrame, Cutter, Setup, decode_answer, frame


class Line(asyncio.Protocol):
    """A socket to a child. Nothing that the child does can block the loop, or make it hold more than one message.

    Args:
        longest: bytes of the longest message that it may send.
        hear: called with each message.
        lost: called once, when the line has ended and everything on it was heard, with the reason.
    """

    def __init__(self, longest: int, hear: Callable[[Answer], None], lost: Callable[[str], None]) -> None:
        self._cutter = Cutter(longest)
        self._hear = hear
        self._lost: Callable[[str], None] | None = lost
        self._fault = "closed its connection to the worker"
        self._transport: asyncio.Transport | None = None
        self.unread = False
        """The child died before it had read what was sent last."""

    @property
    def is_open(self) -> bool:
        """Whether more may come."""
        return self._transport is not None

    async def connect(self, ours: socket.socket, setup: Setup) -> None:
        """Take over this end of a socket pair, and say what comes first."""
        await asyncio.get_running_loop().create_unix_connection(lambda: self, sock=ours)
        self._send(setup)

    def send(self, job: ClaimedJob) -> None:
        """Send a job; what does not fit into the socket now follows when it does."""
        self._send(job)

    def _send(self, message: Setup | ClaimedJob) -> None:
        if self._transport is None or self._transport.is_closing():
            self.unread = True  # it has just died: its owner will hear of that
        else:
            self._transport.write(frame(message))

    def hang_up(self) -> None:
        """Close it, and hear nothing more: the child ends when it has nothing to do."""
        self._lost = None
        if self._transport is not None:
            self._transport.abort()
            self._transport = None

    # ------------------------------------------------------------------------------- what the loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        if self._lost is None:
            self.hang_up()

    def data_received(self, data: bytes) -> None:
        try:
            for body in self._cutter.feed(data):
                if self._transport is not None:
                    self._hear(decode_answer(body))
        except (BrokenFrame, msgspec.DecodeError) as error:
            self._fault = f"sent what is no message ({error})"
            if self._transport is not None:
                self._transport.abort()

    def eof_received(self) -> None:
        if self._transport is not None and self._transport.get_write_buffer_size():
            self.unread = True

    def connection_lost(self, error: Exception | None) -> None:
        # A reset says that the other end had something left to read when it was closed.
        self.unread = self.unread or isinstance(error, (ConnectionResetError, BrokenPipeError))
        self._transport = None
        if self._lost is not None:
            self._lost(self._fault)
