"""The site, served over a socket as users have it."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

from windlass import App
from windlass.web import site


@contextmanager
def serving(application: Any) -> Iterator[str]:
    """Serve an ASGI application on a free port of this machine; gives its address."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    config = uvicorn.Config(application, log_config=None, access_log=False, timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],), name="site")
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(20)
        listener.close()
        assert not thread.is_alive(), "the server does not end"


@contextmanager
def site_of(app: App, **options: Any) -> Iterator[str]:
    """Serve the site of an app, with a store object of its own."""
    with serving(site(app, **{"open_on_this_machine": True} | options)) as url:
        yield url
    app.close_sync()
