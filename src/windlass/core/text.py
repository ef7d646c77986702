"""Text from strangers, made fit for terminals and logs."""

from __future__ import annotations

INDENT = "\n    "
"""Begins each line of a text within a record of a log, so that none of them looks like a record of its own."""


def printable(text: str, *, lines: bool = False) -> str:
    """Return ``text`` with everything that a terminal would obey, or not show, as an escape: ``\\x1b``, ``\\n``.

    ``lines``: line feeds and tabs stay, for text that has several lines by nature, such as a traceback.
    """
    if text.isprintable():
        return text
    kept = "\n\t" if lines else ""
    return "".join(sign if sign.isprintable() or sign in kept else ascii(sign)[1:-1] for sign in text)


def indented(text: str) -> str:
    """Return the lines of ``text``, printable, each on an indented line of its own; nothing if there are none."""
    return "".join(INDENT + printable(line) for line in text.rstrip("\n").split("\n")) if text.strip() else ""


def shorten(text: str, limit: int) -> str:
    """Return ``text``, or its first ``limit`` - 1 characters and an ellipsis."""
    return text if len(text) <= limit else text[: limit - 1] + "…"
