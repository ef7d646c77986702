"""``windlass metrics``: figures of a store, for Prometheus."""

from __future__ import annotations

import asyncio
import signal
import threading
from typing import TYPE_CHECKING

from windlass.cli.arguments import Argument, command, endpoint
from windlass.cli.errors import WrongUsage
from windlass.cli.logs import configure_logs
from windlass.cli.output import say
from windlass.cli.target import APP, URL, with_store
from windlass.core.errors import MissingExtra

if TYPE_CHECKING:
    from windlass.store.port import Store

PORT = "127.0.0.1:9791"


@command(
    APP,
    URL,
    Argument(
        "--listen",
        type=endpoint,
        metavar="[HOST:]PORT",
        default=PORT,
        help=f"Answer /metrics over HTTP there. Without HOST only to this machine; to others only with a token in "
        f"$WINDLASS_METRICS_TOKEN, which they show as `Authorization: Bearer`. Default: {PORT}.",
    ),
    Argument("--once", action="store_true", help="Print the figures and end."),
    Argument("--dashboard", action="store_true", help="Print a dashboard for Grafana, and end."),
    Argument("--rules", action="store_true", help="Print recording and alert rules for Prometheus, and end."),
    examples=[
        ("windlass metrics --app shop:app", "For a Prometheus on this machine."),
        ("windlass metrics --rules > windlass.rules.yml", "Rules that go with them."),
        ("windlass metrics --dashboard > windlass.json", "And a dashboard."),
    ],
)
def metrics(*, app: str | None, url: str | None, listen: str, once: bool, dashboard: bool, rules: bool) -> None:
    """Serve figures of a store to Prometheus."""
    if rules or dashboard:
        from importlib.resources import files

        say(files("windlass.metrics").joinpath("rules.yml" if rules else "dashboard.json").read_text().rstrip())
        return
    try:
        import prometheus_client  # noqa: F401 - whether it is there
    except ImportError:
        raise MissingExtra("windlass metrics needs prometheus-client: pip install windlass[metrics]") from None
    with_store(app, url, _print if once else lambda store: _serve(store, listen))


async def _print(store: Store) -> None:
    from prometheus_client.exposition import generate_latest
    from prometheus_client.registry import CollectorRegistry

    from windlass.metrics.figures import families, read

    reading = await read(store)

    class Once:
        def collect(self) -> object:
            return families(reading)

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Once())  # type: ignore[arg-type]
    say(generate_latest(registry).decode().rstrip())


async def _serve(store: Store, listen: str) -> None:
    from windlass.metrics.serving import MetricsServer, StoreCollector
    from windlass.metrics.visitors import token_here

    configure_logs("INFO")
    host, _, port = listen.rpartition(":")
    loop = asyncio.get_running_loop()
    await store.now()  # what cannot be reached at all is said at once
    collector = StoreCollector(store, loop)
    try:
        server = MetricsServer(host, int(port), collector, token_here())
    except OSError as error:
        raise WrongUsage(f"--listen {listen}: {error.strerror or error}") from None
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.2}, daemon=True)
    thread.start()
    say(f"http://{host if ':' not in host else f'[{host}]'}:{server.server_address[1]}/metrics")
    try:
        await stop.wait()
    finally:
        await asyncio.to_thread(server.shutdown)
        server.server_close()


COMMAND = metrics
