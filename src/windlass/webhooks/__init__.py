"""Webhooks: signed messages over HTTP about dead jobs, missed fire times and queues whose jobs wait for too long.

They are sent by jobs, which are retried as others are. ``pip install windlass[webhooks]``.
"""

from windlass.webhooks.declaring import send_webhooks
from windlass.webhooks.endpoint import Endpoint

__all__ = ["Endpoint", "send_webhooks"]
