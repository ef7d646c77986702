"""Which app, or which store, a command is about; and the options that say so."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from windlass.cli.arguments import Argument
from windlass.cli.errors import WrongUsage

if TYPE_CHECKING:
    from windlass.app import App
    from windlass.store.port import Store

T = TypeVar("T")

DEFAULT_URL = "sqlite:///windlass.db"

APP = Argument("--app", metavar="MODULE:ATTRIBUTE", help="Where the App is, such as tasks:app. Default: $WINDLASS_APP.")
URL = Argument("--url", metavar="URL", help="The store. Default: the App's, or $WINDLASS_URL, or ./windlass.db.")
JSON = Argument("--json", action="store_true", dest="as_json", help="Print JSON; errors too, on standard error.")
STORE = (APP, URL, JSON)
"""For commands that need only the store."""


def app_place(given: str | None) -> str:
    """Return where the app is, from the command line or the environment."""
    place = given or os.environ.get("WINDLASS_APP", "")
    if not place:
        raise WrongUsage("which app? give --app module:attribute, such as --app tasks:app, or set WINDLASS_APP")
    return place


def find_app(given: str | None) -> App:
    """Load the app. Raises `AppNotFound`."""
    from windlass.cli.loading import load_app

    return load_app(app_place(given))


def means_app(place: str | None, url: str | None) -> bool:
    """Whether the options mean an app, and not a store alone."""
    return not url and bool(place or os.environ.get("WINDLASS_APP"))


def open_app(place: str | None, url: str | None, *, create: bool) -> App:
    """The app that the options mean, or, where they name a store alone, one without tasks. Raises as `with_store`."""
    from windlass.app import App

    if means_app(place, url):
        app = find_app(place)
        check_reachable(app.url, create=create)
        return app
    where = url or os.environ.get("WINDLASS_URL") or DEFAULT_URL
    app = App(where)
    check_reachable(where, create=create)
    return app


def check_reachable(url: str, *, create: bool) -> None:
    """Raise `WrongUsage` for a store that a command of its own cannot reach, and, without ``create``, for a database
    file that does not exist: looking must not create one."""
    if url.startswith("memory:"):
        raise WrongUsage(f"{url} exists only inside the process that uses it: no command can look into it")
    if url.startswith("sqlite:") and not create:
        from pathlib import Path
        from urllib.parse import unquote

        path = Path(unquote(url.partition("://")[2][1:])).absolute()
        if not path.exists():
            raise WrongUsage(
                f"there is no database {path}; say which store is meant with --url or --app, or make it with "
                f"`windlass migrate`"
            )


def with_store(app: str | None, url: str | None, act: Callable[[Store], Awaitable[T]], *, create: bool = False) -> T:
    """Let ``act`` use the store that the options mean: ``--url``, else the app's, else ``$WINDLASS_URL``, else
    ./windlass.db. Raises as `check_reachable`, `InvalidURL`, `StoreError`."""

    async def run() -> T:
        store = _new_store(app, url, create=create)
        try:
            return await act(store)
        finally:
            await store.aclose()

    return _run(run)


def with_app(app: App, act: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Let ``act`` use the app, and let go of its store afterwards. Raises `WrongUsage` for a store in memory."""
    check_reachable(app.url, create=True)

    async def run() -> T:
        async with app:
            return await act()

    return _run(run)


def _run(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    import asyncio  # here, since `windlass worker` has no use for it

    return asyncio.run(main())


def _new_store(place: str | None, url: str | None, *, create: bool) -> Store:
    from windlass.connect import check_url, connect
    from windlass.core.model import Settings

    if means_app(place, url):
        app = find_app(place)
        check_reachable(app.url, create=create)
        return app.new_store()
    where = url or os.environ.get("WINDLASS_URL") or DEFAULT_URL
    check_url(where)
    check_reachable(where, create=create)
    return connect(where, Settings())
