"""The cookie in which a browser keeps its session: one for each site, although browsers keep cookies for each host."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

_NAME = "windlass_session"


def name_of(scope: Mapping[str, object], headers: Mapping[str, str]) -> str:
    """What the cookie is called: with the port in it that the browser knows, since a browser sends what it has from one
    port to all ports of the host, and keeps one of a name.

    By TLS with a prefix, for which browsers see to it that no other host, and nobody without TLS, has set it:
    ``__Host-`` is for a whole host, ``__Secure-`` for where the site is mounted below a path.
    """
    try:
        port = urlsplit(f"//{headers.get('host', '')}").port
    except ValueError:
        port = None
    name = _NAME if port is None else f"{_NAME}_{port}"
    if scope.get("scheme") != "https":
        return name
    return f"__Secure-{name}" if path_of(scope) != "/" else f"__Host-{name}"


def path_of(scope: Mapping[str, object]) -> str:
    """Below which path the cookie is sent."""
    return str(scope.get("root_path", "")).rstrip("/") or "/"


def kept(scope: Mapping[str, object], headers: Mapping[str, str]) -> str | None:
    """What a browser keeps of its session here."""
    # By hand: `http.cookies` gives up at the first cookie that it does not like, which may be another application's.
    mine = name_of(scope, headers)
    for one in headers.get("cookie", "").split(";"):
        name, _, value = one.strip().partition("=")
        if name == mine:
            return value.strip('"')
    return None
