"""From a URL to a store. The only module that imports adapters, and each of them only when it is asked for."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from windlass.core.errors import InvalidURL, MissingExtra
from windlass.core.model import Settings
from windlass.core.names import check_queue

if TYPE_CHECKING:
    from windlass.core.clock import Instant
    from windlass.core.redis_url import RedisURL
    from windlass.store.port import Store

_USER = re.compile(r"^([a-z][a-z0-9+.-]*://[^/?#:@]*:).*@", re.IGNORECASE | re.DOTALL)
_SECRET = re.compile(r"([?&;][^=&;]*(?:pass|pwd|secret|token|key)[^=&;]*=)[^&;#]*", re.IGNORECASE)
_REDIS = ("redis", "rediss", "valkey", "valkeys", "unix")
_LATER = ("amqp", "amqps", "hub", "tcp")


def connect(url: str, settings: Settings) -> Store:
    """Make the store of a URL, not opened yet.

    * ``memory://`` or ``memory://name``: in this process only; the same name is the same data.
    * ``sqlite:///relative.db`` and ``sqlite:////absolute.db``: a file.
    * ``redis://[user:password@]host[:port]/[db]``, ``rediss://`` with TLS, ``unix:///path/of/the.sock``; ``valkey://``
      and ``valkeys://`` are the same. Options: ``?namespace=name&timeout=seconds&ca=file``.
    * ``postgresql://user@host/database``: a schema of a database; ``windlass migrate`` creates it.

    Raises `InvalidURL`, which shows the URL without its password, and `MissingExtra`.
    """
    scheme, rest = _split(url)
    return _OPENERS[scheme](url, rest, settings)


def in_memory(settings: Settings, clock: Callable[[], Instant]) -> Store:
    """Make an empty store in memory that nobody else has, with a clock of the caller's: for tests."""
    from windlass.store.memory import MemoryStore

    return MemoryStore("", settings, clock)


def check_url(url: str) -> None:
    """Raise `InvalidURL` where `connect` would, without importing an adapter."""
    scheme, rest = _split(url)
    _CHECKS[scheme](url, rest)


def settled_url(url: str) -> str:
    """The same URL, checked as `check_url` does; one of a relative path with that path as it is meant from the present
    working directory."""
    check_url(url)
    scheme, rest = _split(url)
    if scheme != "sqlite" or rest.startswith("//"):
        return url
    from urllib.parse import quote

    return f"{url.partition('://')[0]}:///{quote(os.getcwd())}/{rest[1:]}"  # noqa: PTH109 - pathlib costs import time


def redact(url: str) -> str:
    """Show a URL without its secrets: passwords, and query values whose name speaks of one."""
    return _SECRET.sub(r"\1***", _USER.sub(r"\1***@", url))


def _split(url: object) -> tuple[str, str]:
    if not isinstance(url, str):
        raise InvalidURL(f"store URL: expected a str, got {type(url).__name__}")
    scheme, found, rest = url.partition("://")
    scheme = scheme.lower()
    if found and scheme in _OPENERS:
        return scheme, rest
    shown = ascii(redact(url))
    if not found:
        hint = f"; for a SQLite file write sqlite:///{url}" if re.fullmatch(r"[\w./-]+", url) else ""
        raise InvalidURL(f"store URL {shown}: no scheme{hint}; {_known()}")
    if scheme in _LATER:
        raise InvalidURL(f"store URL {shown}: {scheme}:// is not in this version of Windlass; {_known()}")
    import difflib

    close = difflib.get_close_matches(scheme, _OPENERS, n=1)
    guess = f"did you mean {close[0]}://? " if close else ""
    raise InvalidURL(f"store URL {shown}: unknown scheme {scheme[:40]!r}; {guess}{_known()}")


def _known() -> str:
    return (
        "known are memory://[name], sqlite:///relative.db, sqlite:////absolute.db, redis://host[:port]/[db] and "
        "postgresql://host/database"
    )


def _memory_name(url: str, rest: str) -> str:
    if rest:
        try:
            check_queue(rest)
        except ValueError:
            raise InvalidURL(f"store URL {redact(url)!a}: the name may have letters, digits and _ . : @ / -") from None
    return rest


def _sqlite_path(url: str, rest: str) -> str:
    from urllib.parse import unquote

    shown = ascii(redact(url))
    if not rest.startswith("/"):
        raise InvalidURL(f"store URL {shown}: three slashes for a relative path, four for an absolute one; {_known()}")
    if "?" in rest or "#" in rest:
        raise InvalidURL(f"store URL {shown}: takes no options; write ? as %3F and # as %23 where they are in the path")
    path = unquote(rest[1:])
    if path == ":memory:":
        raise InvalidURL(f"store URL {shown}: for a store in memory use memory://")
    if not path or path.endswith("/") or "\0" in path:
        raise InvalidURL(f"store URL {shown}: names no file; {_known()}")
    return path


def _redis_url(url: str, _rest: str) -> RedisURL:
    from windlass.core.redis_url import parse_redis_url

    try:
        return parse_redis_url(url)
    except ValueError as error:
        raise InvalidURL(f"store URL {redact(url)!a}: {error}") from None


def _open_redis(url: str, rest: str, settings: Settings) -> Store:
    where = _redis_url(url, rest)
    try:
        from windlass.store.redis import RedisStore
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("redis", "hiredis"):
            raise
        raise MissingExtra(f"{where.shown} needs the package {error.name}: pip install windlass[redis]") from error
    return RedisStore(where, settings)


def _open_memory(url: str, rest: str, settings: Settings) -> Store:
    name = _memory_name(url, rest)
    from windlass.store.memory import MemoryStore

    return MemoryStore(name, settings)


def _open_sqlite(url: str, rest: str, settings: Settings) -> Store:
    path = _sqlite_path(url, rest)
    from windlass.store.sqlite import SQLiteStore

    return SQLiteStore(path, settings)


def _check_postgres(url: str, rest: str) -> None:
    del rest
    from windlass.store.postgres.address import parse

    parse(url)


def _open_postgres(url: str, rest: str, settings: Settings) -> Store:
    _check_postgres(url, rest)
    try:
        from windlass.store.postgres.store import PostgresStore
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "asyncpg":
            raise
        raise MissingExtra(f"{redact(url)!a} needs asyncpg: pip install windlass[postgres]") from error
    return PostgresStore(url, settings)


_OPENERS: dict[str, Callable[[str, str, Settings], Store]] = {
    "memory": _open_memory,
    "sqlite": _open_sqlite,
    **dict.fromkeys(_REDIS, _open_redis),
    "postgresql": _open_postgres,
    "postgres": _open_postgres,
}
_CHECKS: dict[str, Callable[[str, str], object]] = {
    "memory": _memory_name,
    "sqlite": _sqlite_path,
    **dict.fromkeys(_REDIS, _redis_url),
    "postgresql": _check_postgres,
    "postgres": _check_postgres,
}
