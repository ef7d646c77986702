"""How far something has come: a bar on standard error, where somebody watches."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from windlass.core.text import printable


class Bar(NamedTuple):
    """A bar that is wanted."""

    what: str
    total: int | None
    """``None``: nobody knows."""


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


@contextmanager
def reporting(progress: Callable[[int], object] | Bar | None) -> Iterator[Callable[[int], object]]:
    """Show a bar, or tell whoever wants to know."""
    if isinstance(progress, Bar):
        with bar(progress.what, progress.total) as show:
            yield show
    else:
        yield progress or (lambda _: None)
