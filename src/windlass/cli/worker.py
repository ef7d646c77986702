"""``windlass worker``: checks the options, then becomes the supervisor."""

from __future__ import annotations

import json
import os
import re
import sys

from windlass.cli.arguments import Argument, between, command
from windlass.cli.errors import WrongUsage
from windlass.cli.target import APP, app_place
from windlass.core.names import check_queue

_WEIGHTED = re.compile(r"(.+):([0-9]+)")


@command(
    APP,
    Argument(
        "-q",
        "--queue",
        action="append",
        metavar="NAME[:WEIGHT]",
        help="Queue to serve; may be repeated. Weight 1 to 100: how often it is asked first. "
        "Default: all that the app's tasks name.",
    ),
    Argument("--strict", action="store_true", help="Serve the queues in the given order: the first until it is empty."),
    Argument(
        "--concurrency",
        type=between(1, 1000, int),
        default=100,
        metavar="N",
        help="Attempts that each process runs at once. Default: 100.",
    ),
    Argument("--processes", type=between(1, 1000, int), default=1, metavar="N", help="Worker processes. Default: 1."),
    Argument(
        "--grace",
        type=between(0, 3600, float),
        default=25.0,
        metavar="SECONDS",
        help="How long running jobs may go on after a signal to stop. Default: 25.",
    ),
    Argument("--log-level", default="info", metavar="LEVEL", help="debug, info, warning or error. Default: info."),
)
def worker(
    *,
    app: str | None,
    queue: list[str] | None,
    strict: bool,
    concurrency: int,
    processes: int,
    grace: float,
    log_level: str,
) -> None:
    """Run workers. SIGTERM or Ctrl-C stops them, a second one at once; SIGHUP replaces them one by one."""
    options = {
        "app": app_place(app),
        "queues": parse_queues(queue) if queue else None,
        "strict": strict,
        "concurrency": concurrency,
        "grace": grace,
        "log_level": _level(log_level),
    }
    _become(["windlass.engine.supervisor", str(processes), str(grace), "windlass.cli.child", json.dumps(options)])


def parse_queues(given: list[str]) -> dict[str, int]:
    """Read ``name`` and ``name:weight``. Raises `WrongUsage` or `InvalidName`."""
    queues: dict[str, int] = {}
    for text in given:
        weighted = _WEIGHTED.fullmatch(text)
        name, weight = (weighted[1], int(weighted[2])) if weighted else (text, 1)
        check_queue(name)
        if not 1 <= weight <= 100:
            raise WrongUsage(f"--queue {text}: weight {weight} is not between 1 and 100")
        if name in queues:
            raise WrongUsage(f"--queue {text}: {name} was named before")
        queues[name] = weight
    return queues


def _level(text: str) -> str:
    if text.upper() not in ("DEBUG", "INFO", "WARNING", "ERROR"):
        raise WrongUsage(f"--log-level {text!a}: expected debug, info, warning or error")
    return text.upper()


def _become(arguments: list[str]) -> None:
    """Replace this process by the supervisor, so that nothing of the command line stays in memory."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    os.execv(sys.executable, [sys.executable, "-m", *arguments])  # noqa: S606 - our own module, no shell wanted


COMMAND = worker
