"""Lua from files: ``lua/<verb>.lua`` is what a Redis store runs for a verb, ``lua/_*.lua`` what several share.

A line ``--!include _one _other`` is replaced by those files. Comments and indents are dropped, so that they may explain
as much as they like; line numbers of errors are those of the joined text.
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
    text = _INCLUDE.sub(_included, _read(name))
    lines = (_COMMENT.sub("", line).strip() for line in text.splitlines())
    joined = "\n".join(line for line in lines if line) + "\n"
    return Script(name, joined, hashlib.sha1(joined.encode(), usedforsecurity=False).hexdigest())


def names() -> list[str]:
    """List all verbs that have a script."""
    return sorted(path.stem for path in _FOLDER.glob("[a-z]*.lua"))


def _included(match: re.Match[str]) -> str:
    return "\n".join(_read(name) for name in match[1].split())


def _read(name: str) -> str:
    return (_FOLDER / f"{name}.lua").read_text("utf-8")
