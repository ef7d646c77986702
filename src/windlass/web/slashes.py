"""Names with slashes in paths: ``/queues/mail%2Fbulk/pause`` is about the queue ``mail/bulk``.

A server decodes a path before anybody routes by it, after which both slashes are the same. So an encoded one is made
another sign first, which no name has, and a slash again in what handlers get.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote

from litestar import Request

from windlass.web.asgi import ASGI, Receive, Scope, Send

_SIGN = "\x1f"
_ENCODED = re.compile(rb"%2f", re.IGNORECASE)


def keep_slashes(inner: ASGI) -> ASGI:
    """An ASGI application that is routed by slashes that were not encoded."""

    async def run(scope: Scope, receive: Receive, send: Send) -> None:
        raw: bytes = scope.get("raw_path") or b""
        decoded: str = scope.get("path", "")
        if _ENCODED.search(raw) and unquote(raw.decode("latin-1")) == decoded:
            scope["path"] = unquote(_ENCODED.sub(b"%1F", raw).decode("latin-1"))
        try:
            await inner(scope, receive, send)
        finally:
            if "path" in scope:
                scope["path"] = decoded

    return run


def restore_slashes(request: Request[Any, Any, Any]) -> None:
    """Give a handler names as they are."""
    found = request.scope["path_params"]
    request.scope["path_params"] = {
        name: value.replace(_SIGN, "/") if isinstance(value, str) else value for name, value in found.items()
    }
