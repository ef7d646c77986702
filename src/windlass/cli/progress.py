"""Asking whoever watches a command."""

from __future__ import annotations

import sys

from windlass.core.text import printable
from windlass.progress_bar import is_watched


def ask(question: str) -> bool:
    """Ask on standard error, read from standard input; no answer is a no."""
    print(f"{printable(question)} [y/N] ", end="", file=sys.stderr, flush=True)
    try:
        return input().strip().lower() in ("y", "yes")
    except EOFError:
        print(file=sys.stderr)
        return False


def can_ask() -> bool:
    """Whether somebody can answer: standard input and standard error are terminals."""
    return is_watched() and sys.stdin is not None and sys.stdin.isatty()
