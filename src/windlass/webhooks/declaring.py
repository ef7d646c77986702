"""Makes an app send webhooks: a task that looks, on a schedule, and a task that sends."""

from __future__ import annotations

from collections.abc import Iterable

from windlass.app import App
from windlass.core.errors import InvalidOption, MissingExtra
from windlass.core.model import NewJob
from windlass.core.retry import Retry
from windlass.core.triggers import Every
from windlass.webhooks.endpoint import Endpoint
from windlass.webhooks.looking import OURS, Look
from windlass.webhooks.messages import Message

QUEUE = "webhooks"
RETRY = Retry(attempts=12, delay=5, factor=3, max_delay=6 * 3600)
"""Over about a day."""
_LONGEST_TRY = 60
"""Seconds; each step of a try is bounded besides."""


def send_webhooks(
    app: App, endpoints: Endpoint | Iterable[Endpoint], *, every: float = 15.0, retry: Retry = RETRY
) -> None:
    """Tell these endpoints what they want to be told of. Call it once, where the app's tasks are.

    Any worker of the app that serves the queue ``webhooks`` looks for news and sends messages; a worker that is told no
    queues does. Each message is a job. A receiver is told at least once, and what it is told twice has the same
    ``webhook-id``.

    Args:
        app: the app. One app of a store sends webhooks, not several.
        endpoints: who is told.
        every: seconds between looks.
        retry: when a message is sent again that was not taken; default: 12 tries over about a day.

    Raises:
        InvalidName: the app sends webhooks already.
        InvalidOption: there are no endpoints, two have the same URL, or another argument is impossible.
        MissingExtra: httpx is not installed.
    """
    try:
        from windlass.webhooks.sending import Sender
    except ModuleNotFoundError as error:
        if error.name != "httpx":
            raise
        raise MissingExtra("webhooks need the package httpx: pip install windlass[webhooks]") from error

    by_name = _by_name(endpoints)
    sender = Sender(by_name)

    @app.task(name=f"{OURS}send", queue=QUEUE, retry=retry, timeout=_LONGEST_TRY)
    async def send(endpoint: str, body: str) -> int:
        return await sender.send(endpoint, body)

    def job(endpoint: Endpoint, message: Message) -> NewJob:
        call = send.bind(endpoint.name, message.body.decode())
        return call.recipe.new_job(call.payload, id=message.id_for(endpoint.name))

    @app.scheduled(Every(seconds=every), overlap="skip")
    @app.task(name=f"{OURS}look", queue=QUEUE, timeout=600, result_ttl=300, dead_ttl=3600)
    async def look() -> None:
        await Look(await app.store(), by_name.values(), job).at_everything()

    app.note_deaths()


def _by_name(endpoints: Endpoint | Iterable[Endpoint]) -> dict[str, Endpoint]:
    given = [endpoints] if isinstance(endpoints, Endpoint) else list(endpoints)
    found = {endpoint.name: endpoint for endpoint in given}
    if not found or len(found) < len(given):
        raise InvalidOption("endpoints: two have the same url" if given else "endpoints: there are none")
    return found
