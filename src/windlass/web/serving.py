"""Serves the site until it is told to end."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import uvicorn

from windlass.web.access.gate import Gate

THIS_MACHINE = ("127.0.0.1", "::1")


class Server(uvicorn.Server):
    """A server of the site.

    Args:
        gate: the site.
        proxies: addresses and networks whose ``X-Forwarded-For`` and ``X-Forwarded-Proto`` are believed.
    """

    def __init__(self, gate: Gate, proxies: Sequence[str] = THIS_MACHINE) -> None:
        super().__init__(
            uvicorn.Config(
                gate,
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=1,
                forwarded_allow_ips=[*proxies, *map(_within_ipv6, proxies)],
            )
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


def _within_ipv6(address: str) -> str:
    """How an address or network of IPv4 looks to a socket that listens to both."""
    if ":" in address:
        return address
    host, _, length = address.partition("/")
    return f"::ffff:{host}/{96 + int(length or 32)}"


async def serve(gate: Gate, listener: socket.socket, proxies: Sequence[str] = THIS_MACHINE) -> None:
    """Serve on a bound socket until SIGTERM or SIGINT; ``proxies`` as `Server` has them."""
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    await Server(gate, proxies).serve([listener])
