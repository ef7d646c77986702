"""The network that fails on purpose does so: what passes through it, and what does not."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest

from tests.servers.proxy import Proxy, Weather
from tests.servers.redis import RedisServer


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def proxy(server: RedisServer) -> Iterator[Proxy]:
    with Proxy(server.port) as proxy:
        yield proxy


@pytest.fixture
def client(proxy: Proxy) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", proxy.port), 5) as client:
        client.settimeout(5)
        assert ask(client, "PING") == b"+PONG\r\n"
        yield client


def ask(client: socket.socket, command: str) -> bytes:
    client.sendall(command.encode() + b"\r\n")
    return client.recv(1000)


def is_cut(client: socket.socket) -> bool:
    try:
        return client.recv(1) == b""
    except ConnectionResetError:
        return True


def silent(client: socket.socket, command: str) -> bool:
    client.settimeout(0.2)
    try:
        return ask(client, command) == b""
    except TimeoutError:
        return True


def test_all_is_passed_on(client: socket.socket) -> None:
    assert ask(client, "ECHO hello") == b"$5\r\nhello\r\n"


def test_connections_are_cut(proxy: Proxy, client: socket.socket) -> None:
    assert proxy.cut() == 1
    assert is_cut(client)


def test_an_answer_is_cut_in_the_middle(proxy: Proxy, client: socket.socket) -> None:
    proxy.truncate(6)
    assert ask(client, "ECHO hello") == b"$5\r\nhe"
    assert is_cut(client)


def test_everything_is_late(proxy: Proxy, client: socket.socket) -> None:
    proxy.delay(0.1)
    began = time.monotonic()
    assert ask(client, "PING") == b"+PONG\r\n"
    assert time.monotonic() - began >= 0.2


def test_half_open_connections_stay_silent_and_are_cut_in_the_end(proxy: Proxy, client: socket.socket) -> None:
    proxy.turn(Weather.SILENT)
    assert silent(client, "SET silent 1")
    proxy.turn(Weather.FAIR)
    assert is_cut(client)
    with socket.create_connection(("127.0.0.1", proxy.port), 5) as again:
        assert ask(again, "GET silent") == b"$-1\r\n"


def test_the_server_hears_and_its_answers_are_lost(proxy: Proxy, client: socket.socket) -> None:
    proxy.turn(Weather.DEAF)
    assert silent(client, "SET deaf 1")
    proxy.turn(Weather.FAIR)
    assert is_cut(client)
    with socket.create_connection(("127.0.0.1", proxy.port), 5) as again:
        assert ask(again, "GET deaf") == b"$1\r\n1\r\n"


def test_new_connections_are_refused_and_old_ones_go_on(proxy: Proxy, client: socket.socket) -> None:
    proxy.turn(Weather.REFUSED)
    with socket.create_connection(("127.0.0.1", proxy.port), 5) as other:
        assert is_cut(other)
    assert ask(client, "PING") == b"+PONG\r\n"
