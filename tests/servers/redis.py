"""Redis and Valkey servers for tests."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from typing import Self

from tests.servers.server import Server, find_binary, free_port


class RedisServer(Server):
    """A private Redis. By default with an append-only file, so that it can be killed and started again.

    Args:
        options: more options of its command line, such as ``"--maxmemory", "20mb"``; they win over ours.
    """

    program = "redis-server"

    def __init__(self, *options: str) -> None:
        self._program = find_binary(self.program, self.program)
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


class ValkeyServer(RedisServer):
    """The same, by Valkey's own program."""

    program = "valkey-server"

    @classmethod
    def is_to_be_had(cls) -> bool:
        """Whether this machine's distribution has it (Debian 13, Ubuntu 24.04 and later)."""
        apt = shutil.which("apt-cache")
        return apt is not None and bool(
            subprocess.run([apt, "show", cls.program], capture_output=True, check=False, timeout=60).stdout
        )


class RedisReplica(RedisServer):
    """A server that follows another, until one of the two is told otherwise."""

    def __init__(self, primary: RedisServer) -> None:
        super().__init__("--replicaof", "127.0.0.1", str(primary.port), "--repl-diskless-sync-delay", "0")
        self._primary = primary

    def catch_up(self) -> None:
        """Return when it has acknowledged all that the other had written when this was called."""
        end = _number(self._primary, rb"master_repl_offset:(\d+)")
        _await(lambda: _number(self._primary, rb"slave0:.*state=online,offset=(\d+)") >= end)

    def promote(self) -> None:
        """Make it a server of its own, whatever became of the other."""
        assert self.ask(b"REPLICAOF NO ONE\r\n").startswith(b"+OK")

    def swap(self) -> None:
        """Let the two change places, with nothing lost: the other stops writing, waits for this one, and follows it."""
        assert self._primary.ask(b"FAILOVER TO 127.0.0.1 %d\r\n" % self.port).startswith(b"+OK")
        _await(lambda: b"role:slave" in self._primary.ask(b"INFO replication\r\n"))
        _await(lambda: b"role:master" in self.ask(b"INFO replication\r\n"))


def _number(server: RedisServer, pattern: bytes) -> int:
    found = re.search(pattern, server.ask(b"INFO replication\r\n"))
    return int(found[1]) if found else -1


class RedisCluster:
    """Masters that share the slots. Use it as a context manager."""

    def __init__(self, masters: int) -> None:
        # Without a port of its own for it, the bus of a node is 10,000 above its port, which may be too high.
        options = "--cluster-enabled", "yes", "--cluster-node-timeout", "2000", "--cluster-port"
        self.nodes = [RedisServer(*options, str(free_port())) for _ in range(masters)]

    def __enter__(self) -> Self:
        try:
            for node in self.nodes:
                node.start()
            addresses = [f"127.0.0.1:{node.port}" for node in self.nodes]
            self._admin("create", *addresses, "--cluster-yes")
            for node in self.nodes:
                _await(lambda node=node: b"cluster_state:ok" in node.ask(b"CLUSTER INFO\r\n"))
        except BaseException:
            self.destroy()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.destroy()

    def destroy(self) -> None:
        """End all nodes."""
        for node in self.nodes:
            node.destroy()

    def move_slot(self, key: str) -> None:
        """Give the slot of a key, with all that is in it, to another master."""
        slot = int(self.nodes[0].ask(f"CLUSTER KEYSLOT {key}\r\n".encode())[1:])
        home = next(node for node in self.nodes if not node.ask(f"EXISTS {key}\r\n".encode()).startswith(b"-MOVED"))
        heir = next(node for node in self.nodes if node is not home)
        source, target = (node.ask(b"CLUSTER MYID\r\n").split()[1].decode() for node in (home, heir))
        heir.ask(f"CLUSTER SETSLOT {slot} IMPORTING {source}\r\n".encode())
        home.ask(f"CLUSTER SETSLOT {slot} MIGRATING {target}\r\n".encode())
        while keys := home.ask(f"CLUSTER GETKEYSINSLOT {slot} 100\r\n".encode()).split(b"\r\n")[2::2]:
            for name in filter(None, keys):
                command = [b"MIGRATE", b"127.0.0.1", str(heir.port).encode(), name, b"0", b"5000"]
                packed = b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in command)
                assert home.ask(b"*%d\r\n%s" % (len(command), packed)).startswith(b"+OK")
        for node in (heir, home):
            node.ask(f"CLUSTER SETSLOT {slot} NODE {target}\r\n".encode())

    def _admin(self, *arguments: str) -> None:
        program = find_binary("redis-cli", "redis-tools")
        subprocess.run([program, "--cluster", *arguments], check=True, capture_output=True, timeout=60)


def _await(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
