"""How a command that failed says so, and with which exit code."""

from __future__ import annotations

import json
import sys

from windlass.cli.paint import RED, paint
from windlass.core.errors import DuplicateJob, UnknownParent, UsageError, WindlassError
from windlass.core.text import printable

FAILURE = 1
USAGE = 2


class CommandFailed(WindlassError):
    """The command could not be carried out; what it could do has been done and said."""

    exit_code = FAILURE


class WrongUsage(CommandFailed):
    """The command line asks for something that cannot be."""

    exit_code = USAGE


def exit_code_of(error: WindlassError) -> int:
    """Say 2 for what the caller should write differently, 1 for what the world refused."""
    if isinstance(error, CommandFailed):
        return error.exit_code
    if isinstance(error, UsageError) and not isinstance(error, (DuplicateJob, UnknownParent)):
        return USAGE
    return FAILURE


def report(kind: str, message: str, *, as_json: bool) -> None:
    """Write an error to standard error: one line for people, one object for programs."""
    if sys.stderr is None:
        return
    if as_json:
        line = json.dumps({"error": {"type": kind, "message": message}})
    else:
        line = f"{paint('error:', RED, sys.stderr)} {printable(message.strip(), lines=True)}"
    try:
        print(line, file=sys.stderr)
    except OSError:
        pass  # nobody reads it; the exit code still tells
