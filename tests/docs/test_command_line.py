"""The reference of the command line knows every command and option, and no other."""

import importlib
import re

from tests.docs.pages import ROOT
from windlass.cli.arguments import Command, Group
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
