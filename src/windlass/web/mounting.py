"""The site below a path of an application that cannot mount another by itself."""

from __future__ import annotations

from windlass.web.asgi import ASGI, Receive, Scope, Send


def mounted(site: ASGI, path: str, rest: ASGI) -> ASGI:
    """An ASGI application: the site for what is asked below ``path``, such as ``"/windlass"``, and ``rest`` for
    everything else. Django needs it; Starlette and FastAPI have ``mount`` of their own."""
    root = "/" + path.strip("/")

    async def run(scope: Scope, receive: Receive, send: Send) -> None:
        asked = scope.get("path", "").removeprefix(scope.get("root_path", ""))
        if scope["type"] == "http" and (asked == root or asked.startswith(root + "/")):
            await site({**scope, "root_path": scope.get("root_path", "") + root}, receive, send)
        else:
            await rest(scope, receive, send)

    return run
