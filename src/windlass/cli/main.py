"""Reads the command line, finds the command's module, and turns every end into an exit code."""

from __future__ import annotations

import importlib
import os
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from windlass.cli.errors import FAILURE, USAGE, exit_code_of, report
from windlass.core.errors import WindlassError

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMANDS = ("worker", "enqueue", "jobs", "queues", "workers", "migrate", "bench")
"""Each is a module of this package with a Typer called ``commands``."""

INTERRUPTED = 130

_UsageError: type[Exception] = typer.BadParameter.__bases__[0]
"""Click's UsageError, wherever Typer has it from: newer versions bring a Click of their own."""
_ClickException: type[Exception] = _UsageError.__bases__[0]


class LazyGroup(TyperGroup):
    """Imports a command's module when it is asked for: `windlass worker` need not wait for all the others."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - as Click calls it
        """Name the commands, in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002 - as Click calls it
        """Import one command."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"windlass.cli.{cmd_name}")
        command = typer.main.get_command(module.commands)
        command.name = cmd_name
        return command


root = typer.Typer(
    cls=LazyGroup,
    help="Distributed task scheduling: run workers, enqueue jobs, look after queues.",
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"windlass {version('windlass')}")
        raise typer.Exit


@root.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


def run(arguments: Sequence[str]) -> int:
    """Carry out one command line; answers the exit code: 0 ok, 1 failure, 2 usage."""
    as_json = "--json" in arguments
    try:
        code = _invoke(list(arguments))
        if sys.stdout is not None:
            sys.stdout.flush()
    except WindlassError as error:
        report(type(error).__name__, str(error), as_json=as_json)
        return exit_code_of(error)
    except _ClickException as error:
        return _report_click(error, as_json=as_json)
    except BrokenPipeError:
        _forget_stdout()
        return FAILURE
    except OSError as error:
        _forget_stdout()
        report(type(error).__name__, str(error), as_json=as_json)
        return FAILURE
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    return code


def _invoke(arguments: list[str]) -> int:
    command = typer.main.get_command(root)
    answer = command.main(arguments, prog_name="windlass", standalone_mode=False)
    return answer if isinstance(answer, int) else 0


def _report_click(error: Any, *, as_json: bool) -> int:
    message = error.format_message()
    if type(error).__name__ == "NoArgsIsHelpError" and not as_json:
        print(message, file=sys.stderr)
        return USAGE
    message = message.rstrip(".")
    if getattr(error, "ctx", None) is not None:
        message += f" (see: {error.ctx.command_path} --help)"
    report("UsageError", message, as_json=as_json)
    return USAGE


def _forget_stdout() -> None:
    """Nobody reads our output any more: what is still buffered must not raise when the interpreter ends."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    except OSError:
        pass
