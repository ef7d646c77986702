"""What commands print: tables for people, JSON for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from windlass.cli.paint import BOLD, YELLOW, paint, takes_paint
from windlass.core.clock import SECOND, Span
from windlass.core.text import printable

if TYPE_CHECKING:
    from rich.text import Text

WIDE = 100_000
"""Columns of an output that is not a terminal: nothing is cut or folded for `grep`."""

STYLES = {
    "waiting": "dim",
    "scheduled": "cyan",
    "ready": "blue",
    "running": "yellow",
    "succeeded": "green",
    "dead": "bold red",
    "cancelled": "magenta",
    "paused": "yellow",
    "active": "green",
    "ended": "dim",
    "live": "green",
    "draining": "yellow",
    "stopping": "yellow",
    "silent": "bold red",
    "revoked": "bold red",
    "stuck": "bold red",
    "waits": "yellow",
    "starting": "cyan",
    "failed": "bold red",
    "omitted": "dim",
}


def say_json(value: object) -> None:
    """Print one JSON value: a line of its own, or, in a terminal, many."""
    # As ASCII, so that a terminal has nothing to obey: JSON itself allows C1 controls and marks that reverse the text.
    say(json.dumps(value, indent=2 if _is_terminal() else None))


def say(line: str) -> None:
    """Print a line."""
    print(line)


def note(line: str) -> None:
    """Tell people something that is not the answer: to standard error."""
    if sys.stderr is not None:
        print(f"{paint('note:', YELLOW, sys.stderr)} {printable(line)}", file=sys.stderr)


def say_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, whole: Sequence[str] = ()) -> None:
    """Print a table. Columns named in ``whole`` are never cut, however narrow the terminal is."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold", show_header=any(columns))
    for column in columns:
        numeric = column.startswith("#")
        table.add_column(
            column.removeprefix("#").upper(),
            justify="right" if numeric else "left",
            no_wrap=numeric or column in whole,
            overflow="fold",
        )
    for row in rows:
        table.add_row(*(_cell(value) for value in row))
    console = Console(
        width=None if _is_terminal() else WIDE,
        highlight=False,
        color_system="auto" if takes_paint(sys.stdout) else None,
    )
    with console.capture() as shown:
        console.print(table)
    for line in shown.get().splitlines():
        say(line.rstrip())


def say_fields(fields: Iterable[tuple[str, object]]) -> None:
    """Print one thing's fields, a line each; those that are ``None`` or empty are left out."""
    shown = [(name, value) for name, value in fields if value not in (None, "", [])]
    width = max(len(name) for name, _ in shown)
    for name, value in shown:
        text = printable(str(value), lines=True)
        say(paint(f"{name:<{width}}", BOLD) + "  " + text.replace("\n", "\n" + " " * (width + 2)))


def _cell(value: object) -> Text:
    from rich.text import Text

    text = "" if value is None else printable(str(value))
    return Text(text, style=STYLES.get(text, ""))


def _is_terminal() -> bool:
    return sys.stdout is not None and sys.stdout.isatty()


def ago(span: Span) -> str:
    """Write a span in its largest unit: ``12s``, ``3m``, ``5h``, ``2d``."""
    seconds = max(0, span) // SECOND
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"
