"""Redis (or Valkey) servers for tests."""

from __future__ import annotations

import socket

from tests.servers.server import Server, find_binary


class RedisServer(Server):
    """A private Redis. By default with an append-only file, so that it can be killed and started again.

    Args:
        options: more options of its command line, such as ``"--maxmemory", "20mb"``; they win over ours.
    """

    def __init__(self, *options: str) -> None:
        self._program = find_binary("redis-server", "redis-server")
        super().__init__()
        self._options = options

    @property
    def url(self) -> str:
        """Its URL, for `connect` and for redis-py."""
        return f"redis://127.0.0.1:{self.port}/0"

    def command(self) -> list[str]:
        """See `Server`."""
        return [
            self._program, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder),
            "--save", "", "--appendonly", "yes", "--appendfsync", "always", "--maxmemory-policy", "noeviction",
            *self._options,
        ]  # fmt: skip

    def is_ready(self) -> bool:
        """Whether it answers, and has read its file."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as connection:
                connection.settimeout(1)
                connection.sendall(b"PING\r\n")
                return connection.recv(64).startswith((b"+PONG", b"-NOAUTH"))
        except OSError:
            return False

    def flush(self) -> None:
        """Delete all data."""
        assert self.ask(b"FLUSHALL\r\n").startswith(b"+OK")

    def ask(self, line: bytes) -> bytes:
        """Send it a line, past everybody's drivers; give the beginning of the answer."""
        with socket.create_connection(("127.0.0.1", self.port), 10) as connection:
            connection.sendall(line)
            return connection.recv(65536)
