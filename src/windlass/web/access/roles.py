"""Who may do what."""

from __future__ import annotations

from enum import IntEnum
from typing import Literal

import msgspec

from windlass.core.errors import InvalidOption


class Role(IntEnum):
    """What somebody may do; each may do what those below may."""

    VIEWER = 1
    """Look."""
    OPERATOR = 2
    """Steer what runs: cancel, replay, pause, fire, drain; enqueue jobs, and start runs."""
    ADMIN = 3
    """Delete, and decide who may come in."""

    @property
    def word(self) -> str:
        """Its name, as people write it."""
        return self.name.lower()


def read_role(word: str) -> Role:
    """Read ``"viewer"``, ``"operator"`` or ``"admin"``. Raises `InvalidOption`."""
    try:
        return Role[word.upper()]
    except KeyError:
        raise InvalidOption(f"role {word[:40]!a}: expected viewer, operator or admin") from None


class Visitor(msgspec.Struct, frozen=True, kw_only=True):
    """Whose request it is."""

    name: str
    role: Role
    how: Literal["local", "session", "token", "host"]
    """How that is known: nobody has to log in on this machine; a browser's session; a bearer token; the application
    into which the site is mounted says so."""
    csrf: str = ""
    """What pages have to send along with what changes anything; empty where nothing has to be."""
