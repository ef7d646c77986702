"""What a worker process writes to standard error: plain lines or JSON, as the supervisor does."""

from __future__ import annotations

import faulthandler
import fcntl
import logging
import sys
import time
from contextvars import copy_context
from typing import Any, TextIO

from windlass.context import attempt_in
from windlass.core.text import INDENT, indented, printable


class PlainFormatter(logging.Formatter):
    """One line for each record, whatever a task's name or arguments hold; a traceback follows on indented lines."""

    converter = staticmethod(time.gmtime)

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s [%(process)d] %(name)s: %(message)s")

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802 - logging's name
        """Write the time: UTC, milliseconds."""
        return f"{super().formatTime(record, datefmt or '%Y-%m-%dT%H:%M:%S')}.{int(record.msecs):03}Z"

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """Write the line, with nothing in it that a terminal would obey."""
        return INDENT.join(map(printable, super().formatMessage(record).split(INDENT)))

    def formatException(self, ei: Any) -> str:  # noqa: N802 - logging's name; its type is logging's own
        """Write the traceback likewise, indented."""
        return indented(super().formatException(ei)).lstrip("\n")

    def formatStack(self, stack_info: str) -> str:  # noqa: N802 - logging's name
        """Write where it was logged likewise."""
        return indented(super().formatStack(stack_info)).lstrip("\n")


class JsonFormatter(PlainFormatter):
    """An object on a line for each record, with the job that it is about, or in which it was logged."""

    def format(self, record: logging.LogRecord) -> str:
        """Write the line."""
        import json  # here: who wants plain lines need not load it

        said: dict[str, object] = {
            "time": self.formatTime(record),
            "level": record.levelname,
            "logger": record.name,
            "pid": record.process,
            "message": record.getMessage(),
        }
        said |= getattr(record, "windlass", None) or _of_attempt()
        if record.exc_info:
            said["exception"] = logging.Formatter.formatException(self, record.exc_info)
        if record.stack_info:
            said["stack"] = record.stack_info
        return json.dumps(said, default=str)


def _of_attempt() -> dict[str, object]:
    """The attempt that is running here, if one is."""
    attempt = attempt_in(copy_context())
    if attempt is None:
        return {}
    said = {"job": attempt.job_id, "task": attempt.task, "queue": attempt.queue, "attempt": attempt.attempt}
    return said | ({} if attempt.trace_id is None else {"trace_id": attempt.trace_id})


def configure_logs(level: str, form: str = "plain") -> None:
    """Send records of this level and above to standard error, as they come. Call it first of all. ``form``: ``plain``
    or ``json``."""
    sys.stdout, sys.stderr = _own(sys.stdout, 1), _own(sys.stderr, 2)
    faulthandler.enable(sys.stderr)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else PlainFormatter())
    logging.basicConfig(level=level, handlers=[handler])


def _own(stream: TextIO, descriptor: int) -> TextIO:
    """Give the stream a descriptor of its own: a task that closes 0, 1 and 2 must not make the next one's print fail.

    It writes each line when it ends, so that what a task prints shows up when it prints it.
    """
    copy = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 3)
    return open(copy, "w", buffering=1, encoding=stream.encoding, errors=stream.errors)  # noqa: PTH123 - a descriptor
