"""The servers that other tests count on: they keep their data over a kill, and answer nobody while paused."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from tests.servers.postgres import PostgresServer
from tests.servers.redis import RedisServer
from tests.servers.server import Server


@pytest.fixture(params=[RedisServer, PostgresServer])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with request.param() as server:
        yield server


def test_a_server_is_killed_and_started_again(server: Server) -> None:
    assert server.is_ready()
    pid = server.pid
    server.kill()
    assert not server.is_ready()
    server.start()
    assert server.is_ready()
    assert server.pid != pid
    server.stop()
    server.start()
    assert server.is_ready()


def test_a_paused_server_lets_nobody_hear_anything() -> None:
    with RedisServer() as server:
        server.pause()
        try:
            with socket.create_connection(("127.0.0.1", server.port), 1) as connection:
                connection.settimeout(0.2)
                connection.sendall(b"PING\r\n")
                with pytest.raises(TimeoutError):
                    connection.recv(64)
        finally:
            server.resume()
        assert server.is_ready()


def test_its_data_goes_with_it(server: Server) -> None:
    server.destroy()
    assert not server.folder.exists()
    server.destroy()
