"""Text from strangers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from windlass.core.text import indented, printable, shorten


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, Grüße, 안녕", "plain, Grüße, 안녕"),
        ("\x1b[31m", r"\x1b[31m"),
        ("a\nb\tc", r"a\nb\tc"),
        ("\x9b31m", r"\x9b31m"),
        ("\u202eevil", r"\u202eevil"),
        ("\ud800", r"\ud800"),
        ("\U000e0001", r"\U000e0001"),
    ],
)
def test_what_a_terminal_would_obey_or_hide_is_shown(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(st.text())
def test_nothing_is_left_that_a_terminal_would_obey(text: str) -> None:
    assert printable(text).isprintable()
    assert all(sign.isprintable() or sign in "\n\t" for sign in printable(text, lines=True))


def test_lines_stay_where_text_has_lines() -> None:
    assert printable("a\n\tb\r\x00", lines=True) == "a\n\tb\\r\\x00"


@pytest.mark.parametrize(("text", "shown"), [("", ""), ("abcd", "abcd"), ("abcde", "abc…")])
def test_shortened_text_is_never_longer_than_the_limit(text: str, shown: str) -> None:
    assert shorten(text, 4) == shown


@given(st.text())
def test_no_line_of_an_indented_text_begins_at_the_margin(text: str) -> None:
    before, *lines = indented(text).split("\n")
    assert not before
    assert all(line.startswith("    ") and line.isprintable() for line in lines)


def test_an_indented_text_keeps_its_lines() -> None:
    assert indented("a\n  b\n\nc\n") == "\n    a\n      b\n    \n    c"
    assert not indented(" \n")
