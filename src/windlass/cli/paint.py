"""Colour for people: only in a terminal, and not with ``NO_COLOR``."""

from __future__ import annotations

import os
import sys
from typing import TextIO

BOLD = "1"
RED = "1;31"
YELLOW = "33"


def paint(text: str, style: str, stream: TextIO | None = None) -> str:
    """Give text a style where the stream (standard output) takes it."""
    return f"\x1b[{style}m{text}\x1b[0m" if takes_paint(stream or sys.stdout) else text


def takes_paint(stream: TextIO | None) -> bool:
    """Whether the stream is a terminal in which people want colours."""
    if stream is None or not stream.isatty():
        return False
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
