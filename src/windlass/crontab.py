"""Reading a crontab: its lines, as triggers and commands."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import NamedTuple

from windlass.core.errors import InvalidCron, InvalidOption
from windlass.core.triggers import Cron

_SETTING = re.compile(r"([A-Za-z_]\w*)\s*=\s*(.*)")
_WORD = re.compile(r"(@\w+)\s+(\S.*)")
_FIELDS = re.compile(r"((?:\S+\s+){5})(\S.*)")
_UNFIT = re.compile(r"[^A-Za-z0-9_.]+")
_PERCENT = re.compile(r"(?<!\\)%")


class Entry(NamedTuple):
    """One line that runs a command."""

    line: int
    trigger: Cron
    command: str


class Skipped(NamedTuple):
    """One line that does not, for a reason."""

    line: int
    text: str
    why: str
    wrong: bool = False
    """It is meant to be one, and cannot be read."""


def named(entries: Iterable[Entry], prefix: str) -> dict[str, Entry]:
    """Name lines by their commands, so that a line keeps its name wherever in the file it comes to stand: the prefix,
    the program, and eight digits of the whole. Of several lines with the same command each has a name of its own."""
    found: dict[str, Entry] = {}
    seen: Counter[str] = Counter()
    for entry in entries:
        seen[entry.command] += 1
        whole = f"{entry.command}\0{seen[entry.command]}".encode("utf-8", "surrogateescape")
        program = _UNFIT.sub("-", entry.command.split()[0].rpartition("/")[2])[:40].strip("-") or "command"
        found[f"{prefix}:{program}-{sha256(whole).hexdigest()[:8]}"] = entry
    return found


def read_crontab(text: str, tz: str | None = None) -> Iterator[Entry | Skipped]:
    """Read the lines of a user's crontab. ``tz``: whose clocks its times mean, where no ``CRON_TZ`` says so.

    What a schedule cannot do is skipped with the reason: ``@reboot``, settings other than ``CRON_TZ``, lines that are
    wrong. Of a command with ``%`` only what stands before it is the command; the rest was its standard input."""
    for number, raw in enumerate(text.split("\n"), 1):  # as cron does: other signs that end a line may stand in one
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        setting = _SETTING.fullmatch(line)
        if setting is not None:
            if setting[1] == "CRON_TZ":
                tz = setting[2].strip().strip("\"'")
            else:
                yield Skipped(number, line, f"set {setting[1]} where the task runs")
            continue
        yield _entry(number, line, tz)


def _entry(number: int, line: str, tz: str | None) -> Entry | Skipped:
    match = _WORD.fullmatch(line) or _FIELDS.fullmatch(line)
    if match is None:
        return Skipped(number, line, "expected five fields and a command", wrong=True)
    if match[1].strip().lower() == "@reboot":
        return Skipped(number, line, "there is no schedule for a start; enqueue the job where your program starts")
    command, *given = _PERCENT.split(match[2], maxsplit=1)
    if given:
        return Skipped(number, line, "what stands behind % is the command's input; write it into the command")
    try:
        return Entry(number, Cron(match[1].strip(), tz=tz), command.replace("\\%", "%").strip())
    except InvalidCron as error:
        return Skipped(number, line, str(error).splitlines()[0], wrong=True)
    except InvalidOption as error:
        return Skipped(number, line, str(error), wrong=True)
