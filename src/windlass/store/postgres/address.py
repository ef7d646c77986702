"""Where a database is and how to reach it: what a URL says."""

from __future__ import annotations

import os
import re
import ssl
from typing import NamedTuple
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit

from windlass.core.errors import InvalidURL

SCHEMA = "windlass"
POOL = 8
_SCHEMA = re.compile(r"[a-z_][a-z0-9_]{0,39}")
_LOCAL = ("localhost", "127.0.0.1", "::1")


class Address(NamedTuple):
    """What is needed to open connections."""

    dsn: str
    """For the driver: without our own options, with the password."""
    shown: str
    """For people: without the password."""
    schema: str
    pool: int
    """Connections at most, the one that listens aside."""
    pooled: bool
    """A pooler in transaction mode is between us and the server, so that no two statements can count on the same
    connection."""
    listen: str | None
    """Where to listen for hints, if not here: past the pooler."""
    tls: ssl.SSLContext | None
    """``None``: as the driver reads `dsn`."""


def parse(url: str) -> Address:
    """Read ``postgresql://user:password@host:port/database?schema=&pool=&sslmode=&...``.

    All that libpq knows is passed on to the driver. Ours are ``schema``, ``pool``, ``pooler=transaction``, and
    ``listen``: the URL of the server itself, where the other leads to a pooler. Raises `InvalidURL`.
    """
    shown = show(url)
    try:
        parts = urlsplit(url)
        options = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
        local = _is_local(parts.netloc, options)
    except ValueError:  # whose words may repeat a password
        raise InvalidURL(
            f"store URL {shown!a}: expected postgresql://user:password@host:port/database?name=value; write signs in a "
            "password as %40 for @, %3A for :, %2F for / and so on"
        ) from None
    schema = options.pop("schema", SCHEMA)
    if not _SCHEMA.fullmatch(schema):
        raise InvalidURL(f"store URL {shown!a}: schema={schema!a}: expected a-z, 0-9 and _, at most 40, no digit first")
    pool = options.pop("pool", str(POOL))
    if not pool.isascii() or not pool.isdigit() or not 1 <= int(pool) <= 1000:
        raise InvalidURL(f"store URL {shown!a}: pool={pool!a}: expected the number of connections, 1 to 1000")
    pooler = options.pop("pooler", "")
    if pooler not in ("", "transaction"):
        raise InvalidURL(f"store URL {shown!a}: pooler={pooler!a}: expected transaction, or nothing")
    listen = options.pop("listen", None)
    tls = None if local or "sslmode" in options else _verified(shown, options.pop("sslrootcert", None))
    dsn = urlunsplit(("postgresql", parts.netloc, parts.path, urlencode(options, quote_via=quote), ""))
    return Address(dsn, shown, schema, int(pool), bool(pooler), listen, tls)


def _is_local(netloc: str, options: dict[str, str]) -> bool:
    """Whether all hosts are this machine: a Unix socket, or loopback."""
    hosts = options["host"].split(",") if "host" in options else []
    if not hosts:
        hosts = [_without_port(part) for part in netloc.rpartition("@")[2].split(",")]
    if hosts == [""]:
        hosts = os.environ.get("PGHOST", "").split(",")
    return all(host in ("", *_LOCAL) or host.startswith(("/", "@")) for host in map(unquote, hosts))


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def _verified(shown: str, authorities: str | None) -> ssl.SSLContext:
    """TLS with a certificate that is checked, its name included: for all but this machine, unless ``sslmode=`` says
    otherwise."""
    try:
        return ssl.create_default_context(cafile=authorities)
    except (OSError, ssl.SSLError) as error:
        raise InvalidURL(f"store URL {shown!a}: sslrootcert={authorities!a}: {error}") from None


_PASSWORD = re.compile(r"^([a-z]+://[^/?#:@]*:).*@", re.IGNORECASE | re.DOTALL)
_SECRET = re.compile(r"([?&][^=&]*(?:pass|secret|key)[^=&]*=)[^&#]*", re.IGNORECASE)
_LISTEN = re.compile(r"([?&]listen=)[^&#]*", re.IGNORECASE)


def show(url: str) -> str:
    """The URL without what must stay secret."""
    return _LISTEN.sub(r"\1***", _SECRET.sub(r"\1***", _PASSWORD.sub(r"\1***@", url)))
