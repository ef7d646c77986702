"""Crontabs: what becomes of each line."""

from __future__ import annotations

import pytest

from windlass.core.triggers import Cron
from windlass.crontab import Entry, Skipped, read_crontab

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
