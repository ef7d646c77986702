"""Looks at every request before anything else does: whose it is, whether a browser was tricked into sending it, what it
changes."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeAlias
from urllib.parse import quote, urlsplit

from windlass.core.errors import StoreError, WindlassError
from windlass.store.port import Store
from windlass.web.access import audit, cookies
from windlass.web.access.roles import Role, Visitor
from windlass.web.access.vault import Vault
from windlass.web.asgi import ASGI, Message, Receive, Scope, Send
from windlass.web.headers import with_headers
from windlass.web.problems import problem, status_of

Who: TypeAlias = Callable[[Scope], Awaitable[tuple[str, Role] | None]]
"""Says whose request it is, by what the application knows into which the site is mounted; ``None``: nobody's."""

VISITOR, WHAT, AGAIN = "windlass.visitor", "windlass.what", "windlass.again"
"""Where a request's scope says whose it is, what it asks for beside its path (for the audit log), and what finds out
once more whose it is."""
HARMLESS = frozenset({"GET", "HEAD", "OPTIONS"})
FREE = frozenset({"/healthz", "/readyz", "/login"})
"""Paths for which nobody has to be known; so are those below `FREE_BELOW`."""
FREE_BELOW = "/static/"
LONGEST_TARGET = 500
"""Characters of where a login leads, at most."""
_THIS_MACHINE = frozenset({"localhost", "127.0.0.1", "::1"})


class Gate:
    """ASGI application around another one.

    Args:
        inner: the application.
        find: gives the store, opened.
        vault: users and tokens of the store.
        who: asks the application into which the site is mounted; ``None``: users and tokens of the store.
        is_local: it listens to this machine only: until the first user or token is made, everybody on it may come in,
            as everybody may use the command line there.
        stop: see the attribute.
    """

    def __init__(
        self,
        inner: ASGI,
        find: Callable[[], Awaitable[Store]],
        vault: Vault,
        *,
        who: Who | None,
        is_local: bool,
        stop: Callable[[], None],
    ) -> None:
        self.stop = stop
        """Ends what would go on for ever: to be called before a server waits for what it still answers."""
        self._inner = inner
        self._find = find
        self._vault = vault
        self._who = who
        self._free = FREE if who is None else FREE - {"/login"}
        self._is_local = is_local
        self._csrf = secrets.token_urlsafe(32)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._inner(scope, receive, send)
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        path = scope["path"].removeprefix(scope.get("root_path", "")) or "/"
        send = with_headers(send, is_file=path.startswith(FREE_BELOW))
        if "\0" in path:  # no name has one, of a file or of anything else
            await problem(scope, 404, "Not Found")(scope, receive, send)
            return
        free = path in self._free or path.startswith(FREE_BELOW)
        try:
            visitor = await self._identify(scope, headers)
            changes = scope["method"] not in HARMLESS
            refused = self._refusal(None if free else visitor, headers) if changes else None
        except WindlassError as error:
            status = status_of(error)
            await problem(scope, status, str(error))(scope, receive, send)
            return
        if refused is not None:
            await problem(scope, 403, refused)(scope, receive, send)
        elif visitor is None and not free:
            await self._turn_away(scope, headers, path)(scope, receive, send)
        else:
            scope[VISITOR] = visitor
            scope[AGAIN] = partial(self._identify, scope, headers)
            inner = self._inner if visitor is None or not changes else self._watched(visitor, path)
            await inner(scope, receive, send)

    async def _identify(self, scope: Scope, headers: dict[str, str]) -> Visitor | None:
        if self._who is not None:
            said = await self._who(scope)
            if said is None:
                return None
            name, role = said
            return Visitor(name=name, role=role, how="host", csrf=await self._vault.csrf(name))
        kind, _, secret = headers.get("authorization", "").partition(" ")
        if kind:
            return await self._vault.token(secret.strip()) if kind.lower() == "bearer" else None
        cookie = cookies.kept(scope, headers)
        if cookie and (visitor := await self._vault.session(cookie)) is not None:
            return visitor
        if self._is_local and _is_from_here(scope, headers) and await self._vault.is_open():
            return Visitor(name="local", role=Role.ADMIN, how="local", csrf=self._csrf)
        return None

    @staticmethod
    def _refusal(visitor: Visitor | None, headers: dict[str, str]) -> str | None:
        """Why a request that changes something is not to be believed: another site may have had a browser send it."""
        if visitor is not None and visitor.how == "token":
            return None  # no browser sends one by itself
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != headers.get("host"):
            return f"this request comes from another site, {origin[:100]}"
        if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return "this request comes from another site"
        by_browser = not {"origin", "sec-fetch-site", "cookie"}.isdisjoint(headers)
        if visitor is None or (visitor.how in ("local", "host") and not by_browser):
            return None
        if not hmac.compare_digest(headers.get("x-csrf-token", "").encode(), visitor.csrf.encode()):
            return "the header X-CSRF-Token is missing or old: load the page again; programs use a bearer token"
        return None

    def _turn_away(self, scope: Scope, headers: dict[str, str], path: str) -> ASGI:
        if "hx-request" in headers and self._who is None:  # a page that is open: what it asks for is a part of itself
            shown = urlsplit(headers.get("hx-current-url", ""))
            to = _login(scope, shown.path.removeprefix(scope.get("root_path", "")), shown.query)
            return problem(scope, 401, "log in", [(b"hx-redirect", to.encode())])
        if scope["method"] == "GET" and "text/html" in headers.get("accept", "") and self._who is None:
            return _redirect(_login(scope, path, scope.get("query_string", b"").decode("latin-1")))
        said = "the token is not known" if headers.get("authorization") else "log in, or send a bearer token"
        return problem(scope, 401, said, [(b"www-authenticate", b"Bearer")])

    def _watched(self, visitor: Visitor, path: str) -> ASGI:
        """The application, with what a request changes in the audit log: before it is carried out, and once it is."""

        async def run(scope: Scope, receive: Receive, send: Send) -> None:
            store = await self._find()
            entry = audit.Entry(
                at=await store.now(), who=visitor.name, how=visitor.how, method=scope["method"], path=path
            )
            try:
                key = await audit.begin(store, entry)
            except StoreError as error:  # what cannot be written down is not done
                await problem(scope, status_of(error), str(error))(scope, receive, send)
                return

            async def answer(message: Message) -> None:
                if message["type"] == "http.response.start":
                    await audit.end(
                        store,
                        key,
                        audit.Entry(
                            at=entry.at, who=entry.who, how=entry.how, method=entry.method, path=path,
                            what=scope.get(WHAT, ""), status=message["status"],
                        ),
                    )  # fmt: skip
                await send(message)

            await self._inner(scope, receive, answer)

        return run


def _is_from_here(scope: Scope, headers: dict[str, str]) -> bool:
    """Whether a browser or program on this machine means this machine: not a name that somebody else lets point here,
    and not a proxy that passes on what others ask."""
    client = scope.get("client")
    host = urlsplit(f"//{headers.get('host', '')}").hostname
    proxied = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip", "via")
    return (
        client is not None
        and client[0] in _THIS_MACHINE
        and host in _THIS_MACHINE
        and not any(name in headers for name in proxied)
    )


def _login(scope: Scope, path: str, query: str) -> str:
    """The login, from which somebody goes on to where they were: to what they had chosen there, if that is not long."""
    targets = (f"{path}?{query}" if query else path, path)
    target = next((one for one in targets if len(one) <= LONGEST_TARGET), "/")
    return f"{scope.get('root_path', '')}/login" + ("" if target == "/" else f"?next={quote(target)}")


def _redirect(to: str) -> ASGI:
    async def run(_scope: Scope, _receive: Receive, send: Send) -> None:
        headers = [(b"location", to.encode("latin-1"))]
        await send({"type": "http.response.start", "status": 303, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    return run
