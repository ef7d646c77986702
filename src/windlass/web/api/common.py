"""What all nouns share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from heapq import nsmallest
from typing import Annotated, Any, TypeAlias, TypeVar

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.di import NamedDependency
from litestar.exceptions import NotAuthorizedException, PermissionDeniedException
from litestar.params import PathParameter, QueryParameter

from windlass.core.errors import UsageError
from windlass.core.ids import FIRST_RUN_ID, from_text
from windlass.core.moments import read_moment
from windlass.core.names import check_queue, check_task
from windlass.core.records import JobFilter
from windlass.job import to_states
from windlass.store.port import Insights
from windlass.web.access.gate import VISITOR, WHAT
from windlass.web.access.roles import Role, Visitor
from windlass.web.console import Console

T = TypeVar("T")
TheConsole: TypeAlias = NamedDependency[Console]
TheVisitor: TypeAlias = NamedDependency[Visitor]
InPath: TypeAlias = Annotated[str, PathParameter(min_length=1, max_length=500)]
AnyRequest: TypeAlias = Request[Any, Any, Any]
Count: TypeAlias = Annotated[int, QueryParameter(ge=1, le=1000, description="At most so many.")]
States: TypeAlias = Annotated[
    list[str] | None, QueryParameter(name="state", description="Only in these states.", max_items=7)
]
Word: TypeAlias = Annotated[str | None, QueryParameter(max_length=500)]
Above: TypeAlias = Annotated[
    str | None, QueryParameter(max_length=500, description="Only those behind this one, the last of an earlier page.")
]
Cursor: TypeAlias = Annotated[str | None, QueryParameter(max_length=100, description="Where an earlier page ended.")]


def needs(role: Role) -> Callable[[ASGIConnection[Any, Any, Any, Any], Any], None]:
    """A guard: nobody below this role."""

    def guard(connection: ASGIConnection[Any, Any, Any, Any], _handler: Any) -> None:
        visitor: Visitor | None = connection.scope.get(VISITOR)  # type: ignore[assignment]
        if visitor is None:
            raise NotAuthorizedException("log in, or send a bearer token")
        if visitor.role < role:
            raise PermissionDeniedException(f"this needs the role {role.word}; {visitor.name} is {visitor.role.word}")

    return guard


LOOK, STEER, RULE = ([needs(role)] for role in (Role.VIEWER, Role.OPERATOR, Role.ADMIN))
"""Guards, by what a handler does."""


def visitor_of(request: AnyRequest) -> Visitor:
    """Whose request it is."""
    visitor: Visitor | None = request.scope.get(VISITOR)  # type: ignore[assignment]
    if visitor is None:
        raise NotAuthorizedException("log in, or send a bearer token")
    return visitor


def note(request: AnyRequest, what: str) -> None:
    """Say for the audit log what is asked for beside the path."""
    request.scope[WHAT] = what  # type: ignore[literal-required]


async def job_filter(
    store: Insights,
    *,
    state: list[str] | None,
    queue: str | None,
    task: str | None,
    error_type: str | None,
    before: str | None,
    after: str | None,
) -> JobFilter:
    """Which jobs are meant. Raises `UsageError`."""
    moments = [None if text is None else read_moment(text) for text in (before, after)]
    now = await store.now() if any(moments) else 0
    until, since = (None if moment is None else moment.resolve(now) for moment in moments)
    return JobFilter(
        states=to_states(state, "state") if state else None,
        queue=None if queue is None else check_queue(queue),
        task=None if task is None else check_task(task),
        error=error_type,
        enqueued_before=until,
        enqueued_from=since,
    )


def first_of(cursor: str | None) -> bytes:
    """Where a page begins: behind the runs, which have pages of their own."""
    try:
        return FIRST_RUN_ID if cursor is None else from_text(cursor)
    except UsageError:
        raise UsageError(f"cursor {cursor!a:.60}: expected what an earlier page said") from None


def page_of(items: Iterable[T], key: Callable[[T], str], *, above: str | None, limit: int) -> list[T]:
    """Some of them, in the order of their keys: names may be many."""
    behind = (one for one in items if above is None or key(one) > above)
    return nsmallest(limit, behind, key=key)
