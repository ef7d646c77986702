"""What went wrong, as answers say it: problem details (RFC 9457)."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from typing import Any

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException, SerializationException, ValidationException

from windlass.core.errors import (
    CapabilityMissing,
    DuplicateJob,
    JobNotFound,
    PayloadTooLarge,
    ScheduleExists,
    ScheduleNotFound,
    StoreError,
    UnknownTask,
    UsageError,
    WindlassError,
)
from windlass.web.refusals import AlreadyThere, NotThere

MEDIA_TYPE = "application/problem+json"
_log = logging.getLogger("windlass.web")
_STATUS: tuple[tuple[type[WindlassError], int], ...] = (
    (JobNotFound, 404),
    (ScheduleNotFound, 404),
    (UnknownTask, 404),
    (NotThere, 404),
    (DuplicateJob, 409),
    (AlreadyThere, 409),
    (ScheduleExists, 409),
    (CapabilityMissing, 409),
    (PayloadTooLarge, 413),
    (UsageError, 400),
    (StoreError, 503),
)


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What went wrong."""

    title: str
    status: int
    detail: str
    error: str = ""
    """The class of the error, as docs/reference/errors.md has it."""
    type: str = "about:blank"


def status_of(error: WindlassError) -> int:
    """The status of an answer that says of an error."""
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 500)


def problem(
    _scope: Any, status: int, detail: str, headers: Sequence[tuple[bytes, bytes]] = ()
) -> Callable[[Any, Any, Any], Awaitable[None]]:
    """An ASGI application that answers so, whatever it is asked."""
    body = msgspec.json.encode(Problem(title=HTTPStatus(status).phrase, status=status, detail=detail))

    async def run(_scope: Any, _receive: Any, send: Any) -> None:
        said = [(b"content-type", MEDIA_TYPE.encode()), (b"content-length", b"%d" % len(body)), *headers]
        await send({"type": "http.response.start", "status": status, "headers": said})
        await send({"type": "http.response.body", "body": body})

    return run


def _answer(status: int, detail: str, error: str = "", headers: dict[str, str] | None = None) -> Response[Problem]:
    said = Problem(title=HTTPStatus(status).phrase, status=status, detail=detail, error=error)
    return Response(said, status_code=status, media_type=MEDIA_TYPE, headers=headers)


def on_windlass_error(_request: Request[Any, Any, Any], error: WindlassError) -> Response[Problem]:
    """Windlass says no."""
    known = next(one for one in type(error).__mro__ if one.__module__ == WindlassError.__module__)
    return _answer(status_of(error), str(error), known.__name__)


def on_http_error(request: Request[Any, Any, Any], error: HTTPException) -> Response[Problem]:
    """The request is none that is understood."""
    if error.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return on_any_error(request, error)
    detail = error.detail
    if isinstance(error, ValidationException) and isinstance(error.extra, list):
        said = [f"{one.get('key', 'request')}: {one.get('message')}" for one in error.extra if isinstance(one, dict)]
        detail = "; ".join(said) or detail
    headers = {name: value for name, value in (error.headers or {}).items() if name.lower() == "allow"}
    return _answer(error.status_code, detail, headers=headers)


def on_unreadable(_request: Request[Any, Any, Any], error: SerializationException) -> Response[Problem]:
    """The body is none. Litestar says so itself, unless somebody has read it before (Sentry's library does)."""
    return _answer(400, str(error.detail or error))


def on_depth(_request: Request[Any, Any, Any], _error: RecursionError) -> Response[Problem]:
    """What was sent is nested beyond what anybody reads."""
    return _answer(400, "the body is nested too deeply")


def on_any_error(request: Request[Any, Any, Any], error: Exception) -> Response[Problem]:
    """A fault of ours: what it was is in the log, and nobody's business."""
    _log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return _answer(500, "this failed; the server's log says why")
