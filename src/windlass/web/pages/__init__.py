"""The pages that people look at, a module for each; `frame` is what they share.

They are made on the server, with Jinja templates; htmx shows anew what changed, and posts forms and buttons, many of
them to the HTTP API. Scripts and styles are files of ours (``static/``): nothing is fetched from elsewhere, and
nothing is inline.
"""

from pathlib import Path

from litestar import Router
from litestar.exceptions import HTTPException
from litestar.static_files import create_static_files_router

from windlass.core.errors import WindlassError
from windlass.web.pages import dead, jobs, login, overview, queues, runs, schedule_form, schedules, settings, trouble

_NOUNS = (overview, jobs, queues, schedules, schedule_form, runs, dead, settings, login)
PAGES = (
    Router(
        "/",
        route_handlers=[handler for noun in _NOUNS for handler in noun.HANDLERS],
        exception_handlers={WindlassError: trouble.on_windlass_error, HTTPException: trouble.on_http_error},
    ),
    create_static_files_router(
        path="/static",
        directories=[Path(__file__).parent / "static"],
        include_in_schema=False,
        name="static",
    ),
)
