"""What a URL of a PostgreSQL store says: how it is reached, by TLS where that is not this machine."""

import ssl
from pathlib import Path

import pytest

from windlass.core.errors import InvalidURL
from windlass.store.postgres.address import parse
from windlass.store.postgres.names import lane_number, number_of


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://db.example.org/shop",
        "postgres://user:secret@10.0.0.1:6432/shop",
        "postgresql://localhost,db.example.org/shop",
        "postgresql://[2001:db8::1]/shop",
        "postgresql:///shop?host=db.example.org",
    ],
)
def test_another_machine_is_spoken_to_by_tls_that_is_verified(url: str) -> None:
    tls = parse(url).tls
    assert tls is not None
    assert tls.verify_mode is ssl.CERT_REQUIRED
    assert tls.check_hostname


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://localhost/shop",
        "postgresql://127.0.0.1:5433/shop",
        "postgresql://[::1]/shop",
        "postgresql://user:secret@localhost,127.0.0.1/shop",
        "postgresql:///shop",
        "postgresql:///shop?host=/var/run/postgresql",
        "postgresql://%2Fvar%2Frun%2Fpostgresql/shop",
        "postgresql://db.example.org/shop?sslmode=disable",
        "postgresql://db.example.org/shop?sslmode=require",
    ],
)
def test_the_driver_decides_on_this_machine_and_where_it_is_told(url: str) -> None:
    assert parse(url).tls is None


def test_where_the_host_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGHOST", "db.example.org")
    assert parse("postgresql:///shop").tls is not None


def test_an_authority_of_ones_own(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.write_text("no certificate")
    with pytest.raises(InvalidURL, match="sslrootcert="):
        parse(f"postgresql://db.example.org/shop?sslrootcert={file}")
    # With a mode, the driver reads it.
    assert "sslrootcert" in parse(f"postgresql://db.example.org/shop?sslmode=verify-full&sslrootcert={file}").dsn


def test_our_options_are_not_the_drivers() -> None:
    address = parse(
        "postgres://u:p%40ss@h/db?schema=jobs_2&pool=3&pooler=transaction&listen=postgresql://h2/db&sslmode=disable"
    )
    assert address.dsn == "postgresql://u:p%40ss@h/db?sslmode=disable"
    assert (address.schema, address.pool, address.pooled, address.listen) == ("jobs_2", 3, True, "postgresql://h2/db")
    assert address.shown == "postgres://u:***@h/db?schema=jobs_2&pool=3&pooler=transaction&listen=***&sslmode=disable"


def test_numbers_of_names_are_part_of_the_stored_layout() -> None:
    """As the server makes them: see `number_of` in functions/common.sql."""
    assert number_of("default") == 4010717984327297149
    assert lane_number("default", "") == number_of("default\n")
