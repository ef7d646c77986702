"""How a command declares its arguments, reads them, and explains them.

The parsing is argparse's: it loads in a fifth of the time of the libraries that build on it, and that time is part of
every worker's start. The help is ours, so that it reads the same on every version of Python.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from windlass.cli.errors import WrongUsage

EXITS = {
    0: "It is done.",
    1: "It could not be done, or not all of it; standard error says why.",
    2: "The command line asks for something that cannot be.",
}
"""What exit codes mean, unless a command says more."""


_ENDPOINT = re.compile(r"(?:(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+):)?([0-9]{1,5})")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


class Argument:
    """One option or positional argument: as `argparse.ArgumentParser.add_argument`, with a ``help`` that is shown.

    ``words``: what a shell may offer for it.
    """

    def __init__(self, *names: str, help: str, metavar: str = "", words: Sequence[str] = (), **options: Any) -> None:
        self.names = names
        self.help = help
        self.metavar = metavar
        self.words = words
        self.options = options

    @property
    def is_option(self) -> bool:
        """Whether it is named on the command line."""
        return self.names[0].startswith("-")

    @property
    def shown(self) -> str:
        """The argument as help and usage write it."""
        if self.is_option:
            return f"{', '.join(self.names)} {self.metavar}".rstrip()
        many = "..." if self.options.get("nargs") in ("*", "+") else ""
        return f"[{self.metavar}{many}]" if self.options.get("nargs") == "*" else self.metavar + many

    def add_to(self, parser: argparse.ArgumentParser) -> argparse.Action:
        """Declare it to argparse."""
        options = dict(self.options)
        if self.metavar:
            options["metavar"] = self.metavar
        if options.get("nargs") == "*":
            options["default"] = []  # or argparse calls it required
        return parser.add_argument(*self.names, **options)

    def complete(self, parser: argparse.ArgumentParser) -> None:
        """Declare it to a parser that only completes: with its help, and the words that it takes."""
        action = self.add_to(parser)
        action.help = self.help
        action.choices = self.words or None


class Parser(argparse.ArgumentParser):
    """Raises `WrongUsage` where argparse would print and exit."""

    def error(self, message: str) -> NoReturn:
        """See `argparse.ArgumentParser.error`."""
        raise WrongUsage(f"{message} (see: {self.prog} --help)")


class Command:
    """A function that a command line can call; its docstring is its help."""

    def __init__(
        self,
        function: Callable[..., None],
        arguments: Sequence[Argument],
        examples: Sequence[tuple[str, str]] = (),
        exits: Mapping[int, str] = EXITS,
    ) -> None:
        self._function = function
        self.arguments = arguments
        self.examples = examples
        self.exits = dict(sorted((EXITS | dict(exits)).items()))
        self._text = "\n".join(line.strip() for line in (function.__doc__ or "").strip().splitlines())

    @property
    def summary(self) -> str:
        """The first sentence of its help."""
        return self._text.partition(". ")[0].partition(".\n")[0].rstrip(".") + "."

    def run(self, prog: str, given: Sequence[str]) -> None:
        """Read the arguments and call the function with them, or print the help."""
        if _asks_for_help(given):
            print(self._help(prog))
            return
        parser = Parser(prog=prog, add_help=False, allow_abbrev=False)
        for argument in self.arguments:
            argument.add_to(parser)
        self._function(**vars(parser.parse_intermixed_args(given)))

    def _help(self, prog: str) -> str:
        positional = [argument for argument in self.arguments if not argument.is_option]
        options = [(one.shown, one.help) for one in self.arguments if one.is_option]
        parts = [
            " ".join([_title("usage:"), prog, "[OPTIONS]", *(argument.shown for argument in positional)]),
            *(_fill(paragraph) for paragraph in self._text.split("\n\n")),
        ]
        if positional:
            parts.append(_title("arguments:") + "\n" + table((one.shown, one.help) for one in positional))
        parts.append(_title("options:") + "\n" + table([*options, ("--help", "Show this.")]))
        if self.examples:
            shown = (f"  {line}\n      {text}" for line, text in self.examples)
            parts.append(_title("examples:") + "\n" + "\n".join(shown))
        parts.append(_title("exit codes:") + "\n" + table((str(code), text) for code, text in self.exits.items()))
        return "\n\n".join(parts)


class Group:
    """Commands behind a common word: ``windlass jobs ls``."""

    def __init__(self, summary: str, **commands: Command) -> None:
        self.summary = summary
        self.commands = commands

    def run(self, prog: str, given: Sequence[str]) -> None:
        """Run the command that the first argument names, or print what there is."""
        if given and given[0] in self.commands:
            self.commands[given[0]].run(f"{prog} {given[0]}", given[1:])
            return
        listed = [(name, command.summary) for name, command in self.commands.items()]
        choose(prog, given, self.summary, listed)


def command(
    *arguments: Argument, examples: Sequence[tuple[str, str]] = (), exits: Mapping[int, str] = EXITS
) -> Callable[[Callable[..., None]], Command]:
    """Make a function a `Command` with these arguments; it gets them as keywords.

    Args:
        arguments: what it takes.
        examples: command lines, each with a sentence that says what it does.
        exits: what exit codes mean, where they mean more than `EXITS` says.
    """
    return lambda function: Command(function, arguments, examples, exits)


def choose(prog: str, given: Sequence[str], summary: str, commands: Sequence[tuple[str, str]]) -> None:
    """Print the help that lists the commands. Raises `WrongUsage` where something else was meant."""
    usage, listed = _title("usage:"), _title("commands:")
    text = f"{usage} {prog} COMMAND [OPTIONS]\n\n{_fill(summary)}\n\n{listed}\n{table(commands)}"
    if _asks_for_help(given):
        print(text)
    elif not given:
        raise WrongUsage(f"which command?\n\n{text}")
    else:
        raise WrongUsage(f"there is no command {given[0]!a}{guess(given[0], [name for name, _ in commands])}")


def guess(word: str, known: Sequence[str]) -> str:
    """Say which of the known words may have been meant, or which there are."""
    import difflib  # here: only mistakes need it

    close = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; there are {', '.join(known)}"


def between(low: int, high: int) -> Callable[[str], int]:
    """Make a reader of whole numbers, with bounds that a message can name."""

    def read(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = high + 1
        if not low <= number <= high:
            raise argparse.ArgumentTypeError(f"{text[:40]!a}: expected a whole number from {low} to {high}")
        return number

    return read


def endpoint(text: str) -> str:
    """Read ``port`` or ``host:port``; answers the latter. Only who names another host is reached from outside."""
    found = _ENDPOINT.fullmatch(text)
    if not found or int(found[2]) > 65535:
        raise argparse.ArgumentTypeError(f"{text[:60]!a}: expected PORT or HOST:PORT, such as 8080 or 0.0.0.0:8080")
    return f"{(found[1] or '127.0.0.1').strip('[]')}:{int(found[2])}"


def network(text: str) -> str:
    """Read an IP address, or a network such as ``10.0.0.0/8``."""
    from ipaddress import ip_address, ip_network

    try:
        return str(ip_network(text)) if "/" in text else str(ip_address(text))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text[:60]!a}: expected an IP address, or a network such as 10.0.0.0/8"
        ) from None


def seconds(low: float, high: float) -> Callable[[str], float]:
    """Make a reader of spans of time: ``90``, ``0.5``, ``90s``, ``5m``, ``2h`` or ``7d``."""

    def read(text: str) -> float:
        unit = _UNITS.get(text[-1:])
        try:
            number = float(text[:-1]) * unit if unit else float(text)
        except ValueError:
            number = high + 1
        if not low <= number <= high:
            raise argparse.ArgumentTypeError(
                f"{text[:40]!a}: expected seconds from {low:.12g} to {high:.12g}, or such as 90s, 5m, 2h or 7d"
            )
        return number

    return read


def table(rows: Any) -> str:
    """Write names and explanations in two columns."""
    import textwrap  # here, as in `_fill`: `windlass worker` has no help to show

    listed = list(rows)
    indent = max(len(name) for name, _ in listed) + 4
    lines = []
    for name, text in listed:
        folded = textwrap.wrap(text, max(20, _width() - indent)) or [""]
        lines.append(f"  {name:<{indent - 2}}{folded[0]}".rstrip())
        lines.extend(" " * indent + line for line in folded[1:])
    return "\n".join(lines)


def _title(text: str) -> str:
    from windlass.cli.paint import BOLD, paint

    return paint(text, BOLD)


def _fill(text: str) -> str:
    import textwrap

    return textwrap.fill(" ".join(text.split()), _width())


def _width() -> int:
    import shutil

    return min(100, shutil.get_terminal_size().columns)


def _asks_for_help(given: Sequence[str]) -> bool:
    before_dashes = given[: given.index("--")] if "--" in given else given
    return "--help" in before_dashes or "-h" in before_dashes
