"""What all pages share: templates, what they know, and how they answer."""

from __future__ import annotations

import json
from functools import cache
from typing import Annotated, Any, TypeAlias
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from litestar import MediaType, Response
from litestar.enums import RequestEncodingType
from litestar.params import Body

from windlass.web.access.roles import Role, Visitor
from windlass.web.api.common import AnyRequest, visitor_of

Form: TypeAlias = Annotated[dict[str, str], Body(media_type=RequestEncodingType.URL_ENCODED)]
"""What a form of a page sends."""
FormOfMany: TypeAlias = Annotated[dict[str, str | list[str]], Body(media_type=RequestEncodingType.URL_ENCODED)]
"""The same, where a field may come several times."""
NAVIGATION = (
    ("", "Overview", "o"),
    ("jobs", "Jobs", "j"),
    ("queues", "Queues", "q"),
    ("workers", "Workers", "w"),
    ("schedules", "Schedules", "s"),
    ("runs", "Workflows", "r"),
    ("dead", "Dead letters", "d"),
    ("settings", "Settings", "t"),
)
"""Path, title, and the key that leads there after a g."""


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("windlass.web.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["urlencode"] = lambda text: quote(str(text), safe="")  # Jinja's own leaves slashes
    environment.filters["number"] = lambda value: f"{value:,}".replace(",", "\N{NARROW NO-BREAK SPACE}")
    return environment


def root_of(request: AnyRequest) -> str:
    """The path below which the site is mounted."""
    return str(request.scope.get("root_path", "")).rstrip("/")


def page(request: AnyRequest, template: str, /, *, status: int = 200, **known: Any) -> Response[str]:
    """A page, or a part of one."""
    visitor: Visitor = visitor_of(request)
    text = (
        _environment()
        .get_template(template)
        .render(
            known,
            root=root_of(request),
            here=request.url.path,
            query=request.url.query,
            visitor=visitor,
            may_steer=visitor.role >= Role.OPERATOR,
            may_rule=visitor.role >= Role.ADMIN,
            navigation=NAVIGATION,
        )
    )
    return Response(text, media_type=MediaType.HTML, status_code=status)


def bare(template: str, /, **known: Any) -> Response[str]:
    """A page for somebody who is not known."""
    return Response(_environment().get_template(template).render(known), media_type=MediaType.HTML)


def changed(message: str) -> Response[None]:
    """The answer to a form that changed something: the page says so, and shows how things are now."""
    return Response(None, status_code=204, headers={"HX-Trigger": json.dumps({"said": message})})


def left(message: str, to: str) -> Response[None]:
    """The answer to a form after which there is nothing more to show here: another page says what was done."""
    return Response(None, status_code=204, headers={"HX-Trigger": json.dumps({"left": {"said": message, "to": to}})})
