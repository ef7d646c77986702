"""Lua from files: ``lua/<verb>.lua`` is what a Redis store runs for a verb, ``lua/_*.lua`` what several share.

A line ``--!include _one _other`` is replaced by those files, each inside of a function inside of the one before. (A run
of a script makes all its functions anew, and each of them finds the variables of its surroundings one by one: slowly
those of its own function, at once those of the functions around. As one flat text the largest script took 63 µs to do
nothing.) Comments and indents are dropped, so that they may explain as much as they like; line numbers of errors are
those of the joined text. A function may know 60 variables of those around it; files joined by ``+`` share one.
"""

from __future__ import annotations

import hashlib
import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

_FOLDER = Path(__file__).parent / "lua"
_INCLUDE = re.compile(r"^--!include (.+)$", re.MULTILINE)
_COMMENT = re.compile(r"(?:^|(?<=\s))--[^\n]*$", re.MULTILINE)


class Script(NamedTuple):
    """One verb."""

    name: str
    text: str
    digest: str
    """SHA-1 of the text, by which a server that knows it can be told to run it."""


@cache
def script(name: str) -> Script:
    """Load the script of a verb."""
    text = _read(name)
    include = _INCLUDE.search(text)
    if include is not None:
        parts = ["\n".join(map(_read, names.split("+"))) for names in include[1].split()]
        parts.append(text[include.end() :])
        text = text[: include.start()] + "\nreturn (function()\n".join(parts) + "\nend)()" * (len(parts) - 1)
    lines = (_COMMENT.sub("", line).strip() for line in text.splitlines())
    joined = "\n".join(line for line in lines if line) + "\n"
    return Script(name, joined, hashlib.sha1(joined.encode(), usedforsecurity=False).hexdigest())


def names() -> list[str]:
    """List all verbs that have a script."""
    return sorted(path.stem for path in _FOLDER.glob("[a-z]*.lua"))


def _read(name: str) -> str:
    return (_FOLDER / f"{name}.lua").read_text("utf-8")
