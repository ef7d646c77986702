"""Telling systemd how a service is: the one datagram of sd_notify(3)."""

from __future__ import annotations

import os


def notify(state: str) -> None:
    """Send ``state`` (``READY=1``, ``STOPPING=1``) to whom it concerns, if anybody: ``$NOTIFY_SOCKET``."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address[:1] not in ("/", "@"):
        return
    import socket  # here, so that it costs no memory where nobody listens

    if address.startswith("@"):
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
            line.connect(address)
            line.send(state.encode())
    except OSError:
        pass  # a service manager that does not listen must not stop the service
