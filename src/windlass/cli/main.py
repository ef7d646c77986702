"""Finds the command that the command line names, and turns every end of it into an exit code."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

from windlass.cli.arguments import Command, Group, choose
from windlass.cli.errors import FAILURE, CommandFailed, WrongUsage, exit_code_of, report
from windlass.core.errors import WindlassError

COMMANDS = (
    "worker",
    "enqueue",
    "jobs",
    "queues",
    "tasks",
    "limits",
    "workers",
    "schedules",
    "workflows",
    "deploy",
    "doctor",
    "migrate",
    "metrics",
    "ui",
    "users",
    "tokens",
    "bench",
    "completion",
)
"""Each is a module of this package with a ``COMMAND``, imported when it is asked for."""

SUMMARY = "Distributed task scheduling: run workers, enqueue jobs, look after queues. Also: --version, --help."

INTERRUPTED = 130


def run(given: Sequence[str]) -> int:
    """Carry out one command line; answers the exit code: 0 ok, 1 failure, 2 usage."""
    as_json = "--json" in given
    try:
        _dispatch(given)
        if sys.stdout is not None:
            sys.stdout.flush()
    except WindlassError as error:
        report(_kind_of(error), str(error), as_json=as_json)
        return exit_code_of(error)
    except BrokenPipeError:
        _forget_stdout()
        return FAILURE
    except OSError as error:
        _forget_stdout()
        report(type(error).__name__, str(error), as_json=as_json)
        return FAILURE
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


def _kind_of(error: WindlassError) -> str:
    """Name an error for programs: a class that ``windlass`` exports, or ``CommandFailed``."""
    if isinstance(error, WrongUsage):
        return "UsageError"
    public = (
        kind for kind in type(error).__mro__ if kind is CommandFailed or kind.__module__ == WindlassError.__module__
    )
    return next(public).__name__


def _dispatch(given: Sequence[str]) -> None:
    if given and given[0] in COMMANDS:
        _find(given[0]).run(f"windlass {given[0]}", given[1:])
    elif "--version" in given[:1]:
        from importlib.metadata import version

        print(f"windlass {version('windlass')}")
    else:
        choose("windlass", given, SUMMARY, [(name, found.summary) for name, found in commands().items()])


def commands() -> dict[str, Command | Group]:
    """All commands by name. Imports all of them."""
    return {name: _find(name) for name in COMMANDS}


def _find(name: str) -> Command | Group:
    found: Command | Group = importlib.import_module(f"windlass.cli.{name}").COMMAND
    return found


def _forget_stdout() -> None:
    """Nobody reads our output any more: what is still buffered must not raise when the interpreter ends."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    except OSError:
        pass
