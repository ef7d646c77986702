"""Cron expressions as English sentences, by cron-descriptor; what it reads otherwise than we do is put in its words
before, or mended after."""

from __future__ import annotations

import itertools
import re

from windlass.core.cron import MACROS

_LOWEST = (0, 0, 0, 1, 1, 0)
_WIDTHS = (60, 60, 24, 31, 12, 7)
"""Seconds, minutes, hours, days, months, weekdays: the lowest of each, and how many there are."""
_STEP = re.compile(r"(\*|\d+|(\d+)-(\d+))/(\d+)")
_WEEKDAY = re.compile(
    r", (?:or )?(on the \w+ (?!week)\w+day of the month|on \w+day|every \d+ days of the week|\w+day through)"
)
"""How the part of a sentence begins that names weekdays."""
_DAYS, _WEEKDAYS = -3, -1


def sentence_of(expression: str) -> str:
    """Say when an expression fires; one that is beyond the words as it is written."""
    fields = MACROS.get(expression.strip().lower(), expression).upper().split()
    skipped = 6 - len(fields)
    both = not any(fields[at].startswith(("*", "?")) for at in (_DAYS, _WEEKDAYS))
    fields = [_plain(field, _LOWEST[at], _WIDTHS[at]) for at, field in enumerate(fields, skipped)]
    # The library knows lists of plain days and weekdays only.
    days, weekdays = (_apart(fields[at], marks) for at, marks in ((_DAYS, "LW"), (_WEEKDAYS, "L#")))
    try:
        found = [
            _say([*fields[:_DAYS], day, fields[-2], weekday], either=both)
            for day, weekday in itertools.product(days, weekdays)
        ]
    except Exception:  # noqa: BLE001 - a sentence that cannot be had must not keep anybody from looking at a schedule
        return f"Cron {expression.strip()}"
    said = "; and ".join(found)
    return said[0].upper() + said[1:]


def _plain(field: str, lowest: int, width: int) -> str:
    """A field without what the library takes for something else."""
    items = field.replace("?", "*").split(",")
    return "*" if "*" in items else ",".join(_without_wide_step(item, lowest, width) for item in items)


def _without_wide_step(item: str, lowest: int, width: int) -> str:
    """A step that leads out of its range at once is the first number of it."""
    step = _STEP.fullmatch(item)
    if step is None:
        return item
    first = lowest if step[1] == "*" else int(step[2] or step[1])
    last = int(step[3]) if step[3] else lowest + width - 1
    return str(first) if first <= last < first + int(step[4]) else item


def _apart(field: str, marks: str) -> list[str]:
    return field.split(",") if any(mark in field for mark in marks) else [field]


def _say(fields: list[str], *, either: bool) -> str:
    """``either``: a day that the days or the weekdays name will do. Else both must have it: where one of them begins
    with a star, it only leaves days out."""
    from cron_descriptor import Options, get_description

    options = Options()
    options.use_24hour_time_format = True
    options.verbose = True
    found: str = get_description(" ".join(fields), options)
    days, weekdays = fields[_DAYS], fields[_WEEKDAYS]
    if re.fullmatch(r"L-\d+W", days):
        found = re.sub(r"(\d+ days before the last day)", r"on the weekday nearest to \1", found)
    if "*" not in (days, weekdays):
        found = _WEEKDAY.sub(r", or \1" if either else r", but only \1", found)
    return found[0].lower() + found[1:]
