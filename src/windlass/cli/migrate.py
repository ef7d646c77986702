"""``windlass migrate``: bring a store's layout up to this version."""

from __future__ import annotations

from typing import Annotated

import typer

from windlass.cli.output import say, say_json
from windlass.cli.target import AppOption, JsonOption, UrlOption, with_store

commands = typer.Typer(add_completion=False, rich_markup_mode=None)


@commands.command()
def migrate(
    app: AppOption = None,
    url: UrlOption = None,
    finish: Annotated[
        bool,
        typer.Option("--finish", help="Also stop writing the layout of the version before: no older worker is left."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Bring a store up to this version. Creates it where there is none; safe to repeat."""
    done = with_store(app, url, lambda store: store.migrate(finish=finish), create=True)
    if as_json:
        say_json({"done": done})
        return
    for sentence in done or ["the layout is up to date"]:
        say(sentence)
