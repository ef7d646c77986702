"""The pages that people look at, a module for each; `frame` is what they share.

They are made on the server, with Jinja templates; htmx shows anew what changed, and posts forms and buttons, many of
them to the HTTP API. Scripts and styles are files of ours (``static/``): nothing is fetched from elsewhere, and
nothing is inline.
"""

from pathlib import Path

from litestar.static_files import create_static_files_router

from windlass.web.pages import dead, jobs, login, overview, queues, runs, schedules, settings

PAGES = (
    *(
        handler
        for noun in (overview, jobs, queues, schedules, runs, dead, settings, login)
        for handler in noun.HANDLERS
    ),
    create_static_files_router(
        path="/static",
        directories=[Path(__file__).parent / "static"],
        include_in_schema=False,
        name="static",
    ),
)
