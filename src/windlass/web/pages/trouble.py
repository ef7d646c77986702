"""What a person is shown in place of a page that cannot be."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from litestar import Response
from litestar.exceptions import HTTPException

from windlass.core.errors import WindlassError
from windlass.core.text import shorten
from windlass.web import problems
from windlass.web.access.gate import VISITOR
from windlass.web.api.common import AnyRequest
from windlass.web.pages.frame import page, root_of


def on_windlass_error(request: AnyRequest, error: WindlassError) -> Response[Any]:
    """Windlass says no."""
    answer = problems.on_windlass_error(request, error)
    return _page(request, answer.status_code or 500, str(error)) if _is_person(request) else answer


def on_http_error(request: AnyRequest, error: HTTPException) -> Response[Any]:
    """The request is none that is understood, or not allowed."""
    return (
        _page(request, error.status_code, error.detail)
        if _is_person(request)
        else problems.on_http_error(request, error)
    )


def on_unknown(request: AnyRequest, error: HTTPException) -> Response[Any]:
    """Whatever no handler of ours was found for: a browser that looks for a page is shown that there is none."""
    path = request.url.path.removeprefix(root_of(request))
    is_page = "text/html" in request.headers.get("accept", "") and not path.startswith(("/api/", "/static/"))
    if error.status_code == HTTPStatus.NOT_FOUND and is_page and _is_person(request):
        return _page(request, error.status_code, f"There is no page {shorten(path, 100)} here.")
    return problems.on_http_error(request, error)


def _is_person(request: AnyRequest) -> bool:
    """Whether somebody who may come in follows a link; what pages ask for themselves is answered to their scripts."""
    by_script = request.method != "GET" or "hx-request" in request.headers
    return not by_script and request.scope.get(VISITOR) is not None


def _page(request: AnyRequest, status: int, detail: str) -> Response[str]:
    return page(request, "trouble.html", status=status, title=HTTPStatus(status).phrase, detail=detail)
