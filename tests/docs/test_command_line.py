"""The reference of the command line knows every command and option, and no other."""

import importlib
import re
import shlex

from tests.docs.pages import ROOT
from windlass.cli.arguments import Command, Group, Parser
from windlass.cli.main import COMMANDS

PAGE = (ROOT / "docs/reference/command-line.md").read_text()
EVERYWHERE = {"--app", "--url", "--json", "--help"}


def leaves() -> dict[str, Command]:
    """Every command by its words."""
    found: dict[str, Command] = {}
    for name in COMMANDS:
        command = importlib.import_module(f"windlass.cli.{name}").COMMAND
        if isinstance(command, Group):
            found |= {f"{name} {verb}": one for verb, one in command.commands.items()}
        else:
            found[name] = command
    return found


def test_the_page_has_every_command_with_its_options() -> None:
    rows = {}
    for row in re.findall(r"^\| (`.+?) \|(.*)$", PAGE, re.MULTILINE):
        for words in re.findall(r"`([a-z ]+?)(?: [A-Z\[].*?)?`", row[0]):
            rows[words] = set(re.findall(r"--[a-z-]+", row[1])) - EVERYWHERE
    assert rows == {
        words: {name for one in command.arguments for name in one.names if name.startswith("--")} - EVERYWHERE
        for words, command in leaves().items()
    }


def test_every_command_explains_itself_in_a_sentence() -> None:
    for words, command in leaves().items():
        assert re.fullmatch(r"[A-Z].{5,60}\.", command.summary), words
        assert all(one.help.endswith(".") for one in command.arguments), words


def test_every_command_has_an_example_of_itself() -> None:
    for words, command in leaves().items():
        assert command.examples, words
        for line, text in command.examples:
            assert line.startswith(f"windlass {words}"), line
            assert re.fullmatch(r"[A-Z].+[.?]", text), line
            assert len(line) <= 100, line


def test_every_command_says_what_its_exit_codes_mean() -> None:
    for words, command in leaves().items():
        assert {0, 1, 2} <= set(command.exits), words
        assert all(text.endswith(".") for text in command.exits.values()), words


def test_whatever_answers_has_json() -> None:
    """A worker answers nothing; a completion script, figures for Prometheus, and pages have a form of their own."""
    without = {
        words for words, command in leaves().items() if not any("--json" in one.names for one in command.arguments)
    }
    assert without == {"worker", "completion", "metrics", "ui"}


def test_an_example_is_a_command_line_that_can_be_read() -> None:
    for words, command in leaves().items():
        for line, _ in command.examples:
            given = shlex.split(re.split(r" [|<>] ", line)[0])[1 + len(words.split()) :]
            parser = Parser(prog=words, add_help=False, allow_abbrev=False)
            for argument in command.arguments:
                argument.add_to(parser)
            parser.parse_intermixed_args(given)
