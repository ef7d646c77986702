"""Whether the server that serves the site has been told to end.

A server waits for what it still answers, and tells no application so: one that answers for ever, as an event stream
does, would hold it up for ever. `windlass ui` ends the streams itself; an application into which the site is mounted
has no part in its server's end. uvicorn's handlers of signals are methods of the server, which knows.
"""

from __future__ import annotations

import signal


def is_ending() -> bool:
    """Whether uvicorn, if that serves here, ends."""
    handlers = (signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT))
    return any(getattr(getattr(one, "__self__", None), "should_exit", False) is True for one in handlers)
