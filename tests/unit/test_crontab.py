"""Crontabs: what becomes of each line."""

from __future__ import annotations

import pytest

from windlass.core.names import check_schedule
from windlass.core.triggers import Cron
from windlass.crontab import Entry, Skipped, named, read_crontab

TEXT = r"""
# m h  dom mon dow   command
MAILTO=ops@example.org
17 *	* * *	cd / && run-parts --report /etc/cron.hourly
@daily   /usr/local/bin/backup --to "a b"
CRON_TZ = "Asia/Seoul"
0 12 * * mon-fri report --date \%F
@reboot /usr/local/bin/start
30 6 31 2 * never
61 * * * * wrong
* * * *
0 0 * * * mail root%hello
CRON_TZ=Mars/Base
0 0 * * * lost
"""


def test_every_line_is_read_or_skipped_with_a_reason() -> None:
    found = list(read_crontab(TEXT, tz="Europe/Berlin"))
    assert [one for one in found if isinstance(one, Entry)] == [
        Entry(4, Cron("17 *\t* * *", tz="Europe/Berlin"), "cd / && run-parts --report /etc/cron.hourly"),
        Entry(5, Cron("@daily", tz="Europe/Berlin"), '/usr/local/bin/backup --to "a b"'),
        Entry(7, Cron("0 12 * * mon-fri", tz="Asia/Seoul"), "report --date %F"),
    ]
    skipped = {one.line: one.why for one in found if isinstance(one, Skipped)}
    assert list(skipped) == [3, 8, 9, 10, 11, 12, 14]
    for line, words in (
        (3, "set MAILTO"),
        (8, "where your program starts"),
        (9, "never fire"),
        (10, "61 is out of range"),
        (11, "five fields and a command"),
        (12, "input"),
        (14, "no such time zone"),
    ):
        assert words in skipped[line]


@pytest.mark.parametrize("text", ["", "\n\n", "# nothing", "   # nothing  "])
def test_nothing(text: str) -> None:
    assert list(read_crontab(text)) == []


def test_time_zones_of_the_commands_are_settings_like_others() -> None:
    found = list(read_crontab("TZ=Asia/Seoul\n0 0 * * * backup\n", tz="Europe/Berlin"))
    assert found == [
        Skipped(1, "TZ=Asia/Seoul", "set TZ where the task runs"),
        Entry(2, Cron("0 0 * * *", tz="Europe/Berlin"), "backup"),
    ]


def _named(text: str) -> dict[str, str]:
    entries = [one for one in read_crontab(text) if isinstance(one, Entry)]
    return {name: one.command for name, one in named(entries, "crontab").items()}


def test_a_line_keeps_its_name_wherever_it_stands() -> None:
    before = _named("0 1 * * * /usr/bin/a --x\n0 2 * * * b\n0 3 * * * c\n0 4 * * * b\n")
    after = _named("0 5 * * * c\n0 2 * * * b\n")
    assert len(before) == 4
    assert after.items() < before.items()
    assert next(iter(before)).startswith("crontab:a-")


def test_names_are_names_whatever_the_command() -> None:
    commands = ["\U0001f4a9/", "/", "x" * 300, "$(echo) >/dev/null", "-"]
    for name in _named("".join(f"0 1 * * * {command}\n" for command in commands)):
        assert check_schedule(name) == name


@pytest.mark.parametrize("sign", ["\x0c", "\x0b", "\x85", "\u2028"])
def test_a_line_ends_where_cron_ends_it(sign: str) -> None:
    assert list(read_crontab(f"0 5 * * * a{sign}--x\r\n")) == [Entry(1, Cron("0 5 * * *"), f"a{sign}--x")]
