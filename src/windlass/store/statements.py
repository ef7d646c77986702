"""SQL from named files: ``sql/<dialect>/*.sql`` holds statements, ``sql/<dialect>/migrations/*.sql`` the layout,
``sql/<dialect>/functions/*.sql`` what runs inside the server.

A statement begins at a line ``-- name: what_it_does`` and ends before the next one. Other comments are dropped, so
that they may explain as much as they like.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

_FOLDER = Path(__file__).parent / "sql"
# Not importlib.resources: it imports tempfile, zipfile and their kin into every worker. The package is plain files.
_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)
_COMMENT = re.compile(r"--[^\n]*")
_SPACE = re.compile(r"\s+")


class Migration(NamedTuple):
    """One step of the stored layout."""

    version: int
    """The version that the layout has after it."""
    title: str
    script: str

    @property
    def spares_workers(self) -> bool:
        """Whether code of the layout before goes on beside that of this one: the script says so in its first line.

        It adds what older code can do without, and each function that older code calls is there as it was, or with the
        same arguments and the same kind of answer."""
        return self.script.startswith("-- Workers of the layout before go on.")


@cache
def statements(dialect: str) -> Mapping[str, str]:
    """Load all named statements of a dialect; a name that is used twice is an error."""
    found: dict[str, str] = {}
    for file in sorted((_FOLDER / dialect).glob("*.sql")):
        _, *parts = _NAME.split(file.read_text("utf-8"))
        for name, text in zip(parts[::2], parts[1::2], strict=True):
            if name in found:
                raise ValueError(f"{dialect}: two statements are called {name}")
            found[name] = _SPACE.sub(" ", _COMMENT.sub("", text)).strip().rstrip(";")
    return found


@cache
def migrations(dialect: str) -> tuple[Migration, ...]:
    """Load the migrations of a dialect, in order. A file is called ``0001_what_it_does.sql``."""
    steps = []
    for file in sorted((_FOLDER / dialect / "migrations").glob("*.sql")):
        number, _, title = file.stem.partition("_")
        steps.append(Migration(int(number), title.replace("_", " "), file.read_text("utf-8")))
    return tuple(steps)


@cache
def functions(dialect: str) -> tuple[str, ...]:
    """Load the scripts with the functions of a dialect that has such, in the order of their files' names."""
    return tuple(file.read_text("utf-8") for file in sorted((_FOLDER / dialect / "functions").glob("*.sql")))
