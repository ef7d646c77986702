"""``windlass worker``: checks the options, then becomes the supervisor."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from importlib.util import find_spec

from windlass.cli.arguments import Argument, between, command, endpoint, seconds
from windlass.cli.errors import WrongUsage
from windlass.cli.target import APP, app_place
from windlass.core.errors import MissingExtra
from windlass.core.names import check_queue
from windlass.core.requirements import Offer
from windlass.metrics.visitors import check_token, token_here

FIGURES = "windlass.metrics.workers"
"""What makes up the figures that the workers count."""
_WEIGHTED = re.compile(r"(.+):([0-9]+)")
_MEMORY = re.compile(r"([0-9]{1,7}(?:\.[0-9]{1,3})?)([KMG])(I?B)?", re.IGNORECASE)
_UNITS = {"K": 1, "M": 2, "G": 3}


def _memory(text: str) -> int:
    """Read an amount of memory: bytes."""
    found = _MEMORY.fullmatch(text)
    bytes_ = 0.0
    if found:
        unit = 1000 if (found[3] or "").upper() == "B" else 1024
        bytes_ = float(found[1]) * unit ** _UNITS[found[2].upper()]
    if not 2**20 <= bytes_ <= 2**50:
        raise argparse.ArgumentTypeError(f"{text[:40]!a}: expected an amount such as 500MiB or 2GiB")
    return int(bytes_)


def _lag(text: str) -> float:
    """Read a span of time; 0: never."""
    try:
        lag = seconds(0, 3600)(text)
    except argparse.ArgumentTypeError:
        lag = -1.0
    if lag < 0.05 and lag != 0:
        raise argparse.ArgumentTypeError(f"{text[:40]!a}: expected seconds from 0.05 to 3600, or 0")
    return lag


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
        type=between(1, 1000),
        default=100,
        metavar="N",
        help="Attempts that each process runs at once. Default: 100.",
    ),
    Argument("--processes", type=between(1, 1000), default=1, metavar="N", help="Worker processes. Default: 1."),
    Argument(
        "--process-slots",
        type=between(1, 1000),
        metavar="N",
        help="Attempts of tasks with executor='process' that each worker process runs at once, beside the others, in "
        "child processes. Default: the number of processors.",
    ),
    Argument(
        "--max-jobs-per-child",
        type=between(1, 10**9),
        metavar="N",
        help="Replace a child process after so many attempts.",
    ),
    Argument(
        "--max-memory-per-child",
        type=_memory,
        metavar="SIZE",
        help="Replace a child process that uses more memory after an attempt, such as 500MiB.",
    ),
    Argument(
        "--memory-limit-per-child",
        type=_memory,
        metavar="SIZE",
        help="Address space of each child process; beyond it a task gets a MemoryError.",
    ),
    Argument(
        "--resource",
        action="append",
        metavar="NAME=AMOUNT",
        help="What each process has for tasks that ask for resources, such as gpu=1 or memory=4GiB; may be repeated. "
        "Default: its share of the processors (cpu) and of the memory.",
    ),
    Argument(
        "--label",
        action="append",
        metavar="WORD",
        help="What it is, for tasks that ask for labels, such as ssd or zone=eu; may be repeated.",
    ),
    Argument(
        "--grace",
        type=seconds(0, 3600),
        default=25.0,
        metavar="SECONDS",
        help="How long running jobs may go on after a signal to stop. Default: 25.",
    ),
    Argument(
        "--recycle-jobs",
        type=between(1, 10**9),
        metavar="N",
        help="Replace a process by a fresh one after about so many jobs: up to a tenth earlier, as with the next two, "
        "so that not all are replaced together. The old one finishes what it holds.",
    ),
    Argument(
        "--recycle-age",
        type=seconds(1, 10**8),
        metavar="SECONDS",
        help="Replace a process after about so much time.",
    ),
    Argument(
        "--recycle-memory",
        type=_memory,
        metavar="SIZE",
        help="Replace a process when it uses about so much memory, such as 500MiB.",
    ),
    Argument(
        "--health",
        type=endpoint,
        metavar="[HOST:]PORT",
        help="Answer /healthz and /readyz over HTTP there. Without HOST only to this machine; 0.0.0.0:8080 to all.",
    ),
    Argument(
        "--metrics",
        action="store_true",
        help="Answer /metrics there too: what these workers have counted, for Prometheus. To other machines only with "
        "a token in $WINDLASS_METRICS_TOKEN, which they show as `Authorization: Bearer`.",
    ),
    Argument(
        "--lag-warning",
        type=_lag,
        default=0.5,
        metavar="SECONDS",
        help="Warn when a task blocks the event loop for so long, and name it; 0: never. Default: 0.5.",
    ),
    Argument(
        "--log-level",
        default="info",
        metavar="LEVEL",
        words=("debug", "info", "warning", "error"),
        help="debug, info, warning or error. Default: info.",
    ),
    Argument(
        "--log-format",
        default="plain",
        choices=("plain", "json"),
        help="Lines for people, or JSON objects, with the job that each is about. Default: plain.",
    ),
    examples=[
        ("windlass worker --app shop:app", "One process, all queues that the app's tasks name."),
        (
            "windlass worker --app shop:app --processes 4 -q mail:3 -q reports",
            "Mail is asked first three times of four.",
        ),
        ("windlass worker --app shop:app --health 8080 --recycle-memory 500MiB", "For a cluster: probes, and a bound."),
    ],
    exits={
        0: "Everything was stopped, or drained, cleanly.",
        1: "A process had to be killed, or failed while it stopped.",
        2: "The app, the store or an option is wrong: starting again would not help.",
    },
)
def worker(
    *,
    app: str | None,
    queue: list[str] | None,
    strict: bool,
    concurrency: int,
    processes: int,
    process_slots: int | None,
    max_jobs_per_child: int | None,
    max_memory_per_child: int | None,
    memory_limit_per_child: int | None,
    resource: list[str] | None,
    label: list[str] | None,
    grace: float,
    recycle_jobs: int | None,
    recycle_age: float | None,
    recycle_memory: int | None,
    health: str | None,
    metrics: bool,
    lag_warning: float,
    log_level: str,
    log_format: str,
) -> None:
    """Run workers. SIGTERM or Ctrl-C stops them, a second one at once; SIGHUP replaces them one by one."""
    options = {
        "app": app_place(app),
        "queues": parse_queues(queue) if queue else None,
        "strict": strict,
        "concurrency": concurrency,
        "processes": processes,
        "resources": parse_resources(resource or []),
        "labels": sorted(Offer.of({}, label or []).labels),
        "process_slots": process_slots,
        "max_jobs_per_child": max_jobs_per_child,
        "max_memory_per_child": max_memory_per_child,
        "memory_limit_per_child": memory_limit_per_child,
        "grace": grace,
        "recycle_jobs": recycle_jobs,
        "recycle_age": recycle_age,
        "recycle_memory": recycle_memory,
        "lag_warning": lag_warning,
        "log_level": _level(log_level),
        "log_format": log_format,
        "metrics": metrics,
    }
    supervisor = ["windlass.engine.supervisor", str(processes), str(grace), f"--log-level={_level(log_level)}"]
    supervisor.append(f"--log-format={log_format}")
    if health:
        supervisor.append(f"--health={health}")
    if metrics:
        _check_metrics(health)
        supervisor.append(f"--metrics={FIGURES}")
    _become([*supervisor, "windlass.cli.child", json.dumps(options)])


def _check_metrics(health: str | None) -> None:
    """Raise `WrongUsage`, `MissingExtra` or `InvalidOption` if figures cannot be shown at the endpoint."""
    if health is None:
        raise WrongUsage("--metrics: where? Say --health [HOST:]PORT too")
    if find_spec("prometheus_client") is None:
        raise MissingExtra("--metrics needs prometheus-client: pip install windlass[metrics]")
    check_token(health.rpartition(":")[0], token_here())


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


def parse_resources(given: list[str]) -> dict[str, str]:
    """Read ``name=amount``. Raises `WrongUsage` and `InvalidOption`."""
    resources: dict[str, str] = {}
    for text in given:
        name, equals, amount = text.partition("=")
        if not equals:
            raise WrongUsage(f"--resource {text[:60]!a}: expected NAME=AMOUNT, such as gpu=1 or memory=4GiB")
        if name in resources:
            raise WrongUsage(f"--resource {text[:60]!a}: {name} was given before")
        resources[name] = amount
    Offer.of(resources)
    return resources


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
