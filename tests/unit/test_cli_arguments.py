"""Reading a command line."""

import pytest

from windlass.cli.arguments import Argument, Command, Group, between, command
from windlass.cli.errors import WrongUsage
from windlass.cli.worker import parse_queues
from windlass.core.errors import InvalidName

CALLS: list[dict[str, object]] = []


@command(
    Argument("task", metavar="TASK", help="What."),
    Argument("rest", nargs="*", metavar="ARG", help="More."),
    Argument("-q", "--queue", metavar="NAME", help="Where."),
    Argument("--count", type=between(1, 3), default=2, metavar="N", help="How many."),
    examples=[("windlass act t", "Do it to t.")],
    exits={1: "It fell over."},
)
def act(**given: object) -> None:
    """Do a thing. In detail."""
    CALLS.append(given)


def read(*given: str) -> dict[str, object]:
    act.run("windlass act", given)
    return CALLS.pop()


def test_options_may_stand_anywhere() -> None:
    expected = {"task": "t", "rest": ["1", "2"], "queue": "q", "count": 3}
    assert read("t", "1", "2", "-q", "q", "--count=3") == expected
    assert read("-q", "q", "t", "1", "--count", "3", "2") == expected
    assert read("t", "--queue=q", "1", "--count", "3", "2") == expected


def test_defaults_and_what_looks_like_an_option() -> None:
    assert read("t") == {"task": "t", "rest": [], "queue": None, "count": 2}
    assert read("t", "-1", "-2.5")["rest"] == ["-1", "-2.5"]
    assert read("t", "--", "-x", "--help")["rest"] == ["-x", "--help"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((), "the following arguments are required: TASK"),
        (("t", "--count", "4"), "argument --count: '4': expected a whole number from 1 to 3"),
        (("t", "--count", "1.5"), "argument --count: '1.5': expected a whole number from 1 to 3"),
        (("t", "--coun", "2"), "unrecognized arguments: --coun 2"),
        (("t", "--queue"), "argument -q/--queue: expected one argument"),
    ],
)
def test_a_wrong_command_line_is_said(given: tuple[str, ...], message: str) -> None:
    with pytest.raises(WrongUsage) as caught:
        act.run("windlass act", given)
    assert str(caught.value) == f"{message} (see: windlass act --help)"


def test_the_help_of_a_command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    act.run("windlass act", ["--help"])
    assert capsys.readouterr().out == (
        "usage: windlass act [OPTIONS] TASK [ARG...]\n\nDo a thing. In detail.\n\n"
        "arguments:\n  TASK      What.\n  [ARG...]  More.\n\n"
        "options:\n  -q, --queue NAME  Where.\n  --count N         How many.\n  --help            Show this.\n\n"
        "examples:\n  windlass act t\n      Do it to t.\n\n"
        "exit codes:\n  0  It is done.\n  1  It fell over.\n"
        "  2  The command line asks for something that cannot be.\n"
    )


def test_a_group_finds_its_command_or_says_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    group = Group("Things.", act=act, other=Command(lambda: None, ()))
    group.run("windlass things", ["act", "t"])
    assert CALLS.pop()["task"] == "t"
    group.run("windlass things", ["--help"])
    assert "  act    Do a thing." in capsys.readouterr().out
    with pytest.raises(WrongUsage, match=r"there is no command 'atc'; did you mean 'act'\?"):
        group.run("windlass things", ["atc"])
    with pytest.raises(WrongUsage, match="which command"):
        group.run("windlass things", [])


def test_queues_with_and_without_weights() -> None:
    assert parse_queues(["a", "b:3", "c:d"]) == {"a": 1, "b": 3, "c:d": 1}
    assert parse_queues(["c:d:2"]) == {"c:d": 2}
    for wrong in (["a:0"], ["a:101"], ["a", "a:2"]):
        with pytest.raises(WrongUsage):
            parse_queues(wrong)
    with pytest.raises(InvalidName):
        parse_queues(["a b"])
