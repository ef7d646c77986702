"""URLs of Redis and Valkey servers, taken apart: ``redis://user:pass@host:port/db?namespace=name``."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, quote, unquote, urlsplit

import msgspec

DEFAULT_PORT = 6379
NAMESPACE = "windlass"
_NAMESPACE = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
_OPTIONS = ("namespace", "timeout", "ca", "db")


class RedisURL(msgspec.Struct, frozen=True, kw_only=True):
    """Where a store is."""

    host: str = ""
    port: int = DEFAULT_PORT
    path: str = ""
    """Of a Unix socket, in place of host and port."""
    db: int = 0
    user: str | None = None
    password: str | None = None
    tls: bool = False
    ca: str | None = None
    """File of the certificates to trust in place of the system's."""
    namespace: str = NAMESPACE
    timeout: float | None = None
    """Seconds after which a call is given up."""

    @property
    def shown(self) -> str:
        """The URL without secrets."""
        options = "" if self.namespace == NAMESPACE else f"?namespace={quote(self.namespace)}"
        if self.path:
            db = f"{'&' if options else '?'}db={self.db}" if self.db else ""
            return f"unix://{quote(self.path)}{options}{db}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'rediss' if self.tls else 'redis'}://{host}:{self.port}/{self.db}{options}"


def parse_redis_url(url: str) -> RedisURL:
    """Take a URL apart. Raises `ValueError` that says what is wrong, and never shows a secret."""
    parts = urlsplit(url)
    options = _options(parts.query)
    if parts.fragment:
        raise ValueError("has a fragment; write # as %23")
    namespace = options.get("namespace", NAMESPACE)
    if not _NAMESPACE.fullmatch(namespace):
        raise ValueError("namespace: expected up to 64 letters, digits and _ . : -")
    user, password = parts.username or None, parts.password
    common = {
        "user": None if user is None else unquote(user),
        "password": None if password is None else unquote(password),
        "namespace": namespace,
        "timeout": _timeout(options.get("timeout")),
    }
    if parts.scheme == "unix":
        if not parts.path.strip("/") or parts.hostname:
            raise ValueError("expected unix:///path/of/the.sock")
        return RedisURL(path=unquote(parts.path), db=_db(options.get("db", "")), **common)  # type: ignore[arg-type]
    if "db" in options:
        raise ValueError("the number of the database belongs behind the slash: redis://host/1")
    if not parts.hostname:
        raise ValueError("names no host")
    tls = parts.scheme in ("rediss", "valkeys")
    if options.get("ca") and not tls:
        raise ValueError("ca is for rediss://")
    return RedisURL(
        host=parts.hostname,
        port=_port(parts),
        db=_db(parts.path.strip("/")),
        tls=tls,
        ca=options.get("ca"),
        **common,  # type: ignore[arg-type]
    )


def _options(query: str) -> dict[str, str]:
    found = parse_qsl(query, keep_blank_values=True)
    if any(name not in _OPTIONS for name, _ in found):  # not named here: it may be a part of the password
        raise ValueError(f"has an option that is not known; known are {', '.join(_OPTIONS[:3])}")
    return dict(found)


def _port(parts: object) -> int:
    try:
        port: int | None = parts.port  # type: ignore[attr-defined]
    except ValueError:
        raise ValueError("the port is no number from 1 to 65535") from None
    return port or DEFAULT_PORT


def _db(text: str) -> int:
    if text and not (text.isascii() and text.isdigit() and len(text) < 6):
        raise ValueError("the database is no number")
    return int(text or 0)


def _timeout(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0.1 <= seconds <= 60:
        raise ValueError("timeout: expected 0.1 to 60 seconds")
    return seconds
