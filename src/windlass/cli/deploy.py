"""``windlass deploy``: make the store's schedules say what the application's code says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from windlass.cli.arguments import Argument, command
from windlass.cli.output import note, say_json, say_table
from windlass.cli.target import APP, JSON, find_app, with_app

if TYPE_CHECKING:
    from windlass.deploying import Deployed


@command(
    APP,
    Argument("--force", action="store_true", help="Undo what was changed at run time, too."),
    JSON,
    examples=[("windlass deploy --app shop:app", "After the new version of the code is there.")],
)
def deploy(*, app: str | None, force: bool, as_json: bool) -> None:
    """Make the store's schedules those that the code declares. They are made, changed and deleted; what was
    changed at run time stays as it is, and so do pauses."""
    found = find_app(app)

    async def act() -> list[Deployed]:
        return await found.schedules.deploy(found.declared, force=force)

    answers = with_app(found, act)
    if as_json:
        say_json([{"name": name, "action": action} for name, action in answers])
        return
    if not answers:
        note("the application declares no schedules, and the store has none of its")
        return
    say_table(("schedule", "what"), answers)
    if any(one.action == "kept" for one in answers):
        note("kept: changed at run time since it was declared; --force makes it say what the code says")


COMMAND = deploy
