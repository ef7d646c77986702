"""``windlass tasks``: pause and resume tasks."""

from __future__ import annotations

from windlass.cli.arguments import Argument, Group, command
from windlass.cli.pausing import set_paused
from windlass.cli.target import STORE
from windlass.core.records import LimitScope

NAMES = Argument("names", nargs="+", metavar="TASK", help="Names of tasks, as their jobs are stored.")


@command(NAMES, *STORE, examples=[("windlass tasks pause shop.send", "Whatever its queues: no job of it starts.")])
def pause(*, names: list[str], app: str | None, url: str | None, as_json: bool) -> None:
    """Pause tasks. Workers claim no job of them, and give back what they have not started; what runs goes on; jobs can
    still be enqueued."""
    set_paused(LimitScope.TASK, names, app, url, paused=True, as_json=as_json)


@command(NAMES, *STORE, examples=[("windlass tasks resume shop.send", "Its jobs start again.")])
def resume(*, names: list[str], app: str | None, url: str | None, as_json: bool) -> None:
    """Resume tasks. Workers claim their jobs again."""
    set_paused(LimitScope.TASK, names, app, url, paused=False, as_json=as_json)


COMMAND = Group("Pause and resume tasks.", pause=pause, resume=resume)
