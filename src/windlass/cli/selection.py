"""Which jobs a command is about, by what they have in common; and the options that say so."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, NamedTuple

from windlass.cli.arguments import Argument
from windlass.cli.errors import WrongUsage
from windlass.core.errors import InvalidOption
from windlass.core.moments import Moment, read_moment

if TYPE_CHECKING:
    from windlass.core.clock import Instant
    from windlass.core.lifecycle import State
    from windlass.core.records import JobFilter
    from windlass.store.port import Insights

STATES = ("waiting", "scheduled", "ready", "running", "succeeded", "dead", "cancelled")


def _moment(text: str) -> Moment:
    try:
        return read_moment(text)
    except InvalidOption as error:
        raise argparse.ArgumentTypeError(str(error)) from None


class Selection(NamedTuple):
    """What was said on the command line about the jobs that are meant."""

    state: list[str] | None = None
    queue: str | None = None
    task: str | None = None
    error_type: str | None = None
    before: Moment | None = None
    after: Moment | None = None

    def __bool__(self) -> bool:
        return any(said is not None for said in self)

    def check(self) -> None:
        """Raise `WrongUsage` or `InvalidName` for what cannot be."""
        self._filter(0)

    async def filter(self, store: Insights) -> JobFilter:
        """The filter, as the store understands it."""
        return self._filter(await store.now() if self.before or self.after else 0)

    def _filter(self, now: Instant) -> JobFilter:
        from windlass.core.names import check_queue, check_task
        from windlass.core.records import JobFilter

        return JobFilter(
            states=tuple(_state(word) for word in self.state) if self.state else None,
            queue=None if self.queue is None else check_queue(self.queue),
            task=None if self.task is None else check_task(self.task),
            error=self.error_type,
            enqueued_before=self.before and self.before.resolve(now),
            enqueued_from=self.after and self.after.resolve(now),
        )


SELECTION = (
    Argument(
        "--state",
        action="append",
        metavar="STATE",
        words=STATES,
        help="Only in this state: waiting, scheduled, ready, running, succeeded, dead or cancelled; may be repeated.",
    ),
    Argument("-q", "--queue", metavar="NAME", help="Only of this queue."),
    Argument("--task", metavar="NAME", help="Only of this task: the name under which they are stored."),
    Argument(
        "--error-type",
        metavar="CLASS",
        help="Only those whose last error is of this class or of a subclass; its name in full, or without its module.",
    ),
    Argument(
        "--before",
        type=_moment,
        metavar="TIME",
        help="Only those enqueued before then: 2026-01-31T12:00 (UTC unless it says otherwise), or an age such as 2h.",
    ),
    Argument("--after", type=_moment, metavar="TIME", help="Only those enqueued then or later."),
)


def _state(word: str) -> State:
    from windlass.core.lifecycle import State

    try:
        return State[word.upper()]
    except KeyError:
        raise WrongUsage(f"--state {word!a}: expected one of {', '.join(STATES)}") from None
