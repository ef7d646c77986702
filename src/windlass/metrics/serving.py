"""Answers Prometheus over HTTP: to this machine, or to others who know a token."""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
import threading
import time
from collections.abc import Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from prometheus_client.core import Metric
from prometheus_client.registry import Collector, CollectorRegistry

from windlass.core.errors import StoreError
from windlass.metrics.figures import Reading, families, read
from windlass.metrics.formats import encoder_for
from windlass.metrics.visitors import check_token, is_welcome
from windlass.store.port import Store

log = logging.getLogger("windlass.metrics")

FRESH = 1.0
"""Seconds for which a reading serves everybody who asks."""
PATIENCE = 10.0
"""Seconds for which a store, or a visitor, is waited for."""


class StoreCollector(Collector):
    """Reads a store when it is asked to, at most once in `FRESH` seconds, on the event loop of the store. To be called
    from other threads."""

    def __init__(self, store: Store, loop: asyncio.AbstractEventLoop) -> None:
        self._store = store
        self._loop = loop
        self._lock = threading.Lock()
        self._reading: Reading | None = None
        self._read_at = float("-inf")

    def collect(self) -> Iterable[Metric]:
        """See `Collector`."""
        return families(self.latest())

    def latest(self) -> Reading | None:
        """What the store says; ``None``: it cannot be read."""
        with self._lock:
            if time.monotonic() - self._read_at >= FRESH:
                self._reading = self._read()
                self._read_at = time.monotonic()
            return self._reading

    def _read(self) -> Reading | None:
        async def within_patience() -> Reading:
            async with asyncio.timeout(PATIENCE):
                return await read(self._store)

        try:
            return asyncio.run_coroutine_threadsafe(within_patience(), self._loop).result()
        except (StoreError, TimeoutError) as error:
            log.warning("the store cannot be read: %s", str(error) or "no answer")
            return None


class MetricsServer(ThreadingHTTPServer):
    """An HTTP server with one page, ``/metrics``. Raises `InvalidOption` and `OSError`.

    Args:
        host: an address; others than this machine's own are refused without a token.
        port: 0: any that is free.
        collector: what is served.
        token: what visitors have to show, as ``Authorization: Bearer``; ``None``: nothing.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, host: str, port: int, collector: Collector, token: str | None) -> None:
        check_token(host, token)
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.registry = CollectorRegistry(auto_describe=False)
        self.registry.register(collector)
        self.token = token
        super().__init__((host, port), _Visitor)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - as it is called
        """A visitor that is gone is nobody's trouble."""
        log.debug("a visitor is gone: %r", sys.exc_info()[1])


class _Visitor(BaseHTTPRequestHandler):
    server: MetricsServer
    timeout = PATIENCE
    protocol_version = "HTTP/1.1"
    server_version = "windlass"
    sys_version = ""

    def do_GET(self) -> None:
        if self.path.partition("?")[0] != "/metrics":
            self._answer(404, "text/plain; charset=utf-8", b"there is /metrics\n")
        elif not is_welcome(self.server.token, self.headers.get("Authorization")):
            self._answer(401, "text/plain; charset=utf-8", b"a token is needed\n", {"WWW-Authenticate": "Bearer"})
        else:
            encode, content_type = encoder_for(self.headers.get("Accept", ""))
            self._answer(200, content_type, encode(self.server.registry))

    def _answer(self, code: int, content_type: str, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(code)
        for name, value in {"Content-Type": content_type, "Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        log.debug(format, *args)
