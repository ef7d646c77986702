"""``windlass completion``: what a shell needs to know to complete our command lines.

The script is static: a shell that completes starts no Python. shtab writes it, from the declarations from which the
commands are parsed and explained.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from windlass.cli.arguments import Argument, Command, Group, command
from windlass.cli.errors import WrongUsage
from windlass.cli.output import say
from windlass.core.errors import MissingExtra

if TYPE_CHECKING:
    from collections.abc import Mapping

SHELLS = ("bash", "zsh", "fish")


@command(
    Argument("shell", metavar="SHELL", words=SHELLS, help="bash, zsh or fish."),
    examples=[
        ("windlass completion bash > ~/.local/share/bash-completion/completions/windlass", "For bash."),
        ('windlass completion zsh > "${fpath[1]}/_windlass"', "For zsh, before compinit runs."),
        ("windlass completion fish > ~/.config/fish/completions/windlass.fish", "For fish."),
    ],
)
def completion(*, shell: str) -> None:
    """Print completions for a shell. Commands, options, and the words that some of them take.

    Needs shtab: pip install windlass[completion]. The script knows this version's commands; write it anew after an
    upgrade.
    """
    if shell not in SHELLS:
        raise WrongUsage(f"{shell!a}: expected {', '.join(SHELLS)}")
    try:
        import shtab
    except ImportError:
        raise MissingExtra("windlass completion needs shtab: pip install windlass[completion]") from None
    from windlass.cli.main import commands

    say(shtab.complete(_parser(commands()), shell=shell))


def _parser(commands: Mapping[str, Command | Group]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="windlass")
    parser.add_argument("--version", action="store_true", help="Show the version.")
    _add(parser, commands)
    return parser


def _add(parser: argparse.ArgumentParser, commands: Mapping[str, Command | Group]) -> None:
    parsers = parser.add_subparsers()
    for name, found in commands.items():
        inner = parsers.add_parser(name, help=found.summary)
        if isinstance(found, Group):
            _add(inner, found.commands)
        else:
            for argument in found.arguments:
                argument.complete(inner)


COMMAND = completion
