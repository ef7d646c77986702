"""PostgreSQL servers for tests."""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
from pathlib import Path
from typing import Any

from psycopg import pq

from tests.conftest import skip_or_fail
from tests.servers.server import Server, find_binary


def as_postgres(folder: Path) -> dict[str, Any]:
    """Arguments for `subprocess.Popen` where we are root, which PostgreSQL and PgBouncer refuse to be; the folder is
    theirs then."""
    if os.geteuid() != 0:
        return {}
    try:
        user = pwd.getpwnam("postgres")
    except KeyError:
        skip_or_fail("no user postgres on this machine, and PostgreSQL does not run as root")
    os.chown(folder, user.pw_uid, user.pw_gid)
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def postgres_program(name: str) -> str:
    """Find a program of the PostgreSQL whose server is found, and not of another that is installed beside it."""
    program = Path(find_binary("postgres", "postgresql")).resolve().with_name(name)
    if not program.exists():
        skip_or_fail(f"there is no {name} in {program.parent}, where the server is")
    return str(program)


def accepts_sessions(port: int) -> bool:
    """Whether a server, or a pooler, at this port of ours accepts sessions."""
    return pq.PGconn.ping(f"host=127.0.0.1 port={port} user=postgres connect_timeout=3".encode()) == pq.Ping.OK


class PostgresServer(Server):
    """A private PostgreSQL with a database ``postgres`` and a superuser of that name, who needs no password.

    Args:
        settings: of the server, such as ``fsync="off"``.
    """

    stop_signal = signal.SIGINT  # a fast shutdown: sessions are ended, not waited for

    def __init__(self, **settings: str) -> None:
        self._program = postgres_program("postgres")
        super().__init__()
        self._settings = {
            "port": str(self.port),
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": str(self.folder),
            "shared_buffers": "128MB",
            "max_connections": "200",
            **settings,
        }
        self.data = self.folder / "data"
        self.run_as = as_postgres(self.folder)

    @property
    def url(self) -> str:
        """Its URL, for `connect` and for drivers."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """See `Server`; the first start makes the data directory."""
        if not self.data.exists():
            subprocess.run(
                [postgres_program("initdb"), "-D", self.data, "-U", "postgres", "-A", "trust", "-E", "UTF8",
                 "--locale=C", "--no-sync"],
                check=True, capture_output=True, cwd=self.folder, **self.run_as,
            )  # fmt: skip
        super().start()

    def command(self) -> list[str]:
        """See `Server`."""
        options = [part for name, value in self._settings.items() for part in ("-c", f"{name}={value}")]
        return [self._program, "-D", str(self.data), *options]

    def is_ready(self) -> bool:
        """Whether it accepts sessions."""
        return accepts_sessions(self.port)


class PostgresReplica(PostgresServer):
    """A copy of a server that runs, which follows what that one does until it is promoted."""

    def __init__(self, primary: PostgresServer, **settings: str) -> None:
        super().__init__(**settings)
        self._primary = primary

    def start(self) -> None:
        """See `Server`; the first start copies the primary."""
        if not self.data.exists():
            subprocess.run(
                [postgres_program("pg_basebackup"), "-D", self.data, "-d", self._primary.url, "-R",
                 "-X", "stream", "-c", "fast", "--no-sync"],
                check=True, capture_output=True, cwd=self.folder, **self.run_as,
            )  # fmt: skip
        super().start()

    def promote(self) -> None:
        """Have it be a server of its own, and return when it is."""
        subprocess.run(
            [postgres_program("pg_ctl"), "promote", "-w", "-D", self.data],
            check=True, capture_output=True, cwd=self.folder, **self.run_as,
        )  # fmt: skip
