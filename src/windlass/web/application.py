"""The site as an ASGI application: the HTTP API, and the pages that people look at."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

from litestar import Litestar, Request, Router, get
from litestar.di import NamedDependency, Provide
from litestar.exceptions import HTTPException, SerializationException
from litestar.response import Response
from litestar.types import Message, Scope

from windlass.app import App
from windlass.core.errors import InvalidOption, WindlassError
from windlass.web import problems
from windlass.web.access.gate import HARMLESS, VISITOR, Gate, Who
from windlass.web.access.roles import Visitor
from windlass.web.api import access, backfill, deploy, events, jobs, queues, schedules, schema, workers, workflows
from windlass.web.asgi import ASGI
from windlass.web.console import Console
from windlass.web.incoming import Incoming
from windlass.web.pages import PAGES, trouble
from windlass.web.slashes import keep_slashes

MAX_BODY = 2_000_000
"""Bytes of a request."""
_NOUNS = (jobs, queues, workers, schedules, backfill, deploy, workflows, access, events)


def site(
    app: App,
    *,
    who: Who | None = None,
    open_on_this_machine: bool = False,
    redact: Sequence[str] = (),
    trace_url: str | None = None,
) -> Gate:
    """Make the site of an app: an ASGI application that a server serves, or another application mounts.

    Args:
        app: whose store is shown, and whose tasks, workflows and schedules can be started.
        who: where another application mounts the site, says whose request it is, given the ASGI scope: a name and a
            role, or ``None`` for nobody. Without it, users and tokens of the store come in (``windlass users``,
            ``windlass tokens``).
        open_on_this_machine: until the first user or token is made, whoever asks from this machine is admin. Only
            where nothing but this machine reaches the server.
        redact: patterns such as ``"*password*"``: arguments whose name, or whose type's name, fits one are not shown.
        trace_url: where traces are shown, with ``{trace_id}`` in it.

    Raises `InvalidOption`.
    """
    if trace_url is not None and "{trace_id}" not in trace_url:
        raise InvalidOption(f"trace_url={trace_url!r}: expected a URL with {{trace_id}} in it")
    console = Console(app, redact=redact, trace_url=trace_url)

    def visitor(request: Request[Any, Any, Any]) -> Visitor | None:
        found: Visitor | None = request.scope.get(VISITOR)  # type: ignore[assignment]
        return found

    @asynccontextmanager
    async def life(_: Litestar) -> AsyncIterator[None]:
        try:
            yield
        finally:
            await console.live.aclose()

    def forget(_: Message, scope: Scope) -> None:
        """Whoever looks once a change is answered is to see it."""
        if scope.get("method", "GET") not in HARMLESS:
            console.shared.forget()

    inner = Litestar(
        route_handlers=[
            Router("/api/v1", route_handlers=[handler for noun in _NOUNS for handler in noun.HANDLERS]),
            healthz,
            readyz,
            *PAGES,
        ],
        dependencies={
            "console": Provide(lambda: console, sync_to_thread=False),
            "visitor": Provide(visitor, sync_to_thread=False),
        },
        exception_handlers={
            WindlassError: problems.on_windlass_error,
            HTTPException: trouble.on_unknown,
            SerializationException: problems.on_unreadable,
            RecursionError: problems.on_depth,
            Exception: problems.on_any_error,
        },
        before_request=Incoming().check,
        before_send=[forget],
        request_max_body_size=MAX_BODY,
        lifespan=[life],
        logging_config=None,
        openapi_config=schema.config(),
    )
    return Gate(
        keep_slashes(cast(ASGI, inner)),
        console.store,
        console.vault,
        who=who,
        is_local=open_on_this_machine,
        stop=console.live.stop,
    )


@get("/healthz", include_in_schema=False)
async def healthz() -> str:
    """It serves."""
    return "ok"


@get("/readyz", include_in_schema=False)
async def readyz(console: NamedDependency[Console]) -> Response[str]:
    """It serves, and the store answers."""
    try:
        await (await console.store()).now()
    except WindlassError as error:
        return Response(f"{type(error).__name__}", status_code=503, media_type="text/plain")
    return Response("ok", media_type="text/plain")
