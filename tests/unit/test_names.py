"""The grammar of names."""

import pytest

from windlass.core.errors import InvalidName
from windlass.core.names import MAX_KEY, MAX_NAME, check_key, check_queue, check_task

HOSTILE = [
    "",
    " ",
    "a b",
    "a\nb",
    "a\x00b",
    "\x1b[31m",
    "a'--",
    'a"',
    "a;b",
    "%",
    "é" * 10 + " ",
    "\ud800",
    None,
    5,
    b"q",
]


@pytest.mark.parametrize("name", ["default", "mail", "a.b:c@d/e-f", "0", "_x", "q" * MAX_NAME])
def test_ordinary_queue_names_pass(name: str) -> None:
    assert check_queue(name) == name


@pytest.mark.parametrize("name", [*HOSTILE, "-a", ".a", "ü", "q" * (MAX_NAME + 1)])
def test_other_queue_names_are_refused(name: object) -> None:
    with pytest.raises(InvalidName, match="queue name"):
        check_queue(name)


@pytest.mark.parametrize("name", ["pkg.mod.fn", "mod.f.<locals>.g", "mod.<lambda>", "größe.messen", "os:system"])
def test_names_that_python_gives_are_task_names(name: str) -> None:
    assert check_task(name) == name


@pytest.mark.parametrize("name", [*HOSTILE, "-f", "t" * (MAX_NAME + 1)])
def test_other_task_names_are_refused(name: object) -> None:
    with pytest.raises(InvalidName, match="task name"):
        check_task(name)


@pytest.mark.parametrize("key", ["a", "customer:42", "Zoë's key, with spaces!", "k" * MAX_KEY])
def test_keys_are_any_printable_text(key: str) -> None:
    assert check_key("unique", key) == key


@pytest.mark.parametrize("key", ["", "a\nb", "\x00", "\x1b[0m", "\ud800", "k" * (MAX_KEY + 1), None, 7])
def test_other_keys_are_refused(key: object) -> None:
    with pytest.raises(InvalidName, match="unique key"):
        check_key("unique", key)


def test_a_refusal_shows_the_name_escaped_and_cut() -> None:
    with pytest.raises(InvalidName) as refused:
        check_queue("\x1b[31m" + "x" * 1_000_000)
    assert "\x1b" not in str(refused.value)
    assert len(str(refused.value)) < 300
