"""The site, served over a socket as users have it."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

from windlass import App
from windlass.web import site
from windlass.web.serving import Server


@contextmanager
def serving(server: uvicorn.Server) -> Iterator[str]:
    """Let a server serve on a free port of this machine; gives its address."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()  # who comes before the server is ready waits
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
    with serving(Server(site(app, **{"open_on_this_machine": True} | options))) as url:
        yield url
    closing = threading.Thread(target=app.close_sync)  # a loop may run on this one
    closing.start()
    closing.join()
