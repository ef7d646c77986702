"""TLS to a real PostgreSQL: verified for every host that is not this machine's own, unless the URL says otherwise.

127.0.0.2 is a loopback address that `windlass.store.postgres.address` does not take for this machine.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from tests.servers.certificates import make_certificates
from tests.servers.postgres import PostgresServer
from windlass.core.errors import StoreUnavailable
from windlass.store.postgres.store import PostgresStore


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificates(tmp_path_factory.mktemp("tls"), "127.0.0.2")


@pytest.fixture(scope="module")
def server(certificates: Path) -> Iterator[PostgresServer]:
    with PostgresServer(listen_addresses="127.0.0.1,127.0.0.2,127.0.0.3") as server:
        for name in ("server.pem", "server.key"):  # in its data, where it looks for them by these names
            kept = server.data / name.replace("pem", "crt")
            shutil.copy(certificates / name, kept)
            kept.chmod(0o600)
            shutil.chown(kept, server.data.owner(), server.data.group())
        (server.data / "postgresql.auto.conf").write_text("ssl = on\n")
        server.stop()
        server.start()
        yield server


def url(server: PostgresServer, host: str, options: str = "") -> str:
    return f"postgresql://postgres@{host}:{server.port}/postgres{options}"


async def sessions_over_tls(server: PostgresServer) -> int:
    admin = await asyncpg.connect(server.url, ssl=False)
    try:
        return int(await admin.fetchval("SELECT count(*) FROM pg_stat_ssl WHERE ssl"))
    finally:
        await admin.close()


async def test_a_verified_server_is_spoken_to_by_tls(server: PostgresServer, certificates: Path) -> None:
    store = PostgresStore(url(server, "127.0.0.2", f"?sslrootcert={certificates / 'ca.pem'}"))
    try:
        await store.migrate()
        await store.connect()
        assert await store.now() > 0
        assert await sessions_over_tls(server) > 0
    finally:
        await store.aclose()


@pytest.mark.parametrize(("host", "known"), [("127.0.0.2", False), ("127.0.0.3", True)])
async def test_a_certificate_by_a_stranger_or_for_somebody_else_is_refused(
    server: PostgresServer, certificates: Path, host: str, known: bool
) -> None:
    store = PostgresStore(url(server, host, f"?sslrootcert={certificates / 'ca.pem'}" if known else ""))
    with pytest.raises(StoreUnavailable, match=r"(?i)certificate"):
        await store.connect()
    await store.aclose()


async def test_a_server_without_tls_is_not_spoken_to_in_the_clear() -> None:
    with PostgresServer(listen_addresses="127.0.0.1,127.0.0.2") as server:
        store = PostgresStore(url(server, "127.0.0.2"))
        with pytest.raises(StoreUnavailable, match="SSL"):
            await store.connect()
        await store.aclose()
        willing = PostgresStore(url(server, "127.0.0.2", "?sslmode=disable"))
        await willing.migrate()
        await willing.aclose()
