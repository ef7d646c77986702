"""Sends one message: what the jobs of webhooks do."""

from __future__ import annotations

import time
from collections.abc import Mapping

import httpx

from windlass.context import current
from windlass.core.errors import Dead
from windlass.webhooks.endpoint import Endpoint
from windlass.webhooks.signing import headers_for

ANSWER_WITHIN = 10.0
"""Seconds that a receiver has for each step: to be connected to, to take the message, to answer."""


class NotTaken(Exception):
    """A receiver did not answer with success."""


class Sender:
    """Sends messages to the endpoints of an app, by their names."""

    def __init__(self, endpoints: Mapping[str, Endpoint]) -> None:
        self._endpoints = endpoints

    async def send(self, endpoint: str, body: str) -> int:
        """Send a message, and give the receiver's status. What it says beyond that is not read, and a redirection is
        not followed: it could lead anywhere.

        Raises `NotTaken` and httpx's own errors, to be tried again, and `Dead` where that would be of no use.
        """
        to = self._endpoints.get(endpoint)
        if to is None:
            raise Dead("the app has no such endpoint any more")
        content = body.encode()
        headers = headers_for(to.key, current().job_id, int(time.time()), content)
        headers["content-type"] = "application/json"
        async with (
            httpx.AsyncClient(timeout=ANSWER_WITHIN, follow_redirects=False) as client,
            client.stream("POST", to.url, content=content, headers=headers) as answer,
        ):
            if answer.status_code == httpx.codes.GONE:
                raise Dead("the receiver answered 410: it wants no more")
            if not answer.is_success:
                raise NotTaken(f"the receiver answered {answer.status_code}")
            return answer.status_code
