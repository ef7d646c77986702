"""``windlass ui``: the web UI and the HTTP API, served."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from windlass.cli.arguments import Argument, command, endpoint, network
from windlass.cli.errors import WrongUsage
from windlass.cli.logs import configure_logs
from windlass.cli.output import say
from windlass.cli.target import APP, URL, open_app
from windlass.core.errors import MissingExtra
from windlass.core.hosts import is_loopback

if TYPE_CHECKING:
    from windlass.app import App

LISTEN = "127.0.0.1:8380"


@command(
    APP,
    URL,
    Argument(
        "--listen",
        type=endpoint,
        metavar="[HOST:]PORT",
        default=LISTEN,
        help="Serve there. Without HOST only to this machine, where everybody may come in until the first user or "
        f"token is made; to others only once there is one: see `windlass users add`. Default: {LISTEN}.",
    ),
    Argument(
        "--proxy",
        action="append",
        type=network,
        metavar="ADDRESS",
        help="Believe this proxy, or all of a network such as 10.0.0.0/8, where a request comes from and whether it "
        "came by TLS: X-Forwarded-For and X-Forwarded-Proto; may be repeated. Default: proxies on this machine.",
    ),
    Argument(
        "--redact",
        action="append",
        metavar="PATTERN",
        help="Do not show arguments whose name or type fits this, such as '*password*'; may be repeated.",
    ),
    Argument("--trace-url", metavar="URL", help="Where traces are shown, with {trace_id} in it."),
    examples=[
        ("windlass ui --app shop:app", "For yourself."),
        ("windlass ui --app shop:app --listen 0.0.0.0:8380", "For others, who log in. TLS is a proxy's."),
        ("windlass ui --app shop:app --listen 0.0.0.0:8380 --proxy 10.0.0.5", "Which is on another machine."),
    ],
)
def ui(
    *,
    app: str | None,
    url: str | None,
    listen: str,
    proxy: list[str] | None,
    redact: list[str] | None,
    trace_url: str | None,
) -> None:
    """Serve the web UI and the HTTP API.

    With --app, tasks can be enqueued, runs started and schedules made there; without, only what the store has is shown
    and steered.
    """
    check_extra()
    asyncio.run(_serve(open_app(app, url, create=False), listen, proxy, redact or (), trace_url))


def check_extra() -> None:
    """Raise `MissingExtra` unless what the site needs is installed."""
    try:
        import argon2  # noqa: F401 - whether they are there
        import jinja2  # noqa: F401
        import litestar  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise MissingExtra(f"the web UI needs {error.name}: pip install windlass[web]") from None


async def _serve(
    app: App, listen: str, proxies: list[str] | None, redact: list[str] | tuple[str, ...], trace_url: str | None
) -> None:
    import socket

    from windlass.web import site
    from windlass.web.access.vault import Vault
    from windlass.web.serving import THIS_MACHINE, serve

    configure_logs("INFO")
    host, _, port = listen.rpartition(":")
    async with app:
        is_local = is_loopback(host)
        if not is_local and await Vault(app.store).is_empty():
            raise WrongUsage(
                f"--listen {listen}: anybody who reaches it could steer what runs, since there are neither users nor "
                "tokens: windlass users add NAME --role admin"
            )
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, int(port)))
            listener.listen(128)  # from here on nobody is refused
        except OSError as error:
            listener.close()
            raise WrongUsage(f"--listen {listen}: {error.strerror or error}") from None
        shown = f"[{host}]" if ":" in host else host
        say(f"http://{shown}:{listener.getsockname()[1]}/")
        gate = site(app, open_on_this_machine=is_local, redact=redact, trace_url=trace_url)
        await serve(gate, listener, proxies or THIS_MACHINE)


COMMAND = ui
