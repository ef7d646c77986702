"""Logging in and out."""

from __future__ import annotations

import time
from collections import deque
from typing import Annotated

from litestar import Response, get, post
from litestar.datastructures import Cookie
from litestar.enums import RequestEncodingType
from litestar.params import Body
from litestar.response import Redirect

from windlass.core.clock import SECOND
from windlass.web.access import audit
from windlass.web.access.gate import COOKIE
from windlass.web.access.vault import KEEP_SESSION
from windlass.web.api.common import LOOK, AnyRequest, TheConsole, Word
from windlass.web.console import Console
from windlass.web.pages.frame import bare, root_of

TRIES, WITHIN = 10, 300.0
"""Wrong passwords for one name, or from one address, after which nobody is let in for a while; and seconds."""
_MOST_REMEMBERED = 10_000
_wrong: dict[str, deque[float]] = {}


def _too_many(*of: str) -> bool:
    now = time.monotonic()
    for one in of:
        tries = _wrong.get(one)
        while tries and tries[0] < now - WITHIN:
            tries.popleft()
        if tries is not None and len(tries) >= TRIES:
            return True
    return False


def _count(*of: str) -> None:
    if len(_wrong) > _MOST_REMEMBERED:
        _wrong.clear()
    for one in of:
        _wrong.setdefault(one, deque(maxlen=TRIES)).append(time.monotonic())


def _safe(target: str) -> str:
    """Where to go on: a page of this site, and no other."""
    return target if target.startswith("/") and not target.startswith("//") and "\\" not in target else "/"


@get("/login", include_in_schema=False)
async def login(request: AnyRequest, next: Word = None) -> Response[str]:
    """The form."""
    return bare("login.html", root=root_of(request), wrong=None, next=_safe(next or "/"), name="")


@post("/login", include_in_schema=False, status_code=200)
async def log_in(
    console: TheConsole,
    request: AnyRequest,
    data: Annotated[dict[str, str], Body(media_type=RequestEncodingType.URL_ENCODED)],
) -> Response[str] | Redirect:
    """Begin a session."""
    name, root, target = data.get("name", "")[:60], root_of(request), _safe(data.get("next", "/"))
    address = "address " + (request.client.host if request.client else "")
    wrong = cookie = None
    if _too_many("name " + name, address):
        wrong = f"Too many wrong passwords; try again in {WITHIN / 60:.0f} minutes."
    else:
        cookie = await console.vault.log_in(name, data.get("password", ""))
        if cookie is None:
            _count("name " + name, address)
            wrong = "There is no such user with this password."
        await _note(console, name, 303 if cookie else 401)
    if wrong is not None or cookie is None:
        answer = bare("login.html", root=root, wrong=wrong, next=target, name=name)
        answer.status_code = 401 if "Too many" not in (wrong or "") else 429
        return answer
    kept = Cookie(
        key=COOKIE,
        value=cookie,
        path=root or "/",
        max_age=KEEP_SESSION // SECOND,
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )
    return Redirect(f"{root}{target}", status_code=303, cookies=[kept])


async def _note(console: Console, name: str, status: int) -> None:
    store = await console.store()
    entry = audit.Entry(at=await store.now(), who=name, how="password", method="POST", path="/login", status=status)
    await audit.begin(store, entry)


@post("/logout", guards=LOOK, include_in_schema=False, status_code=204)
async def log_out(console: TheConsole, request: AnyRequest) -> Response[None]:
    """End the session."""
    cookie = request.cookies.get(COOKIE)
    if cookie:
        await console.vault.log_out(cookie)
    root = root_of(request)
    answer: Response[None] = Response(None, status_code=204, headers={"HX-Redirect": f"{root}/login"})
    answer.delete_cookie(COOKIE, path=root or "/")
    return answer


HANDLERS = (login, log_in, log_out)
