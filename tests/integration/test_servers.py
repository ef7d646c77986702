"""The servers that other tests count on: they keep their data over a kill, and answer nobody while paused."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.postgres import PostgresServer, postgres_program
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


def test_the_postgresql_that_comes_first_on_the_path_is_taken_whole(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The programs of one version are not mixed with those of another."""
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    for name in ("postgres", "initdb"):
        (tmp_path / name).touch(0o755)
    assert postgres_program("initdb") == str(tmp_path / "initdb")
    with pytest.raises(pytest.skip.Exception, match="there is no pg_basebackup in"):
        postgres_program("pg_basebackup")
