"""Private, throw-away Redis and PostgreSQL servers for the spikes: free loopback ports, data in a temp folder."""

from __future__ import annotations

import contextlib
import glob
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def find(name: str) -> str:
    """Path of a server binary: $PATH first, then where Debian keeps PostgreSQL's (newest version wins)."""
    there = sorted(glob.glob(f"/usr/lib/postgresql/*/bin/{name}"), key=lambda p: int(p.split("/")[4]))
    path = shutil.which(name) or (there[-1] if there else None)
    if path is None:
        raise SystemExit(f"{name} not found: install redis-server and postgresql")
    return path


def _wait_port(port: int, process: subprocess.Popen[bytes], seconds: float = 15) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if process.poll() is not None:
            raise RuntimeError(f"server ended with {process.returncode}: {process.args}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.2):
            return
        time.sleep(0.05)
    raise RuntimeError(f"no answer on port {port} within {seconds} s")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextlib.contextmanager
def redis_server(*options: str) -> Iterator[int]:
    """A Redis with append-only file (fsync every second) and noeviction; yields its port."""
    with tempfile.TemporaryDirectory(prefix="spike-redis-") as folder:
        port = free_port()
        process = subprocess.Popen(
            [find("redis-server"), "--port", str(port), "--bind", "127.0.0.1", "--dir", folder, "--save", "",
             "--appendonly", "yes", "--appendfsync", "everysec", "--maxmemory-policy", "noeviction", *options],
            stdout=subprocess.DEVNULL,
        )
        try:
            _wait_port(port, process)
            yield port
        finally:
            _stop(process)


@contextlib.contextmanager
def postgres_server(**settings: str) -> Iterator[str]:
    """A PostgreSQL with fsync on; yields its DSN. As root the server runs as the user `postgres`."""
    with tempfile.TemporaryDirectory(prefix="spike-pg-") as folder:
        port = free_port()
        extra = {}
        if os.geteuid() == 0:
            user = pwd.getpwnam("postgres")
            os.chown(folder, user.pw_uid, user.pw_gid)
            extra = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        data = Path(folder, "data")
        subprocess.run([find("initdb"), "-D", data, "-U", "postgres", "-A", "trust", "--no-sync", "-E", "UTF8"],
                       check=True, stdout=subprocess.DEVNULL, cwd=folder, **extra)
        config = {"port": str(port), "listen_addresses": "127.0.0.1", "unix_socket_directories": folder,
                  "shared_buffers": "512MB", "max_wal_size": "4GB", "jit": "on", **settings}
        args = [a for k, v in config.items() for a in ("-c", f"{k}={v}")]
        with Path(folder, "log").open("wb") as log:
            process = subprocess.Popen([find("postgres"), "-D", data, *args], stderr=log, stdout=log, cwd=folder, **extra)
            try:
                _wait_port(port, process)
                yield f"postgresql://postgres@127.0.0.1:{port}/postgres"
            finally:
                process.send_signal(2)  # SIGINT: fast shutdown
                process.wait(60)
