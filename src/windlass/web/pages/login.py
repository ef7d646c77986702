"""Logging in and out."""

from __future__ import annotations

from math import ceil

from litestar import Response, get, post
from litestar.datastructures import Cookie
from litestar.response import Redirect

from windlass.core.clock import SECOND
from windlass.web.access import audit, cookies
from windlass.web.access.vault import KEEP_SESSION
from windlass.web.api.common import LOOK, AnyRequest, TheConsole, Word
from windlass.web.console import Console
from windlass.web.pages.frame import Form, bare, root_of


def local_path(target: str) -> str:
    """Where to go on: a page of this site, whatever somebody made of a link to it."""
    is_local = target.startswith("/") and not target.startswith("//") and "\\" not in target
    return target if is_local and target.isascii() and target.isprintable() else "/"


@get("/login", include_in_schema=False)
async def login(request: AnyRequest, next: Word = None) -> Response[str]:
    """The form."""
    return bare("login.html", root=root_of(request), wrong=None, next=local_path(next or "/"), name="")


@post("/login", include_in_schema=False, status_code=200)
async def log_in(
    console: TheConsole,
    request: AnyRequest,
    data: Form,
) -> Response[str] | Redirect:
    """Begin a session."""
    name, root, target = data.get("name", "")[:60], root_of(request), local_path(data.get("next", "/"))
    tried = ("name " + name, "address " + (request.client.host if request.client else ""))
    wrong = cookie = None
    if wait := console.attempts.begin(*tried):
        wrong = f"Too many wrong passwords; try again in {ceil(wait / 60)} minutes."
    else:
        cookie = await console.vault.log_in(name, data.get("password", ""))
        if cookie is None:
            wrong = "There is no such user with this password."
        else:
            console.attempts.succeeded(*tried)
        await _note(console, name, 303 if cookie else 401)
    if wrong is not None or cookie is None:
        answer = bare("login.html", root=root, wrong=wrong, next=target, name=name)
        answer.status_code = 429 if wait else 401
        return answer
    kept = _session(request, cookie, KEEP_SESSION // SECOND)
    return Redirect(f"{root}{target}", status_code=303, cookies=[kept])


def _session(request: AnyRequest, value: str, seconds: int) -> Cookie:
    return Cookie(
        key=cookies.name_of(request.scope, request.headers),
        value=value,
        path=cookies.path_of(request.scope),
        max_age=seconds,
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )


async def _note(console: Console, name: str, status: int) -> None:
    store = await console.store()
    entry = audit.Entry(at=await store.now(), who=name, how="password", method="POST", path="/login", status=status)
    await audit.begin(store, entry)


@post("/logout", guards=LOOK, include_in_schema=False, status_code=204)
async def log_out(console: TheConsole, request: AnyRequest) -> Response[None]:
    """End the session."""
    cookie = cookies.kept(request.scope, request.headers)
    if cookie:
        await console.vault.log_out(cookie)
    answer: Response[None] = Response(None, status_code=204, headers={"HX-Redirect": f"{root_of(request)}/login"})
    answer.set_cookie(_session(request, "", 0))
    return answer


HANDLERS = (login, log_in, log_out)
