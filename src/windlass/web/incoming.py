"""What is looked at in a request that somebody may make, before a handler gets it."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

from litestar import Litestar, Request
from litestar.exceptions import ClientException
from litestar.routes import HTTPRoute

from windlass.web.access.gate import HARMLESS
from windlass.web.slashes import restore_slashes

API = "/api/"
_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")


class Incoming:
    """Refuses what no handler would look at."""

    def __init__(self) -> None:
        self._known: dict[Any, list[str]] = {}

    async def check(self, request: Request[Any, Any, Any]) -> None:
        """Give a handler names as they are; refuse a body that is no text, and parameters that it does not know."""
        restore_slashes(request)
        if not self._known:
            self._known = _parameters(request.app)
        self._check_query(request)
        # The API reads as JSON whatever it is sent; only pages have forms.
        is_form = request.content_type[0] in _FORMS and request.scope["route_handler"] not in self._known
        if request.method not in HARMLESS and not is_form:
            try:
                (await request.body()).decode()  # msgspec says it in an error that no framework knows
            except UnicodeDecodeError as error:
                raise ClientException(f"the body is not UTF-8: {error.reason} at byte {error.start}") from None

    def _check_query(self, request: Request[Any, Any, Any]) -> None:
        """A word that is wrong would otherwise be no condition at all: of everything, and not of some."""
        if not request.url.query:
            return
        known = self._known.get(request.scope["route_handler"])
        if known is None:
            return
        for name in request.query_params:
            if name not in known:
                close = get_close_matches(name, known, 1, 0.6)
                there = f"there are {', '.join(known)}" if known else "there are none here"
                hint = f"did you mean {close[0]!r}?" if close else there
                raise ClientException(f"there is no parameter {name[:60]!a}; {hint}")


def _parameters(app: Litestar) -> dict[Any, list[str]]:
    """What each handler of the API knows. Forms of pages send along what is beside them."""
    return {
        handler: sorted(one.field_alias for one in model.expected_query_params)
        for route in app.routes
        if isinstance(route, HTTPRoute) and route.path.startswith(API)
        for handler, model in route.route_handler_map.values()
    }
