"""Answers probes: a few lines of HTTP, in the supervisor's own wait for whatever comes next.

A visitor has `PATIENCE` seconds and `LONGEST_REQUEST` bytes, and there are at most `MOST_VISITORS`; one more takes the
place of the one who has been there longest. So nobody can hold up the workers, and a probe always gets in.
"""

from __future__ import annotations

import json
import re
import select
import socket
import time
from collections.abc import Callable
from itertools import takewhile

from windlass.engine.unix import ERROR, log

PATIENCE = 5.0
LONGEST_REQUEST = 8192
MOST_VISITORS = 16
BACKLOG = 128
"""Connections that the system keeps for us until the next look."""
DEAF = 1.0
"""Seconds without visitors when the system has no room for another."""

Headers = dict[str, str]
"""By names in lower case."""
Reply = tuple[int, str, bytes]
"""Status, type and content."""
Answer = Callable[[str, Headers], "Reply | None"]
"""From a path and headers to a reply; ``None``: there is no such page."""
JSON = "application/json"

_LINE_END = re.compile(r"\r?\n")
_ORIGIN = re.compile(r"^https?://[^/?]*", re.IGNORECASE)
"""May stand before a path, and says nothing new."""

_PHRASES = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    404: "Not Found",
    405: "Method Not Allowed",
    500: "Internal Server Error",
    431: "Request Header Fields Too Large",
    503: "Service Unavailable",
}


class Visitor:
    """One connection: it asks once, is answered, and is gone."""

    __slots__ = ("answer", "asked", "line", "until")

    def __init__(self, line: socket.socket, now: float) -> None:
        self.line = line
        self.until = now + PATIENCE
        self.asked = b""
        self.answer: bytes | None = None


class HealthServer:
    """The endpoint, for whoever polls: it says what it waits for through ``poll``, and `serve` does what is due."""

    def __init__(self, host: str, port: int, poll: select.poll, answer: Answer, pages: str) -> None:
        """Listen; ``pages`` are named to who looks for others. Raises `OSError`, also if there is no such host."""
        self._pages = pages
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        self._listener = socket.create_server(address, family=family, backlog=BACKLOG)
        self._listener.setblocking(False)
        self._poll = poll
        self._poll.register(self._listener, select.POLLIN)
        self._answer = answer
        self._visitors: dict[int, Visitor] = {}
        """By descriptor, in the order of their arrival."""
        self._deaf_until: float | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        host, port = self._listener.getsockname()[:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    @property
    def due(self) -> float | None:
        """When `serve` should be called at the latest, on the monotonic clock."""
        times = [] if self._deaf_until is None else [self._deaf_until]
        if self._visitors:
            times.append(next(iter(self._visitors.values())).until)
        return min(times, default=None)

    def serve(self, spoken: list[int]) -> None:
        """Attend to these descriptors, as far as they are ours, and send away those whose time is over."""
        now = time.monotonic()
        for descriptor in spoken:
            if descriptor in self._visitors:
                self._attend(self._visitors[descriptor])
        if self._listener.fileno() in spoken:
            for _ in range(MOST_VISITORS):
                if not self._welcome(now):
                    break
        if self._deaf_until is not None and self._deaf_until <= now:
            self._deaf_until = None
            self._poll.register(self._listener, select.POLLIN)
        while self._visitors and (first := next(iter(self._visitors.values()))).until <= now:
            self._dismiss(first)

    def _welcome(self, now: float) -> bool:
        """Let one in; say whether there may be more."""
        try:
            line, _ = self._listener.accept()
        except BlockingIOError:
            return False
        except ConnectionError:
            return True
        except OSError:
            self._deaf_until = now + DEAF
            self._poll.unregister(self._listener)
            return False
        if len(self._visitors) >= MOST_VISITORS:
            self._dismiss(next(iter(self._visitors.values())))
        line.setblocking(False)
        visitor = self._visitors[line.fileno()] = Visitor(line, now)
        self._poll.register(line, select.POLLIN)
        self._attend(visitor)  # before the next one may take its place: it has spoken already, as a rule
        return True

    def _attend(self, visitor: Visitor) -> None:
        try:
            if visitor.answer is None:
                self._listen(visitor)
            else:
                self._speak(visitor)
        except BlockingIOError:
            pass
        except OSError:
            self._dismiss(visitor)

    def _listen(self, visitor: Visitor) -> None:
        heard = visitor.line.recv(4096)
        visitor.asked = (visitor.asked + heard).lstrip(b"\r\n")  # some send an empty line first
        if b"\r\n\r\n" in visitor.asked or b"\n\n" in visitor.asked:
            visitor.answer = self._answer_to(visitor.asked)
        elif len(visitor.asked) > LONGEST_REQUEST:
            visitor.answer = _refuse(431, "the request is too long")
        elif not heard:
            self._dismiss(visitor)
            return
        if visitor.answer is not None:
            self._poll.modify(visitor.line, select.POLLOUT)
            self._speak(visitor)

    def _speak(self, visitor: Visitor) -> None:
        assert visitor.answer is not None
        visitor.answer = visitor.answer[visitor.line.send(visitor.answer) :]
        if not visitor.answer:
            self._dismiss(visitor)

    def _dismiss(self, visitor: Visitor) -> None:
        descriptor = visitor.line.fileno()
        del self._visitors[descriptor]
        self._poll.unregister(descriptor)
        visitor.line.close()

    def _answer_to(self, asked: bytes) -> bytes:
        """Whatever is asked: nothing that comes from outside ends the supervisor."""
        try:
            return self._reply(asked)
        except Exception as error:  # noqa: BLE001 - a visitor's request must not be the workers' end
            log(0, f"the health endpoint could not answer: {type(error).__name__}: {error}", ERROR)
            return _refuse(500, "this could not be answered; the log says why")

    def _reply(self, asked: bytes) -> bytes:
        first, *lines = _LINE_END.split(asked.decode("latin-1"))
        words = first.split()
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            return _refuse(400, "not a request of HTTP/1")
        method, target, _ = words
        if method not in ("GET", "HEAD"):
            return _refuse(405, "only GET and HEAD")
        fields = (line.partition(":") for line in takewhile(bool, lines))  # what follows the empty line is no header
        path = _ORIGIN.sub("", target).partition("?")[0]
        found = self._answer(path, {name.lower(): value.strip() for name, _, value in fields})
        if found is None:
            return _refuse(404, f"there are {self._pages}")
        return _page(*found, head=method == "HEAD")


def as_json(body: dict[str, object]) -> bytes:
    """The content of a page for programs."""
    return json.dumps(body).encode() + b"\n"


def _refuse(status: int, why: str) -> bytes:
    return _page(status, JSON, as_json({"error": why}))


def _page(status: int, kind: str, content: bytes, *, head: bool = False) -> bytes:
    lines = [
        f"HTTP/1.1 {status} {_PHRASES[status]}",
        f"Content-Type: {kind}",
        f"Content-Length: {len(content)}",
        "Cache-Control: no-store",
        "Connection: close",
        *(["Allow: GET, HEAD"] if status == 405 else []),
        *(["WWW-Authenticate: Bearer"] if status == 401 else []),
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + (b"" if head else content)
