"""Text from strangers, made fit for terminals and logs."""

from __future__ import annotations


def printable(text: str, *, lines: bool = False) -> str:
    """Return ``text`` with everything that a terminal would obey, or not show, as an escape: ``\\x1b``, ``\\n``.

    ``lines``: line feeds and tabs stay, for text that has several lines by nature, such as a traceback.
    """
    if text.isprintable():
        return text
    kept = "\n\t" if lines else ""
    return "".join(sign if sign.isprintable() or sign in kept else ascii(sign)[1:-1] for sign in text)


def shorten(text: str, limit: int) -> str:
    """Return ``text``, or its first ``limit`` - 1 characters and an ellipsis."""
    return text if len(text) <= limit else text[: limit - 1] + "…"
