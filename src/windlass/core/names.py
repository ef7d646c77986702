"""The grammar of names, checked where a name enters, so that no store, log or page meets a hostile one."""

from __future__ import annotations

import re

from windlass.core.errors import InvalidName

MAX_NAME = 200
"""Longest task or queue name, in characters."""
MAX_KEY = 500
"""Longest unique or limit key, in characters."""

_QUEUE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:@/-]*", re.ASCII)
_TASK = re.compile(r"[\w<][\w.:@/<>-]*")


def check_queue(name: object) -> str:
    """Return ``name``, or raise `InvalidName`: ASCII letters, digits and ``_ . : @ / -``, not starting with a sign."""
    return _check("queue", name, _QUEUE, "letters, digits and _ . : @ / -, starting with a letter, digit or _")


def check_task(name: object) -> str:
    """Return ``name``, or raise `InvalidName`: word characters and ``. : @ / < > -`` (as in ``module.qualname``)."""
    return _check("task", name, _TASK, "word characters and . : @ / < > -, starting with a word character")


def check_schedule(name: object) -> str:
    """Return ``name``, or raise `InvalidName`: as `check_task`."""
    return _check("schedule", name, _TASK, "word characters and . : @ / < > -, starting with a word character")


def check_key(kind: str, key: object) -> str:
    """Return ``key`` (a unique or limit key), or raise `InvalidName`: any printable text of 1 to `MAX_KEY` signs."""
    if not isinstance(key, str) or not 0 < len(key) <= MAX_KEY or not key.isprintable():
        raise InvalidName(f"{kind} key {_shown(key)}: expected 1 to {MAX_KEY} printable characters")
    return key


def check_limit_key(key: object) -> str:
    """Return ``key``, or raise `InvalidName`: ``group`` or ``group:value``, neither empty, printable, and at most
    `MAX_KEY` signs. All behind the first colon is the value."""
    checked = check_key("limit", key)
    if checked.startswith(":") or checked.find(":") == len(checked) - 1:
        raise InvalidName(f"limit key {_shown(key)}: expected group or group:value, neither of them empty")
    return checked


def _check(kind: str, name: object, grammar: re.Pattern[str], allowed: str) -> str:
    if not isinstance(name, str) or len(name) > MAX_NAME or not grammar.fullmatch(name):
        raise InvalidName(f"{kind} name {_shown(name)}: expected 1 to {MAX_NAME} characters: {allowed}")
    return name


def _shown(name: object) -> str:
    text = ascii(name)
    return text if len(text) <= 60 else text[:57] + "..."
