"""Telling systemd how a service is: the datagrams of sd_notify(3)."""

from __future__ import annotations

import os

VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
"""What systemd says to this process, and to no child of it."""


def notify(*states: str) -> None:
    """Send states (``READY=1``, ``STOPPING=1``) to whom it concerns, if anybody: ``$NOTIFY_SOCKET``."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address[:1] not in ("/", "@"):
        return
    import socket  # here, so that it costs no memory where nobody listens

    if address.startswith("@"):
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
            line.setblocking(False)
            line.connect(address)
            line.send("\n".join(states).encode())
    except OSError:
        pass  # a service manager that does not listen must not stop the service


def watchdog_interval() -> float | None:
    """Seconds within which systemd wants to hear ``WATCHDOG=1``; ``None``: it does not want to, or not from us."""
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    try:
        seconds = int(os.environ["WATCHDOG_USEC"]) / 1_000_000
    except (KeyError, ValueError):
        return None
    return seconds if seconds > 0 else None
