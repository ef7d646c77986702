"""``windlass migrate``: bring a store's layout up to this version."""

from __future__ import annotations

from windlass.cli.arguments import Argument, command
from windlass.cli.output import say, say_json
from windlass.cli.target import STORE, with_store


@command(
    *STORE,
    Argument(
        "--finish",
        action="store_true",
        help="Also stop writing the layout of the version before: no older worker is left.",
    ),
    examples=[
        ("windlass migrate --app shop:app", "Before the workers of a new version start."),
        ("windlass migrate --app shop:app --finish", "When the last worker of the old version has ended."),
    ],
)
def migrate(*, app: str | None, url: str | None, as_json: bool, finish: bool) -> None:
    """Bring a store up to this version. Creates it where there is none; safe to repeat."""
    done = with_store(app, url, lambda store: store.migrate(finish=finish), create=True)
    if as_json:
        say_json({"done": done})
        return
    for sentence in done or ["the layout is up to date"]:
        say(sentence)


COMMAND = migrate
