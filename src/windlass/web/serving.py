"""Serves the site until it is told to end."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from windlass.web.access.gate import Gate


class Server(uvicorn.Server):
    """A server of the site."""

    def __init__(self, gate: Gate) -> None:
        super().__init__(
            uvicorn.Config(gate, log_config=None, access_log=False, server_header=False, timeout_graceful_shutdown=1)
        )
        self._gate = gate

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End event streams first, which would never end by themselves."""
        self._gate.stop()
        await super().shutdown(sockets)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals end it in order; its own way would have the process die of them afterwards."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        loop, numbers = asyncio.get_running_loop(), (signal.SIGTERM, signal.SIGINT)
        for number in numbers:
            loop.add_signal_handler(number, setattr, self, "should_exit", True)
        try:
            yield
        finally:
            for number in numbers:
                loop.remove_signal_handler(number)


async def serve(gate: Gate, listener: socket.socket) -> None:
    """Serve on a bound socket until SIGTERM or SIGINT."""
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    await Server(gate).serve([listener])
