"""How far a command has come: a bar on standard error, where somebody watches."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from windlass.core.text import printable


def is_watched() -> bool:
    """Whether standard error is a terminal."""
    return sys.stderr is not None and sys.stderr.isatty()


@contextmanager
def bar(what: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """Show a bar for as long as the block runs, if somebody watches; gives a function that takes how many are done.

    Args:
        what: what is done.
        total: how many there are; ``None``: nobody knows yet.
    """
    if not is_watched():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = [TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()]
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(printable(what), total=total)
        yield lambda done: progress.update(task, completed=done)


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
